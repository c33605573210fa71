"""Keys for a server that tests talk to, and what it wrote down about them."""

from __future__ import annotations

from typing import Any

import openai
from sqlalchemy import select

from kajiya.server.access.caller import KeySettings
from kajiya.server.access.keyring import Keyring
from kajiya.store.database import Database
from kajiya.store.tables import USAGE
from support.tiny_server import Running


class Holder:
    """Somebody with a key of his own."""

    def __init__(self, server: Running, database: Database, name: str, **settings: Any) -> None:
        self._server, self._database = server, database
        made, self.secret = Keyring(database).create(name, KeySettings.checked(settings))
        self.id = made.id
        self.headers = {"Authorization": f"Bearer {self.secret}"}

    def openai(self) -> openai.OpenAI:
        return self._server.openai(api_key=self.secret)

    def rows(self) -> list[dict[str, Any]]:
        """What the ledger holds on this key, the oldest first."""
        query = select(USAGE).where(USAGE.c.key_id == self.id).order_by(USAGE.c.started_at)
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def states(self) -> list[str]:
        return [row["status"] for row in self.rows()]
