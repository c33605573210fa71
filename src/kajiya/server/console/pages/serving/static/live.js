// Keeps what is said of engines up to date, without disturbing who is using it.

const PAUSE = 2000;
const find = (page) => page.getElementById("live");
let shown = find(document).outerHTML;

async function look() {
  const response = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null);
  if (!response?.ok || response.redirected) return;
  // Our own page again, whose words were escaped when it was made.
  const fresh = find(new DOMParser().parseFromString(await response.text(), "text/html"));
  const here = find(document);
  if (!fresh || fresh.outerHTML === shown || here.contains(document.activeElement)) return;
  shown = fresh.outerHTML;
  here.replaceWith(document.adoptNode(fresh));
}

setInterval(() => {
  if (!document.hidden) look();
}, PAUSE);
