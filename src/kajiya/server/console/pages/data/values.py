"""What templates about findings need, for files and datasets alike."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Any

from kajiya.data.columns import Columns
from kajiya.forge.inspection import Inspection
from kajiya.forge.trainer import Choice

_LEVELS = ("error", "warning", "notice")
_SHOWN = 100
ROLES = tuple(Columns.__dataclass_fields__)


def found_values(choice: Choice, found: Inspection | None) -> dict[str, Any]:
    """For `data/found.html` and `data/mapping.html`: the gravest findings first."""
    ordered = sorted(found.findings, key=lambda f: _LEVELS.index(f.level)) if found else []
    return {
        "choice": choice,
        "found": found,
        "findings": ordered[:_SHOWN],
        "counts": {level: found.count(level) if found else 0 for level in _LEVELS},
        "roles": ROLES,
    }


def suggested_name(file: str) -> str:
    """A name for what is made of a file, from the file's own where that has letters for it."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", PurePath(file).stem).strip("-._")
    return stem[:60] or "my-data"
