"""An artifact while it is being made: a scratch folder that ends as an artifact or as nothing.

The folder's owner holds a lock beside it, so what a killed process left behind can be told from
work in progress and swept away.
"""

from __future__ import annotations

import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from kajiya.core.errors import ConfigError
from kajiya.core.files import sha256_file
from kajiya.core.language import tr
from kajiya.core.locks import is_locked, locked
from kajiya.store.folders import Artifact
from kajiya.store.manifest import CARD_FILE, MANIFEST_FILE, FileEntry, Licence, Manifest, Parent

_LICENCES = "licences"


class Draft:
    """Write files into `folder`; set `description`, `config`, `metrics`, `details` and `licence`."""

    def __init__(
        self,
        folder: Path,
        *,
        parents: Sequence[Parent],
        licence: Sequence[Licence],
        config: dict[str, Any],
        description: str,
    ) -> None:
        self.folder = folder
        self.parents = tuple(parents)
        self.licence = list(licence)
        self.config = dict(config)
        self.description = description
        self.metrics: dict[str, Any] = {}
        self.details: dict[str, Any] = {}
        self._artifact: Artifact | None = None

    @property
    def artifact(self) -> Artifact:
        """What the draft became; only after the block."""
        if self._artifact is None:
            raise RuntimeError("the draft is not an artifact yet")
        return self._artifact

    @artifact.setter
    def artifact(self, value: Artifact) -> None:
        self._artifact = value


def inherit_licences(draft: Draft, parents: Sequence[tuple[Path, Manifest]]) -> None:
    """Add the parents' terms, and copy their texts: they must go wherever the child goes."""
    known = {(entry.name, entry.source) for entry in draft.licence}
    for folder, manifest in parents:
        for entry in manifest.licence:
            if (entry.name, entry.source) in known:
                continue
            known.add((entry.name, entry.source))
            text_file = None
            if entry.text_file in manifest.files:
                text_file = _copy_text(folder / entry.text_file, draft.folder)
            draft.licence.append(Licence(name=entry.name, source=entry.source, text_file=text_file))


def _copy_text(source: Path, folder: Path) -> str:
    digest = sha256_file(source)[:8]
    name = source.name if source.name.startswith(digest) else f"{digest}-{source.name}"
    target = folder / _LICENCES / name
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(source, target)
    return f"{_LICENCES}/{name}"


def hash_files(draft: Draft) -> dict[str, FileEntry]:
    """Size and SHA-256 of every file in the draft's folder, in order.

    Raises `ConfigError` for links and devices, for names that are Kajiya's own, and for a licence
    text that is not there.
    """
    files: dict[str, FileEntry] = {}
    for path in sorted(draft.folder.rglob("*")):
        name = path.relative_to(draft.folder).as_posix()
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode):
            continue
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(
                tr(
                    "an artifact holds only plain files",
                    "成果物に入れられるのは通常のファイルだけです",
                ),
                where=name,
                fix=tr(
                    "copy the file instead of linking to it", "リンクではなくコピーしてください"
                ),
            )
        if name in (MANIFEST_FILE, CARD_FILE):
            raise ConfigError(
                tr("this file name is reserved", "このファイル名は Kajiya が使います"), where=name
            )
        files[name] = FileEntry(sha256=sha256_file(path), size=status.st_size)
    for entry in draft.licence:
        if entry.text_file is not None and entry.text_file not in files:
            raise ConfigError(
                tr(
                    "the licence text is not in the folder",
                    "ライセンスの文書がフォルダにありません",
                ),
                where=entry.text_file,
            )
    return files


@contextmanager
def scratch_folder(scratch: Path, prefix: str, store_lock: Path) -> Iterator[Path]:
    """A folder under `scratch` for the length of the block; it may be moved away meanwhile.

    First sweeps what killed processes left there.
    """
    with ExitStack() as owned:
        with locked(store_lock):
            _sweep(scratch)
            folder = Path(tempfile.mkdtemp(dir=scratch, prefix=f"{prefix}-"))
            # Taken before the store's lock is given back, so that no sweep comes between.
            owned.enter_context(locked(_lock_of(folder)))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            _lock_of(folder).unlink(missing_ok=True)


def _sweep(scratch: Path) -> None:
    scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in scratch.iterdir():
        if path.is_dir() and not is_locked(_lock_of(path)):
            shutil.rmtree(path, ignore_errors=True)
            _lock_of(path).unlink(missing_ok=True)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")
