// The page's words in the reader's language: the shell's, and those that a template gives with ui.script_texts([...]).

const given = [...document.querySelectorAll("script.texts")].map((each) => JSON.parse(each.textContent));
const words = Object.assign({}, ...given);

/** t("NAME.left", { minutes: 3 }): `{minutes}` in the words is replaced. */
export function t(key, values = {}) {
  return (words[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

export const language = document.documentElement.lang;

/** 1234.5 as the reader writes it. */
export const number = (value, digits = 0) =>
  value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits });

/** Seconds as 1:02:03 or 2:03. */
export function clock(seconds) {
  const s = Math.max(0, Math.round(seconds));
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(s / 3600);
  return `${hours ? `${hours}:` : ""}${hours ? two(Math.floor(s / 60) % 60) : Math.floor(s / 60)}:${two(s % 60)}`;
}
