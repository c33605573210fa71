// What every page needs: dialogs that buttons open, buttons that copy, forms that are sent once and say what is missing.

import { t } from "./texts.js";

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.opens) document.getElementById(button.dataset.opens).showModal();
  if ("closes" in button.dataset) button.closest("dialog").close();
  if (button.dataset.copies) {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copies).textContent);
    const { show } = await import("./request.js");
    show("good", button.dataset.copied || t("shell.copied"));
  }
});

// A second click while the first is on its way would do the thing twice.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method === "dialog" || event.defaultPrevented) return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "yes";
});
addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
});

// A browser would say it in its own language, and of a pattern only that there is one.
function wrong(field) {
  const is = field.validity;
  if (is.valueMissing) return t("shell.needed");
  if (is.rangeUnderflow) return t("shell.at-least", { limit: field.min });
  if (is.rangeOverflow) return t("shell.at-most", { limit: field.max });
  if (is.badInput || is.stepMismatch) return t("shell.a-number");
  return is.patternMismatch ? document.getElementById(field.getAttribute("aria-describedby"))?.textContent : "";
}
document.addEventListener("invalid", ({ target }) => {
  target.setCustomValidity("");
  target.setCustomValidity(wrong(target) ?? "");
}, true);
document.addEventListener("input", ({ target }) => target.setCustomValidity?.(""));

// On a narrow screen tabs scroll; the present one is to be seen.
document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
