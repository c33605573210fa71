"""An HTTP server that lets running answers finish when it is told to stop."""

from __future__ import annotations

import asyncio
import socket
import time
from types import FrameType

import uvicorn

from kajiya.server.gateway import Gateway

_STOP_SECONDS = 5.0  # for answers that were told to stop and have not come to it


class DrainingServer(uvicorn.Server):
    """Told to stop, it goes on listening and refuses what is new, until the last answer has ended.

    After `seconds`, or when told a second time, answers are cut.
    """

    def __init__(self, config: uvicorn.Config, gateway: Gateway, seconds: float) -> None:
        super().__init__(config)
        self._gateway = gateway
        self._seconds = seconds
        self._deadline = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by the first signal and every other."""
        if self._gateway.draining:
            super().handle_exit(sig, frame)
            self.force_exit = self.should_exit
            return
        self._captured_signals.append(sig)
        self._gateway.draining = True
        self._deadline = time.monotonic() + self._seconds

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second; True ends the loop."""
        if self._gateway.draining:
            late = time.monotonic() >= self._deadline
            self.should_exit = self.should_exit or late or not self.server_state.tasks
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Writes down what was used before uvicorn passes on the signal that ends the process."""
        await super().shutdown(sockets)
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=_STOP_SECONDS)
        for closing in self._gateway.before_close:
            await closing()
        await asyncio.to_thread(self._gateway.gate.close)
