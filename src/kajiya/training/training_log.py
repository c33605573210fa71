"""The history of a run that is kept with its result: a JSON object a line, one or more a step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kajiya.core.files import write_text


class TrainingLog:
    """Lines in `path`, each with its `step`; a resumed run takes back what it will do again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, values: dict[str, Any]) -> None:
        """Add a line."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values, ensure_ascii=False) + "\n")

    def rewind(self, step: int) -> None:
        """Drop the lines of steps after `step`, and a line that a kill has torn."""
        if self.path.exists():
            kept = [values for values in self.read() if values["step"] <= step]
            write_text(self.path, "".join(json.dumps(v, ensure_ascii=False) + "\n" for v in kept))

    def read(self) -> list[dict[str, Any]]:
        """All whole lines."""
        found = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found
