"""Running Japanese text for tests: the project's own documentation."""

from __future__ import annotations

import functools
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def japanese_texts() -> tuple[str, ...]:
    """The pages in Japanese, commands and tables among the sentences."""
    pages = [_ROOT / "README.ja.md", *sorted((_ROOT / "docs" / "ja").glob("*.md"))]
    return tuple(page.read_text(encoding="utf-8") for page in pages)
