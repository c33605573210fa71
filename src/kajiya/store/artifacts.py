"""Artifacts: immutable folders `artifacts/KIND/NAME/VERSION/`, each with a manifest and a card.

The folders are the truth and the database an index of them, brought into line whenever the two
differ: after a kill between the two steps, after a database was lost, after a folder was deleted by
hand. What is in an artifact's files is the business of those who make it.
"""

from __future__ import annotations

import difflib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from kajiya import __version__
from kajiya.core.errors import ConflictError, NotFoundError
from kajiya.core.files import check_name, sha256_file, sync_folder, sync_tree, write_text
from kajiya.core.language import tr
from kajiya.core.locks import locked
from kajiya.core.workspace import Workspace
from kajiya.store.card import render_card
from kajiya.store.database import Database
from kajiya.store.draft import Draft, hash_files, inherit_licences, scratch_folder
from kajiya.store.folders import Artifact, Folders, parse_reference
from kajiya.store.index import Index
from kajiya.store.lineage import LineageNode, trace
from kajiya.store.manifest import (
    CARD_FILE,
    MANIFEST_FILE,
    Key,
    Licence,
    Manifest,
    Parent,
    write_manifest,
)

__all__ = [
    "Artifact",
    "ArtifactStore",
    "Draft",
    "Licence",
    "LineageNode",
    "Parent",
    "parse_reference",
]

# `list` is a method below, so the type needs other names inside the class.
Artifacts: TypeAlias = list[Artifact]
Messages: TypeAlias = list[str]


class ArtifactStore:
    """The artifacts of one workspace. Safe between threads and processes of one machine."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._folders = Folders(workspace.artifacts)

    @property
    def _lock(self) -> Path:
        return self.workspace.artifacts / ".lock"

    @property
    def _scratch(self) -> Path:
        return self.workspace.artifacts / ".scratch"

    @cached_property
    def _index(self) -> Index:
        self.workspace.create()
        return Index(Database.open_file(self.workspace.database))

    # Making and removing

    @contextmanager
    def draft(
        self,
        kind: str,
        name: str,
        *,
        parents: Sequence[Parent] = (),
        licence: Sequence[Licence] = (),
        config: Mapping[str, Any] | None = None,
        description: str = "",
    ) -> Iterator[Draft]:
        """Make the next version of `name`: what the block leaves in `draft.folder` becomes the artifact.

        If the block raises, nothing remains. Afterwards `draft.artifact` is set. Parents need not be
        in this store (an imported artifact's may never have been); the licences of those that are
        are inherited. Raises `ConfigError` for a name or a file that cannot be.
        """
        check_name(kind, "kind")
        check_name(name)
        self._synchronise()
        with scratch_folder(self._scratch, f"{kind}-{name}", self._lock) as folder:
            draft = Draft(
                folder,
                parents=parents,
                licence=licence,
                config=dict(config or {}),
                description=description,
            )
            yield draft
            draft.artifact = self._register(kind, name, draft)

    def _register(self, kind: str, name: str, draft: Draft) -> Artifact:
        present = [(parent, self._folders.find(parent)) for parent in draft.parents]
        inherit_licences(
            draft,
            [
                (found.folder, found.manifest)
                for parent, found in present
                if found and found.manifest_sha256 == parent.manifest_sha256
            ],
        )
        files = hash_files(draft)
        sync_tree(draft.folder)
        with locked(self._lock):
            version = 1 + max(
                (key.version for key in self._folders.present() if key[:2] == (kind, name)),
                default=0,
            )
            manifest = Manifest(
                kind=kind,
                name=name,
                version=version,
                created_at=datetime.now(UTC).isoformat(timespec="seconds"),
                code_version=__version__,
                description=draft.description,
                files=files,
                parents=draft.parents,
                config=draft.config,
                metrics=draft.metrics,
                licence=tuple(draft.licence),
                details=draft.details,
            )
            manifest_sha256 = write_manifest(draft.folder, manifest)
            write_text(
                draft.folder / CARD_FILE, render_card(manifest, trace(manifest, self._folders.find))
            )
            target = self._folders.path(manifest.key)
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._index.adding(manifest, manifest_sha256):
                draft.folder.rename(target)
            sync_folder(target.parent)
        return self._folders.load(manifest.key)

    def remove(self, reference: str, kind: str | None = None, *, force: bool = False) -> None:
        """Remove one version. Raises `ConflictError` naming what was made from it, unless `force`."""
        artifact = self.get(reference, kind)
        with locked(self._lock):
            children = self._index.children(artifact.manifest_sha256)
            if children and not force:
                names = ", ".join(
                    f"{child.kind} {child.name}:{child.version}" for child in children
                )
                raise ConflictError(
                    tr(
                        f"other artifacts were made from it: {names}",
                        f"これをもとにした成果物があります: {names}",
                    ),
                    where=artifact.reference,
                    fix=tr(
                        "remove those first, or use force",
                        "先にそれらを消すか、強制削除してください",
                    ),
                )
            self._scratch.mkdir(exist_ok=True, mode=0o700)
            grave = Path(tempfile.mkdtemp(dir=self._scratch, prefix="removed-"))
            artifact.folder.rename(grave / "folder")
            self._index.update([], {artifact.key})
            shutil.rmtree(grave, ignore_errors=True)

    # Finding

    def get(self, reference: str, kind: str | None = None) -> Artifact:
        """`name` (its newest version) or `name:3`.

        Raises `NotFoundError` with names that are close, `ConflictError` if `kind` is not given and
        several kinds have the name, `FormatError` if the manifest is damaged.
        """
        name, version = parse_reference(reference)
        keys = [key for key in self._synchronise() if kind in (None, key.kind)]
        matching = sorted(
            key for key in keys if key.name == name and version in (None, key.version)
        )
        kinds = sorted({key.kind for key in matching})
        if len(kinds) > 1:
            raise ConflictError(
                tr(
                    f"several kinds have this name: {', '.join(kinds)}",
                    f"同じ名前の種類が複数あります: {', '.join(kinds)}",
                ),
                where=reference,
                fix=tr("say which kind is meant", "種類を指定してください"),
            )
        if not matching:
            raise _not_found(reference, name, keys, kind)
        return self._folders.load(matching[-1])

    def list(self, kind: str | None = None) -> Artifacts:
        """All artifacts (of one kind), by kind, name and version; see `damaged` for those left out."""
        return self._folders.load_all(
            key for key in self._synchronise() if kind in (None, key.kind)
        )[0]

    def damaged(self) -> Messages:
        """What is wrong with artifacts that cannot be read and are therefore not listed."""
        return [str(error) for error in self._folders.load_all(self._folders.present())[1]]

    def children(self, artifact: Artifact) -> Artifacts:
        """The artifacts that were made from this one."""
        present = self._synchronise()
        keys = self._index.children(artifact.manifest_sha256)
        return [self._folders.load(key) for key in keys if key in present]

    def lineage(self, artifact: Artifact) -> LineageNode:
        """The tree of what it was made from; parents that were removed show as missing."""
        return trace(artifact.manifest, self._folders.find)

    # Checking

    def verify(self, artifact: Artifact) -> Messages:
        """What differs between the folder and the manifest, a line each; empty if nothing does."""
        self._synchronise()
        expected = artifact.manifest.files
        actual = {
            path.relative_to(artifact.folder).as_posix(): path
            for path in sorted(artifact.folder.rglob("*"))
            if path.is_symlink() or not path.is_dir()
        }
        problems = []
        if self._index.manifest_sha256(artifact.key) != _hash_or_none(
            artifact.folder / MANIFEST_FILE
        ):
            problems.append(tr(f"{MANIFEST_FILE}: changed", f"{MANIFEST_FILE}: 変更されています"))
        for name, entry in expected.items():
            path = actual.pop(name, None)
            if path is None:
                problems.append(tr(f"{name}: missing", f"{name}: ありません"))
            elif path.is_symlink() or _hash_or_none(path) != entry.sha256:
                problems.append(tr(f"{name}: changed", f"{name}: 変更されています"))
        for name in sorted(actual.keys() - {MANIFEST_FILE, CARD_FILE}):
            problems.append(tr(f"{name}: added", f"{name}: 追加されています"))
        return problems

    def reindex(self) -> None:
        """Build the index again from the folders."""
        index = self._index
        with locked(self._lock):
            index.update(self._folders.load_all(self._folders.present())[0], index.keys())

    # The folders and the index

    def _synchronise(self) -> set[Key]:
        """Bring the index into line with the folders; returns what there is."""
        indexed = self._index.keys()
        if indexed != self._folders.present():
            with locked(self._lock):
                indexed, present = self._index.keys(), self._folders.present()
                self._index.update(self._folders.load_all(present - indexed)[0], indexed - present)
                indexed = self._index.keys()
        return indexed


def _hash_or_none(path: Path) -> str | None:
    try:
        return sha256_file(path)
    except OSError:
        return None


def _not_found(reference: str, name: str, keys: Sequence[Key], kind: str | None) -> NotFoundError:
    what = kind or tr("artifact", "成果物")
    versions = sorted(key.version for key in keys if key.name == name)
    close = difflib.get_close_matches(name, sorted({key.name for key in keys}), n=3, cutoff=0.5)
    if versions:
        numbers = ", ".join(str(version) for version in versions)
        fix = tr(f"versions of {name}: {numbers}", f"{name} の版: {numbers}")
    elif close:
        fix = tr(f"did you mean {', '.join(close)}?", f"もしかして: {', '.join(close)}")
    else:
        fix = ""
    return NotFoundError(
        tr(f"there is no {what} {reference}", f"{what} {reference} はありません"),
        where=reference,
        fix=fix,
    )
