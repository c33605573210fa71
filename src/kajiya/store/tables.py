"""The tables of the database, as the newest migration leaves them.

Only types and constraints that SQLite and PostgreSQL share. A change here needs a migration in
`migrations/versions/`; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

# Named constraints, so that a later migration can refer to them on every database.
METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

ARTIFACTS = Table(
    "artifacts",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("kind", String(100), nullable=False),
    Column("name", String(100), nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", String(40), nullable=False),
    Column("manifest_sha256", String(64), nullable=False, index=True),
    Column("size", BigInteger, nullable=False),
    UniqueConstraint("kind", "name", "version"),
)

ARTIFACT_PARENTS = Table(
    "artifact_parents",
    METADATA,
    Column("artifact_id", ForeignKey("artifacts.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("kind", String(100), nullable=False),
    Column("reference", String(200), nullable=False),
    Column("manifest_sha256", String(64), nullable=False, index=True),
    Column("role", String(100), nullable=False),
)
