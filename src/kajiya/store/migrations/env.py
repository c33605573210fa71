"""Run by Alembic for every upgrade, with the connection that `database.upgrade` hands over."""

from __future__ import annotations

from alembic import context

from kajiya.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,  # also on SQLite: `database.py` begins real transactions there
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
