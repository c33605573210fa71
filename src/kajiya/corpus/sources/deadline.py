"""An end to an exchange with a server, also to one that sends a byte now and then for ever."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Any, Self

from kajiya.core.errors import DataError
from kajiya.core.language import tr


class Deadline:
    """Inside the block, a connection that `watch` saw is shut down after `seconds`.

    Raises `DataError` where that has happened.
    """

    def __init__(self, seconds: float, where: str) -> None:
        self._seconds = seconds
        self._where = where
        self._timer = threading.Timer(seconds, self._shut)
        self._timer.daemon = True
        self._stream: Any = None
        self._passed = False

    def watch(self, event: str, info: dict[str, Any]) -> None:
        """httpx's `trace` extension: told of every step of a connection."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._stream = info["return_value"]

    def _shut(self) -> None:
        self._passed = True
        connection = self._stream and self._stream.get_extra_info("socket")
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if self._passed:
            raise DataError(
                tr(
                    f"no whole answer within {self._seconds:g} seconds",
                    f"{self._seconds:g} 秒以内に応答が終わりませんでした",
                ),
                where=self._where,
                fix=tr("run it again later", "後で再実行してください"),
            ) from None
