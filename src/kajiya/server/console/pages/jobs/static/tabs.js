// Tabs as the ARIA practices describe them: arrows move, the open one is in the address.

/** `opened(name)` is called for the tab that is shown; ids are `tab-NAME` and `panel-NAME`. */
export function tabs(list, first, opened) {
  const all = [...list.querySelectorAll('[role="tab"]')];
  const nameOf = (tab) => tab.id.slice("tab-".length);

  function open(tab, focus = false) {
    for (const other of all) {
      const chosen = other === tab;
      other.setAttribute("aria-selected", chosen);
      other.tabIndex = chosen ? 0 : -1;
      document.getElementById(`panel-${nameOf(other)}`).hidden = !chosen;
    }
    if (focus) tab.focus();
    const address = new URL(location);
    address.searchParams.set("tab", nameOf(tab));
    history.replaceState(null, "", address);
    opened(nameOf(tab));
  }

  list.addEventListener("click", (event) => {
    const tab = event.target.closest('[role="tab"]');
    if (tab) open(tab);
  });
  list.addEventListener("keydown", (event) => {
    const here = all.indexOf(document.activeElement);
    const to = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined || here < 0) return;
    event.preventDefault();
    open(all[(to + all.length) % all.length], true);
  });
  const wanted = new URL(location).searchParams.get("tab");
  open(all.find((tab) => nameOf(tab) === wanted) ?? all.find((tab) => nameOf(tab) === first) ?? all[0]);
}
