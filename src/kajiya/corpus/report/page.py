"""Facts as one HTML page that needs nothing from elsewhere, in Japanese and English, light and dark.

Whatever comes from documents is escaped by the template engine, and the page's own policy forbids any
script or style but the two that are in it.
"""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from kajiya.core.language import current
from kajiya.corpus.report import words
from kajiya.corpus.report.plots import histogram, share_bar, short
from kajiya.store.card import human_size

_HERE = Path(__file__).parent


def render(template: str, title: str, facts: dict[str, Any]) -> str:
    """The page `template` (`report` or `diff`) with these facts."""
    style, script = _read("page.css"), _read("page.js")
    return (
        _environment()
        .get_template(f"{template}.html.j2")
        .render(
            title=title,
            language=current(),
            policy=policy(),
            style=Markup(style),  # noqa: S704 (our own file)
            script=Markup(script),  # noqa: S704 (our own file)
            **facts,
        )
    )


def policy() -> str:
    """What such a page may load and run, as a Content-Security-Policy: only what is in it."""
    style, script = _digest(_read("page.css")), _digest(_read("page.js"))
    return (
        f"default-src 'none'; style-src '{style}'; script-src '{script}';"
        " base-uri 'none'; form-action 'none'"
    )


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


@lru_cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "short": short, "size": human_size}
    environment.globals |= {
        "t": _both,
        "percent": _percent,
        "stage": lambda name: _both(*words.STAGES.get(name, (name, name))),
        "reason": lambda name: _both(*words.reason(name)),
        "kind": lambda name: _both(*words.KINDS.get(name, (name, name))),
        "statistic": lambda name: _both(*words.reason(name)),
        "histogram": histogram,
        "share_bar": share_bar,
    }
    return environment


def _both(en: str, ja: str) -> Markup:
    """Both wordings; the page's style shows one."""
    return Markup(
        '<span class="en" lang="en">{}</span><span class="ja" lang="ja">{}</span>'
    ).format(en, ja)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _percent(part: float, whole: float) -> str:
    share = 100 * part / whole if whole else 0.0
    if 0 < share < 0.05:
        return "< 0.1 %"
    return f"{share:.1f} %" if whole else "–"


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode()
