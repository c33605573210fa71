// The Easy Trainer: what is chosen goes into the address; the server says what it means.

import { headers, read, show } from "../shell/js/request.js";
import { t } from "../shell/js/texts.js";
import { dropZones } from "../data/drop.js";

const form = document.getElementById("choice");
const WAIT = 250; // milliseconds after the last change
const KEPT_OUT = new Set(["csrf_token"]);

function address(path) {
  const fields = [...new FormData(form)].filter(([name, value]) => value !== "" && !KEPT_OUT.has(name));
  const query = new URLSearchParams(fields);
  return query.size ? `${path}?${query}` : path;
}

/** Put parts that the server made in the place of those with the same ids. */
async function load(path, busy) {
  busy?.setAttribute("aria-busy", "true");
  const wanted = address(path);
  load.newest[path] = wanted;
  const { html } = await read(await fetch(wanted, { headers: headers() }));
  if (load.newest[path] !== wanted) return; // something else was chosen meanwhile
  const found = new DOMParser().parseFromString(html, "text/html");
  for (const part of [...found.body.children]) {
    const old = document.getElementById(part.id);
    if (!old) continue;
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    const open = [...old.querySelectorAll("details[open][id]")].map((each) => each.id);
    old.replaceWith(document.adoptNode(part));
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    if (focused?.name) form.querySelector(`[name="${focused.name}"][value="${CSS.escape(focused.value)}"]`)?.focus();
  }
}
load.newest = {};

const told = (error) => show("bad", error.message);
const check = () => load("/train/check", document.getElementById("findings")).catch(told);
const plan = () => load("/train/plan", document.getElementById("outlook-state")).catch(told);

let timer = 0;
function changed(event) {
  const name = event.target.name ?? "";
  if (event.target.dataset?.chooses || !name) return;
  if (name === "method") form.elements.learning_rate.value = ""; // every method has its own
  history.replaceState(null, "", address("/train"));
  document.getElementById("back")?.setAttribute("value", location.pathname + location.search);
  if (name === "name") return;
  clearTimeout(timer);
  timer = setTimeout(() => {
    if (name.startsWith("column-")) check();
    plan();
  }, WAIT);
}
form.addEventListener("change", changed);

form.addEventListener("click", (event) => {
  const empties = event.target.closest("[data-empties]")?.dataset.empties;
  if (!empties) return;
  form.elements[empties].value = "";
  location.assign(address("/train"));
});

document.querySelector("[data-chooses]")?.addEventListener("change", (event) => {
  if (!event.target.value) return;
  form.elements[event.target.dataset.chooses].value = event.target.value;
  location.assign(address("/train"));
});

dropZones((target, upload) => {
  form.elements[target].value = `upload:${upload.id}`;
  location.assign(address("/train"));
});

document.getElementById("back")?.setAttribute("value", location.pathname + location.search);
const start = document.getElementById("start");
form.addEventListener("submit", () => {
  if (start) start.textContent = t("train.starting");
});
addEventListener("pageshow", () => {
  if (start) start.textContent = t("train.start");
});
if (start && document.querySelector('[data-loads="/train/check"]')) check();
if (start && document.querySelector('[data-loads="/train/plan"]')) plan();
