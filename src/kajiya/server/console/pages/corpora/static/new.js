// A recipe: checked while it is written, looked at before it is followed, kept over a reload.

import { element } from "../shell/js/dom.js";
import { headers, read, show } from "../shell/js/request.js";
import { t } from "../shell/js/texts.js";

const form = document.getElementById("making");
const recipe = document.getElementById("recipe");
const checked = document.getElementById("checked");
const looked = document.getElementById("looked");
const example = JSON.parse(document.getElementById("example").textContent);
const DRAFT = "kajiya-recipe";
const WAIT = 500; // milliseconds after the last key
const LARGEST = 200_000; // characters

// What was written is there again after a reload; what the server sends back goes before it.
if ("fresh" in recipe.dataset) recipe.value = sessionStorage.getItem(DRAFT) ?? recipe.value;

/** The part that the server makes of the form. */
async function ask(path) {
  const body = new URLSearchParams(new FormData(form));
  const { html } = await read(await fetch(path, { method: "POST", headers: headers(), body }));
  return new DOMParser().parseFromString(html, "text/html").body.childNodes;
}

let asked = 0;
async function check() {
  const mine = ++asked;
  try {
    const found = await ask("/corpora/check");
    if (mine === asked) checked.replaceChildren(...found);
  } catch (error) {
    show("bad", error.message);
  }
}

let timer = 0;
function changed() {
  sessionStorage.setItem(DRAFT, recipe.value);
  looked.replaceChildren();
  clearTimeout(timer);
  timer = setTimeout(check, WAIT);
}

function write(text) {
  recipe.value = text;
  changed();
}

recipe.addEventListener("input", changed);
document.getElementById("base").addEventListener("change", changed);
document.getElementById("to-example").addEventListener("click", () => write(example));

async function open(file) {
  if (!file) return;
  const text = file.size > LARGEST ? "" : await file.text();
  if (!text || text.length > LARGEST) show("bad", t("corpora.js-no-recipe"));
  else write(text);
}
const input = document.getElementById("file");
input.addEventListener("change", () => open(input.files[0]).finally(() => (input.value = "")));
recipe.addEventListener("dragover", (event) => event.preventDefault());
recipe.addEventListener("drop", (event) => {
  if (!event.dataTransfer.files.length) return;
  event.preventDefault();
  open(event.dataTransfer.files[0]);
});

// To the line that an error is about, which is then selected.
checked.addEventListener("click", (event) => {
  const line = Number(event.target.closest("[data-line]")?.dataset.line);
  if (!line) return;
  const lines = recipe.value.split("\n");
  const from = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
  recipe.focus();
  recipe.setSelectionRange(from, from + (lines[line - 1] ?? "").length);
  recipe.scrollTop = (line - 4) * Number.parseFloat(getComputedStyle(recipe).lineHeight);
});

const look = document.getElementById("look");
look.addEventListener("click", async () => {
  look.disabled = true;
  looked.replaceChildren(element("p", { class: "soft", role: "status" }, t("corpora.js-looking")));
  try {
    looked.replaceChildren(...(await ask("/corpora/look")));
    looked.scrollIntoView({ block: "nearest" });
  } catch (error) {
    looked.replaceChildren();
    show("bad", error.message);
  } finally {
    look.disabled = false;
  }
});

if (!checked.children.length) check();
