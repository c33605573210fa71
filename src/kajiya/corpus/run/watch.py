"""Who is told how a run gets on, and who may stop it. A running job is one."""

from __future__ import annotations

from typing import Literal, Protocol

Level = Literal["info", "warning", "error"]


class Stopped(Exception):  # noqa: N818 (it is no error: the run did what it was asked)
    """The run ended early because `should_stop` said so; run again, it goes on where it was."""


class Watcher(Protocol):
    """What a run needs of whoever started it."""

    def progress(self, stage: str, done: float, total: float = 0, *, unit: str = "") -> None: ...

    def log(self, message: str, level: Level = "info") -> None: ...

    def should_stop(self) -> bool: ...


class Silent:
    """Nobody watches."""

    def progress(self, stage: str, done: float, total: float = 0, *, unit: str = "") -> None:
        pass

    def log(self, message: str, level: Level = "info") -> None:
        pass

    def should_stop(self) -> bool:
        return False
