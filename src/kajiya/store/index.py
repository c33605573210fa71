"""The database's rows about artifacts: which there are, and which were made from which.

Always rebuildable from the manifests; nothing is known here that is not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from sqlalchemy import ColumnElement, Connection, delete, insert, select

from kajiya.store.database import Database
from kajiya.store.folders import Artifact
from kajiya.store.manifest import Key, Manifest
from kajiya.store.tables import ARTIFACT_PARENTS, ARTIFACTS


class Index:
    """Rows of `artifacts` and `artifact_parents`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keys(self) -> set[Key]:
        """Every artifact in the index."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(ARTIFACTS.c.kind, ARTIFACTS.c.name, ARTIFACTS.c.version)
            )
            return {Key(*row) for row in rows}

    def children(self, manifest_sha256: str) -> list[Key]:
        """Artifacts that name this manifest as a parent, in order."""
        query = (
            select(ARTIFACTS.c.kind, ARTIFACTS.c.name, ARTIFACTS.c.version)
            .join(ARTIFACT_PARENTS)
            .where(ARTIFACT_PARENTS.c.manifest_sha256 == manifest_sha256)
            .distinct()
        )
        with self._database.read() as connection:
            return sorted(Key(*row) for row in connection.execute(query))

    def manifest_sha256(self, key: Key) -> str | None:
        """The manifest's hash as it was when the artifact was indexed."""
        query = select(ARTIFACTS.c.manifest_sha256).where(*_is(key))
        with self._database.read() as connection:
            return connection.execute(query).scalar()

    @contextmanager
    def adding(self, manifest: Manifest, manifest_sha256: str) -> Iterator[None]:
        """Add an artifact if the block, which puts its folder in place, succeeds."""
        with self._database.write() as connection:
            _insert(connection, manifest, manifest_sha256)
            yield

    def update(self, add: Iterable[Artifact], remove: Iterable[Key]) -> None:
        """Add and remove artifacts in one transaction."""
        with self._database.write() as connection:
            for key in remove:
                connection.execute(delete(ARTIFACTS).where(*_is(key)))
            for artifact in add:
                _insert(connection, artifact.manifest, artifact.manifest_sha256)


def _is(key: Key) -> tuple[ColumnElement[bool], ...]:
    return (
        ARTIFACTS.c.kind == key.kind,
        ARTIFACTS.c.name == key.name,
        ARTIFACTS.c.version == key.version,
    )


def _insert(connection: Connection, manifest: Manifest, manifest_sha256: str) -> None:
    row = connection.execute(
        insert(ARTIFACTS)
        .values(
            kind=manifest.kind,
            name=manifest.name,
            version=manifest.version,
            created_at=manifest.created_at,
            manifest_sha256=manifest_sha256,
            size=manifest.size,
        )
        .returning(ARTIFACTS.c.id)
    )
    artifact_id = row.scalar_one()
    for position, parent in enumerate(manifest.parents):
        connection.execute(
            insert(ARTIFACT_PARENTS).values(
                artifact_id=artifact_id, position=position, **parent.model_dump()
            )
        )
