// The card as a page, and exports that end while somebody looks.

import { follow } from "../shell/js/follow.js";
import { render } from "../shell/js/markdown.js";

const card = document.getElementById("card");
render(card, card.textContent);

for (const row of document.querySelectorAll("[data-export][data-running]")) {
  follow(`/models/exports/${row.dataset.export}/events`, { end: () => location.reload() });
}
