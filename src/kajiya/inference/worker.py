"""The process that holds a model: `python -m kajiya.inference.worker --fd N`.

Speaks the messages of `wire` over the socket it inherited as descriptor N. A process of its own,
so that a crash in native code ends answers and not the gateway. It exits when the other end of the
socket is gone, however its parent died.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from kajiya.core.errors import EngineError, KajiyaError
from kajiya.core.language import tr
from kajiya.inference.bundle import ServableModel
from kajiya.inference.prompts import Prompts
from kajiya.inference.protocol import (
    Embeddings,
    EmbedRequest,
    EngineSettings,
    GenerateChunk,
    GenerateRequest,
    LocalEngine,
    RequestError,
    TakesAdapters,
    Usage,
    room_after,
)
from kajiya.inference.wire import (
    LINE_LIMIT,
    TO_WORKER,
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
    ToWorker,
)
from kajiya.tokenizer.chat import ChatTokenizer


class Loaded:
    """The engine and what turns prompts for its models into tokens."""

    def __init__(self, models: Sequence[ServableModel], settings: EngineSettings) -> None:
        self.prompts = Prompts(models)
        self.engine = _engine(models, settings, self.prompts.tokenizer(models[0].name))

    def add(self, model: ServableModel) -> None:
        """Load one more model of this base, or nothing of it."""
        assert isinstance(self.engine, TakesAdapters)
        known = self.engine.capabilities.adapters
        new = {name: path for name, path in model.adapters.items() if name not in known}
        try:
            for name, path in new.items():
                self.engine.add_adapter(name, path)
        except BaseException:
            for name in new.keys() & set(self.engine.capabilities.adapters):
                self.engine.remove_adapter(name)
            raise
        self.prompts.add(model)

    def remove_adapter(self, name: str) -> None:
        """Unload an adapter, when the last answer with it has ended."""
        assert isinstance(self.engine, TakesAdapters)
        if name in self.engine.capabilities.adapters:
            self.engine.remove_adapter(name)


def _engine(
    models: Sequence[ServableModel], settings: EngineSettings, tokenizer: ChatTokenizer
) -> LocalEngine:
    """The engine for models that share one base, with all their adapters."""
    adapters = {name: path for model in models for name, path in model.adapters.items()}
    base = models[0].weights
    if models[0].engine == "rwkv":
        from kajiya.inference.rwkv.engine import RwkvEngine

        return RwkvEngine(base, adapters, settings)
    from kajiya.inference.llamacpp import LlamaCpp

    context_length = min(model.context_length for model in models)
    return LlamaCpp(base, adapters, settings, context_length, tokenizer)


class Worker:
    """Answers the messages that arrive on one socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._loop = asyncio.get_running_loop()
        self._cancelled: dict[int, threading.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Load what is asked for, then answer until the other end closes."""
        first = await self._receive()
        if not isinstance(first, Load):
            return
        loading = asyncio.ensure_future(asyncio.to_thread(Loaded, first.models, first.settings))
        next_message = asyncio.ensure_future(self._receive())
        # Nothing arrives before Ready is sent, unless the other end goes away while we load.
        await asyncio.wait({loading, next_message}, return_when=asyncio.FIRST_COMPLETED)
        if next_message.done():
            return
        try:
            self._loaded = await loading
        except KajiyaError as error:
            self._send(Failed.of(error))
            await self._writer.drain()
            return
        self._slots = ThreadPoolExecutor(first.settings.slots, thread_name_prefix="slot")
        self._send(Ready(capabilities=self._loaded.engine.capabilities))
        while message := await next_message:
            self._handle(message)
            next_message = asyncio.ensure_future(self._receive())

    async def _receive(self) -> ToWorker | None:
        line = await self._reader.readline()
        return TO_WORKER.validate_json(line) if line else None

    def _send(self, message: FromWorker) -> None:
        self._writer.write(message.line())

    def _send_from_thread(self, message: FromWorker) -> None:
        self._loop.call_soon_threadsafe(self._send, message)

    def _handle(self, message: ToWorker) -> None:
        if isinstance(message, Generate | Embed):
            self._cancelled[message.id] = threading.Event()
            self._begin(self._answer(message))
        elif isinstance(message, Cancel) and message.id in self._cancelled:
            self._cancelled[message.id].set()
        elif isinstance(message, AddModel):
            self._begin(self._change(message.id, partial(self._loaded.add, message.model)))
        elif isinstance(message, RemoveAdapter):
            self._begin(
                self._change(message.id, partial(self._loaded.remove_adapter, message.name))
            )

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _change(self, id: int, change: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(change)
            self._send(Ready(id=id, capabilities=self._loaded.engine.capabilities))
        except KajiyaError as error:
            self._send(Failed.of(error, id))
        except Exception:
            traceback.print_exc()
            self._send(Failed.of(_internal_error(), id))

    async def _answer(self, message: Generate | Embed) -> None:
        id = message.id
        try:
            if isinstance(message, Embed):
                await self._embed(id, message.request)
            else:
                await self._write(id, message.request)
        except KajiyaError as error:
            self._send(Failed.of(error, id))
        except Exception:
            traceback.print_exc()
            self._send(Failed.of(_internal_error(), id))
        finally:
            del self._cancelled[id]
        if not self._loaded.engine.alive:
            await self._writer.drain()
            os._exit(1)  # the next request starts another process

    async def _write(self, id: int, request: GenerateRequest) -> None:
        offered = self._loaded.engine.capabilities
        if (request.start or request.save) and not offered.states:
            raise RequestError(tr("this model keeps no states", "このモデルは状態を保存できません"))
        tokens = await asyncio.to_thread(self._loaded.prompts.encode, request)
        room_after(tokens, offered.context_length)  # refused before it waits for a slot
        accepted = GenerateChunk(usage=Usage(prompt_tokens=len(tokens)))
        self._send(Chunk(id=id, chunk=accepted))
        await self._loop.run_in_executor(self._slots, self._generate, id, tokens, request)

    async def _embed(self, id: int, request: EmbedRequest) -> None:
        """One text after the other, so that others get their turn and leaving ends it."""
        limit = self._loaded.engine.capabilities.embedding_tokens
        texts = await asyncio.to_thread(self._loaded.prompts.encode_texts, request, limit)
        vectors: list[tuple[float, ...]] = []
        for text in texts:
            if self._cancelled[id].is_set():
                return
            making = self._loop.run_in_executor(self._slots, self._loaded.engine.embed, text)
            vectors.append(await making)
        made = Embeddings(vectors=tuple(vectors), prompt_tokens=sum(map(len, texts)))
        self._send(Embedded(id=id, embeddings=made))

    def _generate(self, id: int, tokens: list[int], request: GenerateRequest) -> None:
        cancelled = self._cancelled[id]

        def on_chunk(chunk: GenerateChunk) -> bool:
            if chunk.text or chunk.tokens or chunk.finish_reason:
                self._send_from_thread(Chunk(id=id, chunk=chunk))
            return cancelled.is_set()

        if not cancelled.is_set():
            self._loaded.engine.complete(tokens, request, on_chunk)


def _internal_error() -> EngineError:
    return EngineError(tr("an internal error", "内部エラー"))


async def _serve(descriptor: int) -> None:
    endpoint = socket.socket(fileno=descriptor)
    reader, writer = await asyncio.open_connection(sock=endpoint, limit=LINE_LIMIT)
    worker = Worker(reader, writer)
    try:
        await worker.run()
    except OSError:
        pass  # the other end went away in the middle of a line
    finally:
        # Not a return, and with `worker` still held: taking llama.cpp's server apart waits for its threads,
        # which may be busy for seconds or never end, and nothing is left to save.
        sys.stderr.flush()
        os._exit(0)


def main() -> None:
    """The process's whole life."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    asyncio.run(_serve(parser.parse_args().fd))


if __name__ == "__main__":
    main()
