"""What an engine's process writes: a file that its owner alone can read, and the end of it for errors."""

from __future__ import annotations

import os
from pathlib import Path

_LIMIT = 4 * 1024**2
_TAIL = 1500


class EngineLog:
    """The log of one life of a process, at the end of the file `path`; a long file is emptied first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab") as file:
            if file.tell() > _LIMIT:
                file.truncate(0)
            self._start = file.tell()

    def tail(self, size: int = _TAIL) -> str:
        """The end of what this process wrote, at most `size` bytes."""
        with self.path.open("rb") as file:
            file.seek(max(self._start, self.path.stat().st_size - size))
            return file.read().decode("utf-8", errors="replace").strip()
