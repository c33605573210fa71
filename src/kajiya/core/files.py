"""Files that are either wholly there or not there at all, and paths that stay where they belong."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from kajiya.core.errors import ConfigError
from kajiya.core.language import tr

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def is_name(name: str) -> bool:
    """Whether `check_name` would accept `name`."""
    return _NAME.fullmatch(name) is not None and not name.endswith(".")


def check_name(name: str, what: str = "name") -> str:
    """`name` if it may become a folder's name: ASCII letters, digits, `.`, `_`, `-`, at most 100.

    Raises `ConfigError` otherwise, so no name can leave its folder or hide in it.
    """
    if not is_name(name):
        raise ConfigError(
            tr(f"{name!r} cannot be a {what}", f"{name!r} は名前に使えません"),
            where=what,
            fix=tr(
                "use letters, digits, '.', '_' and '-', starting with a letter or digit",
                "英数字と . _ - だけを使い、英数字で始めてください",
            ),
        )
    return name


@contextlib.contextmanager
def atomic_file(path: Path, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Write beside `path`, then fsync and rename over it; on any error `path` stays as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
        sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A scratch path for code that opens files by name; renamed over `path` if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"
    ) as folder:
        scratch = Path(folder) / path.name
        yield scratch
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        scratch.replace(path)
        sync_folder(path.parent)


def write_text(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace `path` by `text` (UTF-8) in one step."""
    with atomic_file(path, mode) as file:
        file.write(text.encode("utf-8"))


def write_json(path: Path, value: Any, mode: int = 0o644) -> None:
    """Replace `path` by `value` as readable JSON in one step."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n", mode)


@contextlib.contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """A scratch folder that becomes `target` if the block succeeds and vanishes if it does not.

    Raises `FileExistsError` if `target` exists when the block ends.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp"))
    try:
        yield scratch
        scratch.chmod(0o755)
        sync_tree(scratch)
        if target.exists():
            raise FileExistsError(target)
        scratch.rename(target)
        sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def sync_tree(folder: Path) -> None:
    """Have the system put every file under `folder` on the disk."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())


def sync_folder(folder: Path) -> None:
    """Have the system put `folder`'s own list of names on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
