"""The tables of the database, as the newest migration leaves them.

Only types and constraints that SQLite and PostgreSQL share. A change here needs a migration in
`migrations/versions/`; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
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

# Moments are ISO 8601 in UTC with milliseconds, so they sort as text.
KEYS = Table(
    "keys",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("owner", String(100), nullable=False),
    Column("prefix", String(20), nullable=False),
    Column("secret_sha256", String(64), nullable=False, unique=True),
    Column("models", JSON, nullable=False),
    Column("rpm_limit", BigInteger),
    Column("tpm_limit", BigInteger),
    Column("max_parallel_requests", BigInteger),
    Column("max_budget", BigInteger),
    Column("budget_period", String(20), nullable=False),
    Column("created_at", String(40), nullable=False),
    Column("expires_at", String(40)),
    Column("rotated_at", String(40)),
    Column("revoked_at", String(40)),
)

# One row a call. No foreign key: the administrator's key has no row, and books outlive their keys.
USAGE = Table(
    "usage",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("key_id", String(40), nullable=False),
    Column("model", Text, nullable=False),
    Column("day", String(10), nullable=False),
    Column("started_at", String(40), nullable=False),
    Column("seconds", Float, nullable=False),
    Column("status", String(20), nullable=False),
    Column("error", String(100)),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("server", String(40), nullable=False),
    Index("ix_usage_key_id", "key_id", "day"),
    Index("ix_usage_day", "day"),
    Index("ix_usage_status", "status", "server"),
)

# People who use the console. A password is a scrypt hash with its own salt and cost.
USERS = Table(
    "users",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("role", String(20), nullable=False),
    Column("password", String(200), nullable=False),
    Column("language", String(10)),
    Column("theme", String(10)),
    Column("welcome", JSON, nullable=False),
    Column("created_at", String(40), nullable=False),
    Column("closed_at", String(40)),
)

# Signed-in browsers, by the SHA-256 of what their cookie holds.
SESSIONS = Table(
    "sessions",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", String(40), nullable=False),
    Column("seen_at", String(40), nullable=False),
)

# Who did what. Rows are added, never changed; old ones go by the retention that was chosen.
AUDIT = Table(
    "audit",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("at", String(40), nullable=False, index=True),
    Column("who", String(100), nullable=False),
    Column("action", String(100), nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", JSON, nullable=False),
)

# Conversations in the console, each one person's. `settings` are those of its next answer.
CONVERSATIONS = Table(
    "conversations",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("user_id", String(40), nullable=False),
    Column("title", String(200), nullable=False),
    Column("settings", JSON, nullable=False),
    Column("created_at", String(40), nullable=False),
    Column("updated_at", String(40), nullable=False),
    Index("ix_conversations_user_id", "user_id", "updated_at"),
)

# Turns in their order. An answer has a `side`: two models may answer the same question, and the
# conversation goes on from the one that is `chosen`.
CHAT_MESSAGES = Table(
    "chat_messages",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("conversation_id", ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("side", String(1), nullable=False),
    Column("content", Text, nullable=False),
    Column("status", String(20), nullable=False),
    Column("chosen", Boolean, nullable=False),
    Column("made_by", JSON, nullable=False),
    Column("created_at", String(40), nullable=False),
    Index("ix_chat_messages_conversation_id", "conversation_id", "position", "side", unique=True),
)

# What people thought of answers, with everything needed to learn from it: it outlives conversations.
PREFERENCES = Table(
    "preferences",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("verdict", String(10), nullable=False),
    Column("user_id", String(40), nullable=False),
    Column("message_id", String(40), nullable=False),
    Column("prompt", JSON, nullable=False),
    Column("answer", Text, nullable=False),
    Column("made_by", JSON, nullable=False),
    Column("other_answer", Text),
    Column("other_made_by", JSON),
    Column("created_at", String(40), nullable=False),
    UniqueConstraint("message_id", "user_id", "kind", name="uq_preferences_message_id"),
    Index("ix_preferences_created_at", "created_at"),
)
