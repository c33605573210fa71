"""Training sequences read from shards: shuffled, resumable anywhere, shared among workers.

Each epoch cuts the long row of tokens anew into windows of equal length and takes them in a new
order; both are functions of seed and epoch, so a reader's whole state is an epoch and a place in it.
Every window is given once an epoch by exactly one worker. The few tokens before an epoch's first
window and after its last are left out; the shift changes with the epoch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kajiya.core.errors import ConfigError, DataError
from kajiya.core.language import tr
from kajiya.corpus.permutation import Permutation
from kajiya.corpus.shard_set import ShardSet, Span


@dataclass(frozen=True)
class Sample:
    """A training sequence: `context` + 1 token ids, and the documents that they are of, in order.

    The model reads all but the last token and is asked for all but the first.
    """

    epoch: int
    window: int
    tokens: NDArray[np.int64]
    spans: tuple[Span, ...]


class StreamingReader:
    """An endless iterator over the windows of `shards` for worker `worker` of `workers`.

    Workers take turns. Those that have given the same number of samples have the same `state()`, so
    a run goes on with another number of workers too.
    """

    def __init__(
        self, shards: ShardSet, context: int, *, seed: int = 0, worker: int = 0, workers: int = 1
    ) -> None:
        if not 0 <= worker < workers:
            raise ConfigError(
                tr(
                    f"there is no worker {worker} among {workers}",
                    f"{workers} 個の中に {worker} 番はありません",
                ),
                where="worker",
            )
        if shards.tokens <= context:
            raise DataError(
                tr(
                    f"the corpus has {shards.tokens} tokens, too few for a sequence of {context}",
                    f"コーパスが {shards.tokens} トークンしかなく、長さ {context} に足りません",
                )
            )
        self.shards, self.context, self.seed = shards, context, seed
        self.worker, self.workers = worker, workers
        self._epoch, self._turn = 0, 0  # where the next round of all workers begins
        self._orders: dict[int, Permutation] = {}

    def windows(self, epoch: int) -> int:
        """How many windows an epoch has."""
        return (self.shards.tokens - 1 - self._shift(epoch)) // self.context

    def __iter__(self) -> Iterator[Sample]:
        while True:
            epoch, place = self._settle(self._epoch, self._turn + self.worker)
            self._epoch, self._turn = self._settle(self._epoch, self._turn + self.workers)
            yield self._sample(epoch, self._order(epoch)[place])

    def _settle(self, epoch: int, turn: int) -> tuple[int, int]:
        """A turn that may lie beyond its epoch's end, as one of the epoch that it is in."""
        while turn >= self.windows(epoch):
            turn -= self.windows(epoch)
            epoch += 1
        return epoch, turn

    def _order(self, epoch: int) -> Permutation:
        if epoch not in self._orders:
            self._orders = {epoch: Permutation(self.windows(epoch), self.seed, epoch)}
        return self._orders[epoch]

    def _sample(self, epoch: int, window: int) -> Sample:
        start = self._shift(epoch) + window * self.context
        tokens, spans = self.shards.read(start, start + self.context + 1)
        return Sample(epoch, window, tokens, spans)

    def _shift(self, epoch: int) -> int:
        """Tokens left out before an epoch's first window; small enough that one window remains."""
        most = min(self.context, self.shards.tokens - self.context)
        digest = hashlib.sha256(f"shift {self.seed}/{epoch}".encode()).digest()
        return int.from_bytes(digest[:8], "little") % most

    # Going on later

    def state(self) -> dict[str, Any]:
        """Where the reader is, as small JSON."""
        return {"epoch": self._epoch, "turn": self._turn, "of": self._fingerprint()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where a reader of the same shards was; raises `ConfigError` for any other state."""
        epoch, turn = state.get("epoch"), state.get("turn")
        fits = isinstance(epoch, int) and isinstance(turn, int) and epoch >= 0 and turn >= 0
        if not fits or state.get("of") != self._fingerprint():
            raise ConfigError(
                tr(
                    "the state is of another corpus, length or seed",
                    "別のコーパス・長さ・乱数の種での読み取り位置です",
                ),
                where="state",
                fix=tr("begin at the start", "最初から始めてください"),
            )
        self._epoch, self._turn = int(state["epoch"]), int(state["turn"])

    def _fingerprint(self) -> dict[str, int]:
        return {
            "tokens": self.shards.tokens,
            "sequences": len(self.shards),
            "context": self.context,
            "seed": self.seed,
        }
