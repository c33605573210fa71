"""The one place where callers are known, let in, and counted; routes and guard come here."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from sqlalchemy.exc import SQLAlchemyError

from kajiya.core.language import tr
from kajiya.core.workspace import DATABASE_URL, Workspace
from kajiya.server.access import clock
from kajiya.server.access.caller import Caller
from kajiya.server.access.keyring import Keyring
from kajiya.server.access.ledger import (
    Budget,
    Ledger,
    LedgerError,
    OverBudgetError,
    Progress,
    Status,
)
from kajiya.server.access.limits import Limits
from kajiya.server.errors import ApiError, as_api_error, database_unavailable
from kajiya.store.database import Database

_PATIENCE = 5.0  # how long a request may wait for a locked database


def open_accounts(
    workspace: Workspace, patience: float = 30.0, keep_connections: bool = False
) -> Database:
    """The database of keys and usage: the one that `KAJIYA_DATABASE_URL` names, or the workspace's own."""
    url = os.environ.get(DATABASE_URL)
    if url:
        return Database.open_url(url, patience=patience, keep_connections=keep_connections)
    workspace.create()
    return Database.open_file(
        workspace.accounts, patience=patience, keep_connections=keep_connections
    )


class Gate:
    """Keys, limits and ledger of one running server. `administrator` is the workspace's own key."""

    def __init__(self, administrator: str, database: Database, ledger: Ledger) -> None:
        self._administrator = _digest(administrator)
        self.keyring = Keyring(database)
        self.database = database
        self._ledger = ledger
        self._limits = Limits()

    @classmethod
    def open(cls, administrator: str, workspace: Workspace) -> Gate:
        """For a server that starts; rows that a killed one left are closed."""
        database = open_accounts(workspace, _PATIENCE, keep_connections=True)
        return cls(administrator, database, Ledger(database))

    def close(self) -> None:
        """Write down what is left; blocks."""
        self._ledger.close()
        self.database.close()

    async def authenticate(self, secret: str) -> Caller:
        """Whose key this is; a 401 in the API's shape if it is nobody's or does not work any more."""
        if hmac.compare_digest(_digest(secret), self._administrator):
            return Caller()
        try:
            key = await asyncio.to_thread(self.keyring.find, secret)
        except SQLAlchemyError as error:
            raise as_api_error(error) from None
        state = key.state(clock.now()) if key else None
        if key and state == "active":
            return Caller(key.id, key.settings)
        raise ApiError(
            401,
            {
                None: tr(
                    "A valid key is needed: Authorization: Bearer kj-…",
                    "有効なキーが必要です: Authorization: Bearer kj-…",
                ),
                "expired": tr("This key has expired", "このキーは期限切れです"),
                "revoked": tr("This key was revoked", "このキーは失効しています"),
            }[state],
            code="invalid_api_key",
            headers={"WWW-Authenticate": "Bearer"},
        )

    def headers(self, caller: Caller) -> Mapping[str, str]:
        """What a response tells its caller about limits."""
        return self._limits.headers(caller)

    @asynccontextmanager
    async def call(self, caller: Caller, model: str) -> AsyncIterator[Call]:
        """Let a caller use a model inside the block, which is recorded however it ends.

        A 429 in the API's shape if a limit or the budget is reached, a 503 if usage cannot be recorded.
        """
        with self._limits.request(caller):
            row = await self._begin(caller, model)
            call = Call(caller, row, self._ledger, self._limits)
            try:
                yield call
            except Exception as error:
                told = as_api_error(error)
                call.end("error", told.code)
                raise told from error
            except BaseException:
                call.end("cancelled")
                raise
            call.end("ok")

    async def _begin(self, caller: Caller, model: str) -> str:
        settings, when = caller.settings, clock.now()
        days = clock.period(settings.budget_period, when)
        budget = Budget(settings.max_budget, *days) if settings.max_budget else None
        try:
            return await self._ledger.begin(caller.key_id, model, budget)
        except LedgerError:
            raise database_unavailable(
                tr(
                    "Usage cannot be recorded at the moment, and nothing is answered unrecorded",
                    "いまは利用量を記録できないため、リクエストを受け付けていません",
                )
            ) from None
        except OverBudgetError:
            headers = {"x-should-retry": "false"}
            if settings.budget_period != "total":
                headers["Retry-After"] = str(clock.seconds_until(days[1], when))
            raise ApiError(
                429,
                tr(
                    f"This key has used up its budget of {settings.max_budget} tokens",
                    f"このキーはトークンの予算 {settings.max_budget} を使い切りました",
                ),
                type="insufficient_quota",
                code="insufficient_quota",
                headers=headers,
            ) from None


class Call:
    """One use of a model by a caller."""

    def __init__(self, caller: Caller, row: str, ledger: Ledger, limits: Limits) -> None:
        self._caller, self._row, self._ledger, self._limits = caller, row, ledger, limits
        self._started = time.monotonic()
        self._prompt = self._completion = 0
        ledger.follow(row, lambda: self._progress("running"))

    def count(self, prompt_tokens: int, completion_tokens: int = 0) -> None:
        """All tokens of this call so far; to be called as they come."""
        more = prompt_tokens + completion_tokens - self._prompt - self._completion
        self._prompt, self._completion = prompt_tokens, completion_tokens
        if more > 0:
            self._limits.use(self._caller, more)

    def end(self, status: Status, error: str | None = None) -> None:
        """The last word; `error` is the API's code for what went wrong."""
        self._ledger.end(self._row, self._progress(status, error))

    def _progress(self, status: Status, error: str | None = None) -> Progress:
        seconds = time.monotonic() - self._started
        return Progress(status, self._prompt, self._completion, seconds, error)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
