"""What is looked at on every page of the console: accessibility by axe, and text that does not fit."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

# Elements whose text is cut off. What scrolls shows all it has.
_CLIPPED = """() => {
  const found = [];
  if (document.documentElement.scrollWidth > innerWidth + 1)
    found.push(`the page is ${document.documentElement.scrollWidth} wide`);
  for (const e of document.querySelectorAll("body *")) {
    const style = getComputedStyle(e);
    if (!e.innerText?.trim() || !e.checkVisibility({ visibilityProperty: true })) continue;
    if (e.closest(".hidden-text, .skip")) continue;
    const scrolls = /auto|scroll/.test(style.overflowX + style.overflowY);
    const box = e.getBoundingClientRect();
    const wide = e.scrollWidth > e.clientWidth + 1, high = e.scrollHeight > e.clientHeight + 1;
    const cut = /hidden|clip/.test(style.overflowX) && wide || /hidden|clip/.test(style.overflowY) && high;
    const scroller = [...ancestors(e)].some((a) => /auto|scroll/.test(getComputedStyle(a).overflowX));
    const out = style.display !== "inline" && wide && /BUTTON|A|LABEL|TH|LEGEND/.test(e.tagName) && !(e.tagName === "TABLE" && scroller);
    const card = e.parentElement.closest(".card, .drop, .notice, .empty, td, dialog")?.getBoundingClientRect();
    const outside = card && style.position !== "fixed" && !scroller && (box.right > card.right + 1 || box.left < card.left - 1);
    const beyond = box.width && (box.right > innerWidth + 1 || box.left < -1) && !scroller;
    if (!scrolls && (cut || out || beyond || outside)) found.push(`${e.tagName} ${e.className}: ${e.innerText.slice(0, 40)}`);
  }
  return found;
  function* ancestors(e) { while ((e = e.parentElement)) yield e; }
}"""


@cache
def _axe() -> str:
    return (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


def violations(page: Page) -> list[str]:
    """What axe finds wrong with the page as it is now, one line each."""
    page.evaluate(_axe())
    result: dict[str, Any] = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{found['id']}: {found['help']}: {node['html'][:120]} {node.get('failureSummary', '')[:300]}"
        for found in result["violations"]
        for node in found["nodes"]
    ]


def clipped(page: Page) -> list[str]:
    """Texts that are cut off or stand outside the window."""
    found: list[str] = page.evaluate(_CLIPPED)
    return found
