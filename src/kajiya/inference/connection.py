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
from typing import Any

import psutil

from kajiya.core.errors import EngineError, KajiyaError
from kajiya.core.language import tr
from kajiya.inference.bundle import ServableModel
from kajiya.inference.engine_log import EngineLog
from kajiya.inference.llamacpp import ENVIRONMENT
from kajiya.inference.protocol import (
    Capabilities,
    Embeddings,
    EmbedRequest,
    EngineSettings,
    GenerateChunk,
    GenerateRequest,
)
from kajiya.inference.wire import (
    FROM_WORKER,
    LINE_LIMIT,
    AddModel,
    Cancel,
    Chunk,
    Embed,
    Embedded,
    Failed,
    FromWorker,
    Generate,
    Load,
    Ready,
    RemoveAdapter,
)

_EXIT_SECONDS = 5


class Connection:
    """A running worker whose model is loaded. Made by `open`; belongs to one event loop."""

    capabilities: Capabilities
    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter
    _listening: asyncio.Task[None] | None = None

    def __init__(self, endpoint: socket.socket, log: Path) -> None:
        self._log = EngineLog(log)
        self.process = _spawn(endpoint, log)
        self.alive = True
        self._numbers = itertools.count(1)
        self._mailboxes: dict[int, _Mailbox] = {}
        self._answers: dict[int, asyncio.Future[Any]] = {}  # to what is answered at once

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
                    failure.message, where=failure.where, fix=failure.fix or self._log.tail()
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
        return len(self._mailboxes) + len(self._answers)

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

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Embeddings of texts; cancelling frees the slot."""
        number = next(self._numbers)
        try:
            embeddings: Embeddings = await self._asked(number, Embed(id=number, request=request))
        except asyncio.CancelledError:
            if self.alive:
                self._writer.write(Cancel(id=number).line())
            raise
        return embeddings

    async def add(self, model: ServableModel) -> None:
        """Load one more model of this base; running answers go on.

        Raises `FormatError` or `ConflictError` for an adapter that does not fit, `EngineError` for a
        worker that went away.
        """
        number = next(self._numbers)
        self.capabilities = await self._asked(number, AddModel(id=number, model=model))

    async def remove_adapter(self, name: str) -> None:
        """Unload an adapter once the answers with it have ended; `EngineError` as `add`."""
        number = next(self._numbers)
        self.capabilities = await self._asked(number, RemoveAdapter(id=number, name=name))

    async def _asked(self, number: int, message: Embed | AddModel | RemoveAdapter) -> Any:
        """The worker's one answer to `message`, or the error that it is."""
        if not self.alive:
            raise await self._ended()
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            self._writer.write(message.line())
            with contextlib.suppress(OSError):  # it just ended: `answer` will say so
                await self._writer.drain()
            return await answer
        finally:
            del self._answers[number]

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
                elif isinstance(message, Failed) and message.id in self._mailboxes:
                    self._mailboxes.pop(message.id).fail(message.error())
                elif message.id in self._answers:
                    _settle(self._answers[message.id], message)
        self.alive = False
        error = await self._ended()
        for mailbox in self._mailboxes.values():
            mailbox.fail(error)
        self._mailboxes.clear()
        for answer in self._answers.values():
            _settle(answer, error)

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
            where=str(self._log.path),
            fix=self._log.tail(),
        )

    def _reap(self) -> None:
        try:
            self.process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _settle(answer: asyncio.Future[Any], message: Embedded | Ready | Failed | KajiyaError) -> None:
    """Give a question its answer, unless nobody waits for that any more."""
    if answer.done():
        return
    if isinstance(message, Failed | KajiyaError):
        answer.set_exception(message.error() if isinstance(message, Failed) else message)
    else:
        answer.set_result(
            message.embeddings if isinstance(message, Embedded) else message.capabilities
        )


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
