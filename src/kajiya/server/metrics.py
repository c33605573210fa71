"""Figures for Prometheus: what was asked, how fast it was answered, how the engines are.

Names models, never prompts, keys or callers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kajiya.core.errors import KajiyaError
from kajiya.inference.client import RestartingEngine
from kajiya.inference.protocol import Engine
from kajiya.server.streaming import Chunks

if TYPE_CHECKING:
    from kajiya.server.gateway import ServedModel

_FIRST = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)  # s
_NEXT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)  # s


class Metrics:
    """The figures of one gateway; `models` and `engines` are looked at whenever it is asked."""

    def __init__(self, models: Mapping[str, ServedModel], engines: Mapping[int, Engine]) -> None:
        own = self._registry = CollectorRegistry()
        own.register(_Engines(models, engines))
        self._requests = Counter(
            "kajiya_requests",
            "Requests that reached a model, by how they ended: ok, left, or the kind of error.",
            ("model", "status"),
            registry=own,
        )
        self._read = Counter(
            "kajiya_prompt_tokens", "Tokens of prompts, once an answer.", ("model",), registry=own
        )
        self._written = Counter(
            "kajiya_completion_tokens",
            "Tokens of answers that came to their end.",
            ("model",),
            registry=own,
        )
        self._first = Histogram(
            "kajiya_time_to_first_token_seconds",
            "From the request to the first text of an answer, waiting and loading included.",
            ("model",),
            buckets=_FIRST,
            registry=own,
        )
        self._next = Histogram(
            "kajiya_time_per_output_token_seconds",
            "Time for each token after the first, the mean of an answer.",
            ("model",),
            buckets=_NEXT,
            registry=own,
        )

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._registry)

    def failed(self, model: str, error: KajiyaError) -> None:
        """Count a request that came to nothing before it reached an engine."""
        self._requests.labels(model, error.code).inc()

    async def watched(self, model: str, chunks: Chunks) -> Chunks:
        """The same chunks, counted as answers of `model`. Closing this closes `chunks`."""
        status, started = "left", time.perf_counter()
        begun: dict[int, float] = {}
        read: set[int] = set()
        try:
            async with aclosing(chunks):
                async for index, chunk in chunks:
                    if chunk.usage and index not in read:
                        read.add(index)
                        self._read.labels(model).inc(chunk.usage.prompt_tokens)
                    if chunk.text and index not in begun:
                        begun[index] = time.perf_counter()
                        self._first.labels(model).observe(begun[index] - started)
                    if chunk.finish_reason and chunk.usage:
                        self._end(model, chunk.usage.completion_tokens, begun.get(index))
                    yield index, chunk
            status = "ok"
        except KajiyaError as error:
            status = error.code
            raise
        except Exception:
            status = "internal"
            raise
        finally:
            self._requests.labels(model, status).inc()

    def _end(self, model: str, tokens: int, begun: float | None) -> None:
        self._written.labels(model).inc(tokens)
        if begun is not None and tokens > 1:
            self._next.labels(model).observe((time.perf_counter() - begun) / (tokens - 1))


class _Engines(Collector):
    """How the engines are at the moment of asking; they are numbered as their logs are."""

    def __init__(self, models: Mapping[str, ServedModel], engines: Mapping[int, Engine]) -> None:
        self._models, self._engines = models, engines

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client`."""
        served = GaugeMetricFamily(
            "kajiya_model_engine", "The engine of each model.", labels=("model", "engine")
        )
        up = GaugeMetricFamily("kajiya_engine_up", "1 if it is loaded.", labels=("engine",))
        states = GaugeMetricFamily(
            "kajiya_engine_state", "1 for the state it is in.", labels=("engine", "state")
        )
        work = GaugeMetricFamily(
            "kajiya_engine_requests", "Requests in work and waiting.", labels=("engine", "state")
        )
        memory = GaugeMetricFamily(
            "kajiya_engine_memory_bytes", "Memory of its processes.", labels=("engine",)
        )
        restarts = CounterMetricFamily(
            "kajiya_engine_restarts", "Starts after it broke down.", labels=("engine",)
        )
        for name, model in self._models.items():
            number = next(i for i, own in self._engines.items() if own is model.engine)
            served.add_metric((name, str(number)), 1)
        for number, own in self._engines.items():
            engine = str(number)
            up.add_metric((engine,), own.available)
            states.add_metric((engine, own.state), 1)
            running = min(own.pending, own.capabilities.slots) if own.available else 0
            work.add_metric((engine, "running"), running)
            work.add_metric((engine, "waiting"), own.pending - running)
            if isinstance(own, RestartingEngine):
                memory.add_metric((engine,), own.memory)
                restarts.add_metric((engine,), own.restarts)
        yield from (served, up, states, work, memory, restarts)
