"""Kept states: what an RWKV model had read and written, for a later request to go on from.

A folder a key; what another key kept is to a caller as if it were not there. Never loads a state: the
engine does, and sees whether it fits.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from kajiya.core.language import tr
from kajiya.server.access.caller import Caller
from kajiya.server.bodies import Generation
from kajiya.server.errors import ApiError
from kajiya.server.gateway import ServedModel

_ID = re.compile(r"state-[0-9a-f]{24}")


@dataclass(frozen=True)
class Kept:
    """Where one request begins and where it is kept; `id` is the name of the latter."""

    start: Path | None = None
    save: Path | None = None
    id: str | None = None


@dataclass(frozen=True)
class Shelf:
    """The states in `folder`, at most `limit` bytes for each key."""

    folder: Path
    limit: int

    async def wanted(self, caller: Caller, served: ServedModel, body: Generation) -> Kept:
        """What `body` asks for. A 400 if the model keeps no states or there is no room, a 404 for no state."""
        if body.state is None and not body.return_state:
            return Kept()
        return await asyncio.to_thread(self._places, caller, served, body)

    def _places(self, caller: Caller, served: ServedModel, body: Generation) -> Kept:
        if not served.engine.capabilities.states:
            raise ApiError(
                400,
                tr(
                    "Only RWKV models of this server keep states",
                    "状態を保存できるのは、このサーバーの RWKV のモデルだけです",
                ),
                param="return_state" if body.state is None else "state",
                code="unsupported_parameter",
            )
        start = None if body.state is None else self.find(caller, body.state)
        if not body.return_state:
            return Kept(start)
        self._check_room(caller)
        new = f"state-{secrets.token_hex(12)}"
        return Kept(start, self._path(caller, new), new)

    def find(self, caller: Caller, id: str) -> Path:
        """The file of a state of this caller's; a 404 if there is none."""
        path = self._path(caller, id) if _ID.fullmatch(id) else None
        if path is None or not path.is_file():
            raise ApiError(
                404,
                tr(f"There is no state {id!r}", f"状態 {id!r} はありません"),
                param="state",
                code="state_not_found",
            )
        return path

    def cards(self, caller: Caller) -> list[dict[str, Any]]:
        """All states of this caller's, the newest first."""
        cards = [self.card(path) for path in self._files(caller)]
        return sorted(cards, key=lambda card: -card["created"])

    def card(self, path: Path) -> dict[str, Any]:
        """What is known of a state: which model made it, and how many tokens it has seen."""
        status = path.stat()
        try:
            with safe_open(path, framework="np") as opened:
                known: dict[str, str] = opened.metadata() or {}
        except (SafetensorError, OSError):
            known = {}
        tokens = known.get("tokens", "")
        return {
            "id": path.stem,
            "object": "state",
            "created": int(status.st_mtime),
            "model": known.get("model", ""),
            "tokens": int(tokens) if tokens.isdecimal() else None,
            "bytes": status.st_size,
        }

    def _check_room(self, caller: Caller) -> None:
        if sum(path.stat().st_size for path in self._files(caller)) >= self.limit:
            raise ApiError(
                400,
                tr(
                    f"The states of this key take more than {self.limit} bytes: delete some",
                    f"このキーの状態が {self.limit} バイトを超えています。いくつか削除してください",
                ),
                param="return_state",
                code="states_full",
            )

    def _files(self, caller: Caller) -> list[Path]:
        return list((self.folder / caller.key_id).glob("state-*.safetensors"))

    def _path(self, caller: Caller, id: str) -> Path:
        return self.folder / caller.key_id / f"{id}.safetensors"
