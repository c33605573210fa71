"""The comparison of tokenizers as one HTML page that needs nothing else: no network, no scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kajiya.core.language import current, tr
from kajiya.tokenizer.lab import Measures, Piece


def render_page(
    measures: Sequence[Measures],
    sentence: str,
    pieces: Mapping[str, Sequence[Piece]],
    prices: Mapping[str, float],
) -> str:
    """The page, in the current language. `pieces` and `prices` (yen for a million tokens) are by name."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    values: dict[str, Any] = {
        "tr": tr,
        "language": current(),
        "measures": measures,
        "best": max((m.characters_per_token for m in measures), default=0.0),
        "sentence": sentence,
        "pieces": pieces,
        "prices": prices,
    }
    return environment.get_template("lab_page.html").render(values)
