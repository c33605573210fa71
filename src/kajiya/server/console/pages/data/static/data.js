// The list of datasets: a file that is dropped leads to its own page.

import { dropZones } from "./drop.js";

dropZones((_, upload) => location.assign(`/data/uploads/${upload.id}`));
