"""One life of a worker process, seen from its parent: start, many requests over one socket, end.

Does not start again what has ended; that is `client`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import psutil

from kajiya.core.errors import EngineError, KajiyaError
from kajiya.core.language import tr
from kajiya.inference.bundle import ServableModel
from kajiya.inference.llamacpp import ENVIRONMENT
from kajiya.inference.protocol import Capabilities, EngineSettings, GenerateChunk, GenerateRequest
from kajiya.inference.wire import (
    FROM_WORKER,
    LINE_LIMIT,
    AddModel,
    Cancel,
    Chunk,
    Failed,
    FromWorker,
    Generate,
    Load,
    Ready,
    RemoveAdapter,
)

_LOG_LIMIT = 4 * 1024**2
_LOG_TAIL = 1500
_EXIT_SECONDS = 5


class Connection:
    """A running worker whose model is loaded. Made by `open`; belongs to one event loop."""

    capabilities: Capabilities
    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter
    _listening: asyncio.Task[None] | None = None

    def __init__(self, endpoint: socket.socket, log: Path) -> None:
        self._log = log
        self._log_start = _open_log(log)
        self.process = _spawn(endpoint, log)
        self.alive = True
        self._numbers = itertools.count(1)
        self._mailboxes: dict[int, _Mailbox] = {}
        self._changes: dict[int, asyncio.Future[Capabilities]] = {}

    @classmethod
    async def open(
        cls, models: Sequence[ServableModel], settings: EngineSettings, log: Path
    ) -> Connection:
        """Start a process and wait until it has loaded; `EngineError` tells why it could not."""
        ours, theirs = socket.socketpair()
        with theirs:
            self = cls(theirs, log)
        self._reader, self._writer = await asyncio.open_connection(sock=ours, limit=LINE_LIMIT)
        try:
            self._writer.write(Load(models=tuple(models), settings=settings).line())
            answer = await self._receive()
            if isinstance(answer, Failed):
                failure = answer.error()
                raise EngineError(
                    failure.message, where=failure.where, fix=failure.fix or self._said()
                )
            if not isinstance(answer, Ready):
                raise await self._ended()
        except BaseException:
            await self.close()
            raise
        self.capabilities = answer.capabilities
        self._listening = asyncio.create_task(self._listen())
        return self

    @property
    def pending(self) -> int:
        """Requests that the worker has not finished."""
        return len(self._mailboxes)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[GenerateChunk]:
        """Answer; closing the generator early frees the slot."""
        if not self.alive:
            raise await self._ended()
        number, mailbox = next(self._numbers), _Mailbox()
        self._mailboxes[number] = mailbox
        try:
            self._writer.write(Generate(id=number, request=request).line())
            with contextlib.suppress(OSError):  # it just ended: the mailbox will say so
                await self._writer.drain()
            while True:
                chunk = await mailbox.take()
                yield chunk
                if chunk.finish_reason:
                    return
        finally:
            if self._mailboxes.pop(number, None) and self.alive:
                self._writer.write(Cancel(id=number).line())

    async def add(self, model: ServableModel) -> None:
        """Load one more model of this base; running answers go on.

        Raises `FormatError` or `ConflictError` for an adapter that does not fit, `EngineError` for a
        worker that went away.
        """
        number = next(self._numbers)
        await self._change(number, AddModel(id=number, model=model))

    async def remove_adapter(self, name: str) -> None:
        """Unload an adapter once the answers with it have ended; `EngineError` as `add`."""
        number = next(self._numbers)
        await self._change(number, RemoveAdapter(id=number, name=name))

    async def _change(self, number: int, message: AddModel | RemoveAdapter) -> None:
        if not self.alive:
            raise await self._ended()
        self._changes[number] = asyncio.get_running_loop().create_future()
        try:
            self._writer.write(message.line())
            self.capabilities = await self._changes[number]
        finally:
            del self._changes[number]

    def memory(self) -> int:
        """Bytes that the worker has in memory, 0 when it is gone."""
        try:
            found: int = psutil.Process(self.process.pid).memory_info().rss
        except psutil.Error:
            return 0
        return found

    async def close(self) -> None:
        """End the process, whatever it is doing, and wait for it."""
        self.alive = False
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
        await asyncio.to_thread(self._reap)
        if self._listening:
            await self._listening

    async def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while message := await self._receive():
                if isinstance(message, Chunk):
                    self._deliver(message)
                elif isinstance(message, Ready) and message.id in self._changes:
                    _settle(self._changes[message.id], message.capabilities)
                elif isinstance(message, Failed) and message.id in self._changes:
                    _settle(self._changes[message.id], message.error())
                elif isinstance(message, Failed) and message.id in self._mailboxes:
                    self._mailboxes.pop(message.id).fail(message.error())
        self.alive = False
        error = await self._ended()
        for change in self._changes.values():
            _settle(change, error)
        for mailbox in self._mailboxes.values():
            mailbox.fail(error)
        self._mailboxes.clear()

    def _deliver(self, message: Chunk) -> None:
        mailbox = self._mailboxes.get(message.id)
        if mailbox is None:
            return  # cancelled while this was on its way
        mailbox.put(message.chunk)
        if message.chunk.finish_reason:
            del self._mailboxes[message.id]

    async def _receive(self) -> FromWorker | None:
        line = await self._reader.readline()
        return FROM_WORKER.validate_json(line) if line.endswith(b"\n") else None

    async def _ended(self) -> EngineError:
        await asyncio.to_thread(self._reap)
        code = self.process.returncode
        return EngineError(
            tr(f"the engine's process ended ({code})", f"エンジンのプロセスが終了しました({code})"),
            where=str(self._log),
            fix=self._said(),
        )

    def _said(self) -> str:
        """The end of what this process wrote to its log."""
        with self._log.open("rb") as file:
            file.seek(max(self._log_start, self._log.stat().st_size - _LOG_TAIL))
            return file.read().decode("utf-8", errors="replace").strip()

    def _reap(self) -> None:
        try:
            self.process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _settle(change: asyncio.Future[Capabilities], result: Capabilities | KajiyaError) -> None:
    """Give a change its end, unless nobody waits for it any more."""
    if change.done():
        return
    if isinstance(result, KajiyaError):
        change.set_exception(result)
    else:
        change.set_result(result)


class _Mailbox:
    """What one request was answered and its reader has not taken yet, merged into one chunk.

    A slow reader therefore holds at most the text of one answer, and never a slot.
    """

    def __init__(self) -> None:
        self._filled = asyncio.Event()
        self._chunk: GenerateChunk | None = None
        self._error: KajiyaError | None = None

    def put(self, chunk: GenerateChunk) -> None:
        self._chunk = self._chunk.followed_by(chunk) if self._chunk else chunk
        self._filled.set()

    def fail(self, error: KajiyaError) -> None:
        self._error = error
        self._filled.set()

    async def take(self) -> GenerateChunk:
        await self._filled.wait()
        if self._chunk is None:
            assert self._error is not None
            raise self._error
        chunk, self._chunk = self._chunk, None
        if self._error is None:
            self._filled.clear()
        return chunk


def _open_log(log: Path) -> int:
    """Make the log if it is missing, empty it if it is long; its size in bytes."""
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
        if file.tell() > _LOG_LIMIT:
            file.truncate(0)
        return file.tell()


def _spawn(endpoint: socket.socket, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            # -P: the folder in which the user stands is no place to import from.
            [sys.executable, "-P", "-m", "kajiya.inference.worker", "--fd", str(endpoint.fileno())],
            pass_fds=[endpoint.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **ENVIRONMENT},
            # A session of its own: Ctrl-C in the terminal is for the parent to handle.
            start_new_session=True,
        )
