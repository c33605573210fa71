"""Does an answer sound like the character it was tuned for? Counted by words that give it away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kajiya.core.errors import DataError
from kajiya.core.language import tr


def read_markers(path: Path) -> tuple[str, ...]:
    """The markers in a file, one a line; raises `DataError` if there are none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            tr(f"the file cannot be read: {error}", f"ファイルを読めません: {error}"),
            where=str(path),
        ) from None
    markers = tuple(line.strip() for line in lines if line.strip())
    if not markers:
        raise DataError(tr("there are no markers", "目印の言葉がありません"), where=str(path))
    return markers


def marker_share(answers: Sequence[str], markers: Sequence[str]) -> float:
    """The share of `answers` that hold at least one of `markers`, from 0 to 1."""
    if not answers:
        return 0.0
    return sum(any(marker in answer for marker in markers) for answer in answers) / len(answers)
