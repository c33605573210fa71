"""The administrator's key: made at first start, kept in one file that only its owner can read.

Keys for everybody else are in the database: `access/keyring.py`.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import stat
from pathlib import Path

from kajiya.core.errors import ConfigError
from kajiya.core.files import write_text
from kajiya.core.language import tr
from kajiya.core.locks import locked
from kajiya.core.workspace import Workspace

PREFIX = "kj-"
FORM = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")
log = logging.getLogger("kajiya.server")


def load_or_make_key(workspace: Workspace) -> str:
    """The key of this workspace, made now if there is none.

    A file that others may read is closed to them, with a warning. Raises `ConfigError` if it is a
    link, belongs to somebody else, or holds no key.
    """
    workspace.create()
    path = workspace.key_file
    with locked(path.with_name(f"{path.name}.lock")):  # two first starts make one key
        if not path.exists() and not path.is_symlink():
            write_text(path, f"{PREFIX}{secrets.token_urlsafe(32)}\n", mode=0o600)
        return _read(path)


def _read(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid():
            raise _refused(path, tr("not a file of yours", "あなたのファイルではありません"))
        if stat.S_IMODE(status.st_mode) & 0o077:
            os.fchmod(descriptor, 0o600)
            log.warning(
                tr(
                    "%s could be read by others and was closed to them; delete it to get a new key",
                    "%s が他の人にも読める状態だったので閉じました。新しいキーが必要なら削除してください",
                ),
                path,
            )
        key = os.read(descriptor, 1000).decode("utf-8", errors="replace").strip()
    finally:
        os.close(descriptor)
    if not FORM.fullmatch(key):
        raise _refused(path, tr("it holds no key", "キーが入っていません"))
    return key


def _refused(path: Path, reason: str) -> ConfigError:
    return ConfigError(
        tr(f"the key file cannot be used: {reason}", f"キーのファイルを使えません: {reason}"),
        where=str(path),
        fix=tr("delete it; the next start makes a new one", "削除すると、次の起動で新しく作ります"),
    )
