"""Where Kajiya keeps things: one folder, `KAJIYA_HOME`, by default `~/.kajiya`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kajiya.core import language

ENVIRONMENT = "KAJIYA_HOME"
DATABASE_URL = "KAJIYA_DATABASE_URL"  # keys and usage there, instead of in the workspace

# Read by the C libraries when a process starts; figures in docs/decisions/0010-training-on-a-cpu.md.
NUMERIC_ENVIRONMENT = {
    # Waiting threads sleep: spinning takes the cores from everything else on the machine.
    "OMP_WAIT_POLICY": "passive",
    # Memory of large tensors is kept for the next one instead of being returned and faulted in anew.
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
}


@dataclass(frozen=True)
class Workspace:
    """Paths inside the workspace; nothing here creates them except `create`."""

    home: Path

    @classmethod
    def current(cls) -> Workspace:
        """The workspace named by `KAJIYA_HOME`, or `~/.kajiya`."""
        value = os.environ.get(ENVIRONMENT)
        return cls(Path(value).expanduser().absolute() if value else Path.home() / ".kajiya")

    @property
    def database(self) -> Path:
        return self.home / "kajiya.db"

    @property
    def accounts(self) -> Path:
        return self.home / "accounts.db"

    @property
    def artifacts(self) -> Path:
        return self.home / "artifacts"

    @property
    def jobs(self) -> Path:
        return self.home / "jobs"

    @property
    def uploads(self) -> Path:
        return self.home / "uploads"

    @property
    def cache(self) -> Path:
        return self.home / "cache"

    @property
    def key_file(self) -> Path:
        return self.home / "key"

    @property
    def served(self) -> Path:
        """What the console serves, for its next start."""
        return self.home / "serving.json"

    @property
    def states(self) -> Path:
        return self.home / "states"

    @property
    def chats(self) -> Path:
        return self.home / "chats"

    def create(self) -> Workspace:
        """Make the folders, readable by their owner only; returns itself."""
        for folder in (self.home, self.artifacts, self.jobs, self.cache):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self

    def environment(self) -> dict[str, str]:
        """The environment for a child process of ours: this workspace, this language, `NUMERIC_ENVIRONMENT`."""
        return {
            **os.environ,
            **NUMERIC_ENVIRONMENT,
            ENVIRONMENT: str(self.home),
            language.ENVIRONMENT: language.current(),
        }
