"""What takes space in a workspace, and what of it goes by itself after some days.

Nothing is deleted that cannot be made again, but what somebody chose to have deleted.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from kajiya.core.config import Config, option
from kajiya.core.errors import ConflictError, NotFoundError
from kajiya.core.workspace import Workspace
from kajiya.jobs.status import CHECKPOINTS
from kajiya.jobs.supervisor import Supervisor
from kajiya.server.access import clock
from kajiya.server.access.audit import Audit
from kajiya.server.chats.conversations import Conversations
from kajiya.store.database import Database

_SETTINGS_FILE = "retention.yaml"


class RetentionSettings(Config):
    """For how many days things are kept; 0 for ever."""

    checkpoints: int = option(
        0,
        en="Checkpoints of jobs that have ended, days",
        ja="終了したジョブのチェックポイントを残す日数",
        help=(
            "What was trained stays; such a job cannot be resumed any more. 0: for ever.",
            "学習した結果は残りますが、そのジョブの再開はできなくなります。0 なら削除しません。",
        ),
        ge=0,
        le=36500,
    )
    chats: int = option(
        0,
        en="Conversations that nobody continues, days",
        ja="続きのない会話を残す日数",
        help=(
            "What was thought of their answers stays among the preferences. 0: for ever.",
            "回答への評価は残ります。0 なら削除しません。",
        ),
        ge=0,
        le=36500,
    )
    audit: int = option(
        0,
        en="Audit log, days",
        ja="監査ログを残す日数",
        help=("0: for ever.", "0 なら削除しません。"),
        ge=0,
        le=36500,
    )

    @classmethod
    def of(cls, workspace: Workspace) -> RetentionSettings:
        """What was chosen in this workspace."""
        path = workspace.home / _SETTINGS_FILE
        return cls.load(path) if path.exists() else cls()

    def keep(self, workspace: Workspace) -> None:
        """Choose this for the workspace."""
        self.save(workspace.home / _SETTINGS_FILE)


@dataclass(frozen=True)
class Space:
    """What one kind of thing takes. `kind` is `artifacts/adapter`, `jobs`, `checkpoints`, `cache`, …"""

    kind: str
    size: int
    files: int


def space(workspace: Workspace) -> list[Space]:
    """Everything in the workspace by kind, the largest first; blocks."""
    found: dict[str, tuple[int, int]] = {}
    for path, size in _files(workspace.home):
        kind = _kind(path.relative_to(workspace.home))
        bytes_, files = found.get(kind, (0, 0))
        found[kind] = (bytes_ + size, files + 1)
    spaces = [Space(kind, size, files) for kind, (size, files) in found.items()]
    return sorted(spaces, key=lambda one: (-one.size, one.kind))


def clean_cache(workspace: Workspace, in_use: Collection[Path]) -> int:
    """Delete what can be made again and is not in use; the bytes that this freed."""
    freed = 0
    used = {path.resolve() for path in in_use}
    for path, size in _files(workspace.cache):
        # Locks are files that others may be waiting for; they are empty.
        if path.suffix != ".lock" and path.resolve() not in used:
            path.unlink(missing_ok=True)
            freed += size
    return freed


def apply_retention(
    workspace: Workspace, database: Database, settings: RetentionSettings
) -> dict[str, int]:
    """Delete what is older than was chosen: how many of each kind; blocks."""
    gone = {}
    if settings.checkpoints:
        gone["checkpoints"] = _forget_checkpoints(workspace, settings.checkpoints)
    if settings.chats:
        gone["chats"] = Conversations(database).remove_before(_days_ago(settings.chats))
    if settings.audit:
        gone["audit"] = Audit(database).forget(_days_ago(settings.audit))
    return gone


def _forget_checkpoints(workspace: Workspace, days: int) -> int:
    supervisor = Supervisor(workspace)
    limit = (clock.now() - timedelta(days=days)).timestamp()
    count = 0
    for job in supervisor.list():
        old = job.ended and (job.finished or job.created) < limit
        if old and (job.folder / CHECKPOINTS).is_dir():
            try:
                supervisor.remove_checkpoints(job.id)
            except (ConflictError, NotFoundError):  # resumed or removed since
                continue
            count += 1
    return count


def _days_ago(days: int) -> str:
    return clock.moment(clock.now() - timedelta(days=days))


def _kind(path: Path) -> str:
    top = path.parts[0]
    if len(path.parts) == 1:
        return "database" if ".db" in top else "other"
    if top == "artifacts":
        return f"artifacts/{path.parts[1]}" if len(path.parts) > 2 else "other"
    if top == "jobs" and CHECKPOINTS in path.parts:
        return "checkpoints"
    return top


def _files(folder: Path) -> Iterator[tuple[Path, int]]:
    """Every file below, and the bytes it takes; links are not followed."""
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            try:
                yield path, path.lstat().st_size
            except FileNotFoundError:  # removed since
                continue
