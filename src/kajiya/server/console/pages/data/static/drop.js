// Places to drop a file. It goes up as it is, with progress, and can be called off.

import { headers, RequestError } from "../shell/js/request.js";
import { number, t } from "../shell/js/texts.js";

const MEGABYTE = 1e6;

/** `done(target, upload)` is called when a file is there. */
export function dropZones(done) {
  for (const zone of document.querySelectorAll(".drop")) dropZone(zone, done);
}

function dropZone(zone, done) {
  const input = zone.querySelector('input[type="file"]');
  if (input.disabled) return;
  const take = (file) => file && send(zone, file, (upload) => done(zone.dataset.target, upload));
  input.addEventListener("change", () => take(input.files[0]));
  for (const name of ["dragenter", "dragover"]) {
    zone.addEventListener(name, (event) => {
      event.preventDefault();
      zone.classList.add("over");
    });
  }
  zone.addEventListener("dragleave", (event) => {
    if (!zone.contains(event.relatedTarget)) zone.classList.remove("over");
  });
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    take(event.dataTransfer.files[0]);
  });
}

function send(zone, file, done) {
  const limit = Number(zone.dataset.limit);
  if (file.size > limit) {
    fail(zone, t("data.drop-too-large", { size: number(file.size / MEGABYTE, 1), limit: number(limit / MEGABYTE) }));
    return;
  }
  const [box, bar, words, stop] = [".progress", "progress", ".progress p", ".progress button"].map((part) => zone.querySelector(part));
  fail(zone, "");
  box.hidden = false;
  const request = new XMLHttpRequest(); // fetch cannot tell how much has been sent
  request.open("POST", `/data/uploads?name=${encodeURIComponent(file.name)}`);
  for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
  request.upload.addEventListener("progress", ({ loaded, total }) => {
    bar.value = loaded / total;
    words.textContent = t("data.drop-sent", { done: number(loaded / MEGABYTE, 1), total: number(total / MEGABYTE, 1) });
  });
  request.addEventListener("load", () => {
    box.hidden = true;
    if (request.status === 200) done(JSON.parse(request.responseText));
    else fail(zone, told(request));
  });
  request.addEventListener("error", () => {
    box.hidden = true;
    fail(zone, t("data.drop-broken"));
  });
  request.addEventListener("abort", () => (box.hidden = true));
  stop.onclick = () => request.abort();
  request.send(file);
}

function told(request) {
  try {
    return new RequestError(request.status, JSON.parse(request.responseText).error).message;
  } catch {
    return request.statusText;
  }
}

function fail(zone, words) {
  const place = zone.querySelector(".error");
  place.textContent = words;
  place.hidden = !words;
}
