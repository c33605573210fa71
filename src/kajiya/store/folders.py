"""The artifacts' folders as they lie on the disk: which there are, and what their manifests say.

Only reads. Damaged folders are somebody's work and are left where they are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kajiya.core.errors import ConfigError, FormatError, KajiyaError
from kajiya.core.files import check_name, is_name
from kajiya.core.language import tr
from kajiya.store.manifest import MANIFEST_FILE, Key, Manifest, Parent, read_manifest

_VERSION = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True)
class Artifact:
    """One version of something made: its folder and what its manifest says."""

    kind: str
    name: str
    version: int
    folder: Path
    manifest: Manifest
    manifest_sha256: str

    @property
    def key(self) -> Key:
        return Key(self.kind, self.name, self.version)

    @property
    def reference(self) -> str:
        """`name:version`."""
        return f"{self.name}:{self.version}"

    def as_parent(self, role: str) -> Parent:
        """For the manifest of what is made from this; `role` says as what (base, data, …)."""
        return Parent(
            kind=self.kind,
            reference=self.reference,
            manifest_sha256=self.manifest_sha256,
            role=role,
        )


def parse_reference(reference: str) -> tuple[str, int | None]:
    """`name` or `name:version`; raises `ConfigError` for anything else."""
    name, colon, version = reference.partition(":")
    check_name(name)
    if not colon:
        return name, None
    if not _VERSION.fullmatch(version):
        raise ConfigError(
            tr(f"{version!r} is not a version", f"{version!r} は版の番号ではありません"),
            where=reference,
            fix=tr(f"write {name} or {name}:1", f"{name} または {name}:1 のように書いてください"),
        )
    return name, int(version)


class Folders:
    """The folders `KIND/NAME/VERSION/` under `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: Key) -> Path:
        return self.root / key.kind / key.name / str(key.version)

    def present(self) -> set[Key]:
        """Every artifact folder, readable or not. Links are no folders."""
        return {
            Key(kind.name, name.name, int(version.name))
            for kind in _folders(self.root)
            for name in _folders(kind)
            for version in _folders(name)
            if _VERSION.fullmatch(version.name)
        }

    def load(self, key: Key) -> Artifact:
        """Read one; raises `FormatError` if its manifest is damaged or belongs elsewhere."""
        folder = self.path(key)
        manifest, manifest_sha256 = read_manifest(folder)
        if manifest.key != key:
            other = f"{manifest.kind} {manifest.reference}"
            raise FormatError(
                tr(
                    f"the manifest is of another artifact ({other})",
                    f"別の成果物のマニフェストです ({other})",
                ),
                where=str(folder / MANIFEST_FILE),
                fix=tr(
                    "put the folder back under its own name", "フォルダを元の名前に戻してください"
                ),
            )
        return Artifact(*key, folder, manifest, manifest_sha256)

    def load_all(self, keys: Iterable[Key]) -> tuple[list[Artifact], list[FormatError]]:
        """Those that can be read, in order, and what is wrong with the others."""
        artifacts, problems = [], []
        for key in sorted(keys):
            try:
                artifacts.append(self.load(key))
            except FormatError as error:
                problems.append(error)
        return artifacts, problems

    def find(self, parent: Parent) -> Artifact | None:
        """What lies under a parent's reference now, which may be another artifact than it was."""
        try:
            name, version = parse_reference(parent.reference)
            return self.load(Key(check_name(parent.kind, "kind"), name, version or 0))
        except KajiyaError:
            return None


def _folders(parent: Path) -> list[Path]:
    try:
        with os.scandir(parent) as entries:
            return [
                Path(entry.path)
                for entry in entries
                if entry.is_dir(follow_symlinks=False) and is_name(entry.name)
            ]
    except FileNotFoundError:
        return []
