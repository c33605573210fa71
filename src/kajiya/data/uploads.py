"""Files that come in from a browser: streamed to disk, kept for some days until they are used.

A file's own name is only ever shown; on disk every upload has a folder with a name of ours. What is
in the file is `check`'s matter.
"""

from __future__ import annotations

import re
import secrets
import shutil
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path, PureWindowsPath
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict, ValidationError

from kajiya.core.errors import NotFoundError, ResourceError
from kajiya.core.files import atomic_folder, write_text
from kajiya.core.hardware import GIB
from kajiya.core.language import tr
from kajiya.core.printable import one_line
from kajiya.core.workspace import Workspace
from kajiya.data.source import DEFAULT_LIMIT, empty, too_large

_FACTS = "upload.json"
_FILE = "data"
# Those by which a table's format is told; any other content is looked at by its first bytes.
_SUFFIXES = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".json", ".parquet")
_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{12}")
_DAYS = 7
_DISK_KEPT_FREE = GIB


class Upload(BaseModel):
    """A whole file. `name` is as its owner called it, on one line; `created` in seconds since 1970."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    id: str
    name: str
    suffix: str
    size: int
    created: float


class Incoming:
    """A file that is being received; `id` will be its upload's."""

    def __init__(self, upload_id: str, file: BinaryIO, name: str, limit_bytes: int) -> None:
        self.id = upload_id
        self._file = file
        self._name = name
        self._limit = limit_bytes
        self.size = 0

    def write(self, data: bytes) -> None:
        """Add to the file; raises `TableError` (too_large) as soon as it passes the limit."""
        self.size += len(data)
        if self.size > self._limit:
            raise too_large(self.size, self._limit, self._name)
        self._file.write(data)


class Uploads:
    """The uploads of one workspace, each of at most `limit_bytes`."""

    def __init__(self, workspace: Workspace, limit_bytes: int = DEFAULT_LIMIT) -> None:
        self.limit_bytes = limit_bytes
        self._root = workspace.uploads

    @contextmanager
    def receive(self, name: str, size: int | None = None) -> Iterator[Incoming]:
        """Take in a file; it is an upload when the block ends without an error, else nothing remains.

        `size` is what its sender says. Raises `TableError` (too_large, empty), `ResourceError` if the
        disk is nearly full.
        """
        shown, suffix = shown_name(name), _suffix(name)
        if size is not None and size > self.limit_bytes:
            raise too_large(size, self.limit_bytes, shown)
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.sweep()
        if shutil.disk_usage(self._root).free < (size or self.limit_bytes) + _DISK_KEPT_FREE:
            raise ResourceError(
                tr("the disk is nearly full", "ディスクの空きがほとんどありません"),
                where=shown,
                fix=tr("free some space and try again", "空きを作ってからやり直してください"),
            )
        upload_id = f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-{secrets.token_hex(6)}"
        with atomic_folder(self._root / upload_id) as folder:
            with (folder / f"{_FILE}{suffix}").open("wb") as file:
                incoming = Incoming(upload_id, file, shown, self.limit_bytes)
                yield incoming
            if incoming.size == 0:
                raise empty(shown)
            facts = Upload(
                id=upload_id, name=shown, suffix=suffix, size=incoming.size, created=time.time()
            )
            write_text(folder / _FACTS, facts.model_dump_json())

    def get(self, upload_id: str) -> Upload:
        """Raises `NotFoundError` for one that is not there (any more)."""
        try:
            if not _ID.fullmatch(upload_id):
                raise FileNotFoundError
            return Upload.model_validate_json((self._root / upload_id / _FACTS).read_bytes())
        except (OSError, ValidationError):
            raise NotFoundError(
                tr("this upload is not here any more", "このアップロードはもうありません"),
                where=one_line(upload_id, 40),
                fix=tr(
                    f"upload the file again: uploads are kept for {_DAYS} days",
                    f"もう一度アップロードしてください (保存期間は {_DAYS} 日)",
                ),
            ) from None

    def path(self, upload: Upload) -> Path:
        """Where its content lies."""
        return self._root / upload.id / f"{_FILE}{upload.suffix}"

    def remove(self, upload_id: str) -> None:
        """Forget an upload; one that is not there is forgotten already."""
        if _ID.fullmatch(upload_id):
            shutil.rmtree(self._root / upload_id, ignore_errors=True)

    def sweep(self, now: float | None = None) -> None:
        """Remove uploads that nobody came back for, and what a killed server left half-received."""
        oldest = (time.time() if now is None else now) - _DAYS * 24 * 3600
        for folder in self._root.iterdir():
            with suppress(FileNotFoundError):
                if folder.stat().st_mtime < oldest:
                    shutil.rmtree(folder, ignore_errors=True)


def shown_name(name: str) -> str:
    """A file's name for people: no folders, no control or direction marks, at most 120 characters."""
    last = PureWindowsPath(unicodedata.normalize("NFC", name)).name  # splits at both slashes
    return one_line(last, 120) or tr("a file without a name", "名前のないファイル")


def _suffix(name: str) -> str:
    return next((suffix for suffix in _SUFFIXES if name.lower().endswith(suffix)), "")
