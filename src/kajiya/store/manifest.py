"""`manifest.json`: what an artifact is, what is in it, what it was made from, and who owns what.

Reading and writing only; where artifacts lie and how they come about is `artifacts.py`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from kajiya.core.errors import FormatError
from kajiya.core.files import write_text
from kajiya.core.language import tr

MANIFEST_FILE = "manifest.json"
CARD_FILE = "card.md"
FORMAT = 1


class Key(NamedTuple):
    """What identifies an artifact."""

    kind: str
    name: str
    version: int


class _Part(BaseModel):
    # A later minor version may add fields; what it may not do is change these without a new FORMAT.
    model_config = ConfigDict(frozen=True, extra="ignore")


class FileEntry(_Part):
    """One file's content; `size` in bytes."""

    sha256: str
    size: int


class Parent(_Part):
    """An artifact that another was made from; `role` says as what (base, data, …)."""

    kind: str
    reference: str
    manifest_sha256: str
    role: str


class Licence(_Part):
    """Terms that cover all or part of an artifact.

    `source` says what they cover; `text_file` is the full text's path in the artifact's folder.
    """

    name: str
    source: str
    text_file: str | None = None


class Manifest(_Part):
    """All that is known of one artifact. `created_at` is ISO 8601 in UTC."""

    format: int = FORMAT
    kind: str
    name: str
    version: int = Field(ge=1)
    created_at: str
    code_version: str
    description: str = ""
    files: dict[str, FileEntry] = {}
    parents: tuple[Parent, ...] = ()
    config: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    licence: tuple[Licence, ...] = ()
    details: dict[str, Any] = {}

    @field_validator("files")
    @classmethod
    def _inside(cls, files: dict[str, FileEntry]) -> dict[str, FileEntry]:
        """A manifest that came from elsewhere must not name files outside its folder."""
        for name in files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or str(path) != name or "\0" in name:
                raise ValueError(f"{name!r} is not a path inside the folder")
        return files

    @property
    def key(self) -> Key:
        return Key(self.kind, self.name, self.version)

    @property
    def reference(self) -> str:
        """`name:version`."""
        return f"{self.name}:{self.version}"

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files.values())


def write_manifest(folder: Path, manifest: Manifest) -> str:
    """Write `folder`'s manifest; returns its SHA-256."""
    text = manifest.model_dump_json(indent=2) + "\n"
    write_text(folder / MANIFEST_FILE, text)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def read_manifest(folder: Path) -> tuple[Manifest, str]:
    """`folder`'s manifest and the SHA-256 of its bytes.

    Raises `FormatError` if it is missing, damaged, or made by a newer Kajiya.
    """
    path = folder / MANIFEST_FILE
    try:
        data = path.read_bytes()
        manifest = Manifest.model_validate_json(data)
    except OSError as error:
        raise FormatError(
            tr(
                f"the manifest cannot be read: {error.strerror}",
                f"マニフェストを読めません: {error.strerror}",
            ),
            where=str(path),
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        reason = ": ".join(part for part in (field, first["msg"]) if part)
        raise FormatError(
            tr(f"the manifest is damaged: {reason}", f"マニフェストが壊れています: {reason}"),
            where=str(path),
            fix=tr(
                "restore the folder from a copy, or delete it",
                "フォルダをコピーから戻すか、削除してください",
            ),
        ) from None
    if manifest.format > FORMAT:
        raise FormatError(
            tr("made by a newer Kajiya", "新しい Kajiya で作られた成果物です"),
            where=str(path),
            fix=tr("update Kajiya", "Kajiya を更新してください"),
        )
    return manifest, hashlib.sha256(data).hexdigest()
