"""How much there is to learn: rows, characters and tokens of a checked file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kajiya.tokenizer.messages import Message


@dataclass(frozen=True)
class Distribution:
    """A number per row, over the rows kept. `p95`: 95 % of rows have at most this."""

    minimum: int
    median: int
    p95: int
    maximum: int
    total: int

    @classmethod
    def of(cls, values: Sequence[int]) -> Distribution:
        """Nearest-rank percentiles; zeros for no values."""
        ordered = sorted(values) or [0]
        last = len(ordered) - 1
        middle, high = ordered[last // 2], ordered[-(-last * 95 // 100)]
        return cls(ordered[0], middle, high, ordered[-1], sum(ordered))


@dataclass(frozen=True)
class Statistics:
    """Of a file: rows read and kept. Of the rows kept: characters, and tokens if a tokenizer was given:
    `prompt_tokens` that the model reads, `label_tokens` that it learns to write."""

    rows: int
    kept: int
    characters: Distribution
    prompt_tokens: Distribution | None
    label_tokens: Distribution | None
    tokens: Distribution | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Counter:
    """Collects the numbers row by row."""

    def __init__(self, with_tokens: bool) -> None:
        self.rows = 0
        self.kept = 0
        self._with_tokens = with_tokens
        self._characters: list[int] = []
        self._tokens: list[int] = []
        self._labels: list[int] = []

    def add(self, messages: Sequence[Message], tokens: int = 0, labels: int = 0) -> None:
        """Count a row that is kept."""
        self._characters.append(sum(len(message.content) for message in messages))
        self._tokens.append(tokens)
        self._labels.append(labels)

    def result(self) -> Statistics:
        """The statistics of everything added."""
        prompts = [all_ - labels for all_, labels in zip(self._tokens, self._labels, strict=True)]

        def tokens(values: list[int]) -> Distribution | None:
            return Distribution.of(values) if self._with_tokens else None

        return Statistics(
            rows=self.rows,
            kept=self.kept,
            characters=Distribution.of(self._characters),
            prompt_tokens=tokens(prompts),
            label_tokens=tokens(self._labels),
            tokens=tokens(self._tokens),
        )
