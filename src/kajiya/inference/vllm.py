"""vLLM, where it is installed: started and watched by us, asked over its own HTTP API.

Its server is at a Unix socket in a private folder, behind a random key: no port, and nobody else's. Prompts
go there as token ids, so templates and special tokens are seen to by our own tokenizer as everywhere.
vLLM itself needs no place in our environment: it is a command.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, get_args

import psutil

from kajiya.core.errors import EngineError, FormatError, KajiyaError
from kajiya.core.language import tr
from kajiya.inference.bundle import ServableModel
from kajiya.inference.client import RestartingEngine
from kajiya.inference.endpoint import Endpoint
from kajiya.inference.engine_log import EngineLog
from kajiya.inference.openai_api import body_of, chunks_of
from kajiya.inference.prompts import Prompts, no_embeddings
from kajiya.inference.protocol import (
    Capabilities,
    ConstraintError,
    ConstraintKind,
    Embeddings,
    EmbedRequest,
    EngineSettings,
    GenerateChunk,
    GenerateRequest,
    RequestError,
    room_after,
    unknown_adapter,
)
from kajiya.inference.sockets import short_folder
from kajiya.inference.vllm_command import BASE, find_vllm, options, spawn

_LOADING_SECONDS = 1800.0
_POLL_SECONDS = 0.25
_SILENCE_SECONDS = 600
_EXIT_SECONDS = 20
_DYING_SECONDS = 2
# The last line of a Python traceback, perhaps in vLLM's log format, or a complaint of argparse.
_ERROR = re.compile(
    r"^(?:\([^)]*\) )?(?:ERROR .*?\] )?((?:[\w.]*(?:Error|Exception)|[\w ]+: error): .+)",
    re.MULTILINE,
)
_LOG_BYTES = 1024**2
_LONGEST_REASON = 1000


class VllmEngine(RestartingEngine["VllmServer"]):
    """An `Engine` that vLLM is."""

    async def _life(self, models: tuple[ServableModel, ...]) -> VllmServer:
        return await VllmServer.open(models, self._settings, self._log)

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Not offered: see `Engine.embed`."""
        raise no_embeddings(request.model)


class VllmServer:
    """One life of a vLLM server. Made by `open`."""

    capabilities: Capabilities
    _prompts: Prompts

    def __init__(self, command: Sequence[str], slots: int, log: Path) -> None:
        self._log = EngineLog(log)
        self._folder = tempfile.TemporaryDirectory(prefix="kj-", dir=short_folder())
        place = str(Path(self._folder.name) / "vllm.sock")
        key = secrets.token_urlsafe(32)
        self._lifeline, theirs = socket.socketpair()
        with theirs:
            self.process = spawn([*command, "--uds", place], key, theirs, log)
        self._endpoint = Endpoint(
            "vLLM",
            "http://localhost/v1",
            key,
            connections=slots * 4,  # what waits, waits there
            seconds=_SILENCE_SECONDS,
            socket=place,
        )
        self._dead = False
        self.pending = 0

    @classmethod
    async def open(
        cls,
        models: Sequence[ServableModel],
        settings: EngineSettings,
        log: Path,
    ) -> VllmServer:
        """Start it and wait until base and adapters are loaded; `EngineError` tells why it could not."""
        adapters = {name: path for model in models for name, path in model.adapters.items()}
        prompts = await asyncio.to_thread(Prompts, models)
        length = min(settings.context_length, *(model.context_length for model in models))
        command = [find_vllm(), *options(models[0].weights, adapters, settings, length)]
        self = cls(command, settings.slots, log)
        self._prompts = prompts
        self.capabilities = Capabilities(
            context_length=length,
            slots=settings.slots,
            mixes=False,
            takes_adapters=True,
            constraints=get_args(ConstraintKind),
        )
        try:
            await self._healthy()
            for name, folder in adapters.items():
                await self._load(name, folder)
        except BaseException:
            await self.close()
            raise
        return self

    @property
    def alive(self) -> bool:
        """Whether its process is there, and well as far as we know."""
        return self.process.poll() is None and not self._dead

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[GenerateChunk]:
        """See `Engine.generate`."""
        self.pending += 1
        try:
            tokens = await asyncio.to_thread(self._prompts.encode, request)
            body = self._body(request, tokens)
            async with aclosing(self._answer(body, len(tokens), request)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            self.pending -= 1

    async def add(self, model: ServableModel) -> None:
        """See `Life.add`; raises `FormatError` with vLLM's words for a LoRA that it does not load."""
        for name, folder in model.adapters.items():
            if name not in self.capabilities.adapters:
                try:
                    await self._load(name, folder)
                except EngineError as error:
                    raise FormatError(error.message, where=name, fix=error.fix) from None
        await asyncio.to_thread(self._prompts.add, model)

    async def _load(self, name: str, folder: Path) -> None:
        body = {"lora_name": name, "lora_path": str(folder)}
        try:
            await self._endpoint.post("load_lora_adapter", body)
        except KajiyaError as error:
            raise EngineError(
                tr(
                    f"vLLM could not load the adapter: {error.message}",
                    f"vLLM がアダプターを読み込めませんでした: {error.message}",
                ),
                where=name,
                fix=str(self._log.path),
            ) from None
        self._offer(*self.capabilities.adapters, name)

    async def remove_adapter(self, name: str) -> None:
        """See `Life.remove_adapter`."""
        if name in self.capabilities.adapters:
            self._offer(*(other for other in self.capabilities.adapters if other != name))
            await self._endpoint.post("unload_lora_adapter", {"lora_name": name})

    def memory(self) -> int:
        """See `Life.memory`; what is on a GPU does not count."""
        try:
            process = psutil.Process(self.process.pid)
            family = [process, *process.children(recursive=True)]
            return sum(int(member.memory_info().rss) for member in family)
        except psutil.Error:
            return 0

    async def close(self) -> None:
        """End all of its processes and wait for them."""
        await self._endpoint.close()
        self._lifeline.close()
        if not await asyncio.to_thread(self._exits, _EXIT_SECONDS):
            os.killpg(self.process.pid, signal.SIGKILL)
            await asyncio.to_thread(self.process.wait)
        self._folder.cleanup()

    async def _answer(
        self, body: dict[str, Any], prompt_tokens: int, request: GenerateRequest
    ) -> AsyncGenerator[GenerateChunk]:
        events = self._endpoint.events("completions", body)
        try:
            async with aclosing(chunks_of(events, prompt_tokens)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except RequestError as error:
            if request.constraint is None:
                raise
            # vLLM does not say what it refuses; all but the form was ours.
            raise ConstraintError(error.message, fix=error.fix) from None
        except EngineError:
            if await self._endpoint.healthy():
                raise
            # Its server can go on for a while after the engine inside is dead.
            self._dead = True
            await asyncio.to_thread(self._exits, _DYING_SECONDS)
            raise self._ended() from None

    def _offer(self, *adapters: str) -> None:
        self.capabilities = self.capabilities.model_copy(update={"adapters": adapters})

    def _body(self, request: GenerateRequest, tokens: Sequence[int]) -> dict[str, Any]:
        tokenizer = self._prompts.tokenizer(request.model)
        room = room_after(tokens, self.capabilities.context_length)
        chat = request.messages is not None and request.constraint is None
        ends = [tokenizer.stop_text] if chat and tokenizer.stop_text else []
        return body_of(request, self._name(request.adapters)) | {
            "prompt": list(tokens),
            "max_tokens": min(request.max_tokens or room, room),
            "stop": [*request.stop, *ends],
            "stop_token_ids": sorted(tokenizer.stop_ids),
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        }

    def _name(self, wanted: Sequence[tuple[str, float]]) -> str:
        """What vLLM calls the base, or the base with one adapter."""
        if not wanted:
            return BASE
        (name, scale), *more = wanted
        if name not in self.capabilities.adapters:
            raise unknown_adapter(name)
        if more or scale != 1:
            raise RequestError(
                tr(
                    "vLLM applies one adapter, and in full",
                    "vLLM で使えるアダプターは 1 つで、強さは 1 だけです",
                )
            )
        return name

    async def _healthy(self) -> None:
        deadline = time.monotonic() + _LOADING_SECONDS
        while not await self._endpoint.healthy():
            if not self.alive:
                raise self._ended()
            if time.monotonic() > deadline:
                raise EngineError(
                    tr("vLLM does not finish loading", "vLLM の読み込みが終わりません"),
                    where=str(self._log.path),
                    fix=self._reason(),
                )
            await asyncio.sleep(_POLL_SECONDS)

    def _exits(self, seconds: float) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.poll() is not None

    def _reason(self) -> str:
        """The first error in what it wrote, which the others follow from; else the end of it."""
        found = _ERROR.search(self._log.tail(_LOG_BYTES))
        return found[1][:_LONGEST_REASON] if found else self._log.tail()

    def _ended(self) -> EngineError:
        code = self.process.returncode
        how = "" if code is None else f" ({code})"
        return EngineError(
            tr(f"vLLM has ended{how}", f"vLLM が終了しました{how}"),
            where=str(self._log.path),
            fix=self._reason(),
        )
