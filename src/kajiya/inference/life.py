"""What an engine that is started again asks of one life of its process: our worker's, or vLLM's."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncGenerator
from typing import Protocol, TypeVar

from kajiya.inference.bundle import ServableModel
from kajiya.inference.protocol import Capabilities, GenerateChunk, GenerateRequest


class Life(Protocol):
    """One life of an engine's process, from loaded to ended."""

    @property
    def capabilities(self) -> Capabilities:
        """What is loaded."""

    @property
    def alive(self) -> bool:
        """Whether its process is there."""

    @property
    def pending(self) -> int:
        """Requests that it has not finished."""

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process."""

    def generate(self, request: GenerateRequest) -> AsyncGenerator[GenerateChunk]:
        """See `Engine.generate`."""

    async def add(self, model: ServableModel) -> None:
        """Load one more model of this base, where `capabilities` say that it takes adapters."""

    async def remove_adapter(self, name: str) -> None:
        """Unload an adapter, once the answers with it have ended."""

    def memory(self) -> int:
        """Bytes that its processes have in memory, 0 when they are gone."""

    async def close(self) -> None:
        """End the process and wait for it."""


AnyLife = TypeVar("AnyLife", bound=Life)
