const root = document.documentElement;
const choose = (name, value) => { root.dataset[name] = value; };
document.getElementById("language").addEventListener("click", () => {
  choose("lang", root.dataset.lang === "ja" ? "en" : "ja");
  root.lang = root.dataset.lang;
});
document.getElementById("theme").addEventListener("click", () => {
  const dark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  choose("theme", dark ? "light" : "dark");
});
