"""Requests and tokens a minute, and requests at a time, for each key: counted in this process.

By a clock that only goes forward, so moving the machine's neither frees nor locks out anybody.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from kajiya.core.language import tr
from kajiya.server.access.caller import Caller
from kajiya.server.errors import ApiError

_MINUTE = 60


class Minute:
    """How much came in the last minute, in steps of a second.

    A second counts until a minute after its end, so no 60 seconds ever see more than the limit.
    """

    def __init__(self) -> None:
        self._seconds: deque[list[int]] = deque()  # [second, amount], the oldest first

    def add(self, amount: int, now: float) -> None:
        second = int(now)
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append([second, 0])
        self._seconds[-1][1] += amount

    def used(self, now: float) -> int:
        while self._seconds and self._seconds[0][0] + 1 + _MINUTE <= now:
            self._seconds.popleft()
        return sum(amount for _, amount in self._seconds)

    def wait(self, below: int, now: float) -> float:
        """Seconds until fewer than `below` count if nothing is added; 0 if that is so now."""
        left, seconds = self.used(now), 0.0
        for second, amount in self._seconds:
            if left < below:
                break
            left -= amount
            seconds = second + 1 + _MINUTE - now
        return seconds


@dataclass
class _Counts:
    requests: Minute = field(default_factory=Minute)
    tokens: Minute = field(default_factory=Minute)
    running: int = 0


class Limits:
    """What each key has asked for of late. For the event loop's thread only."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._counts: dict[str, _Counts] = {}

    @contextmanager
    def request(self, caller: Caller) -> Iterator[None]:
        """Let a request in for as long as the block runs; a 429 in the API's shape if it may not."""
        settings, now = caller.settings, self._now()
        counts = self._counts.setdefault(caller.key_id, _Counts())
        parallel, rpm, tpm = (
            settings.max_parallel_requests,
            settings.rpm_limit,
            settings.tpm_limit,
        )
        if parallel is not None and counts.running >= parallel:
            raise _refused(
                tr(
                    f"This key may have {parallel} requests at a time",
                    f"このキーの同時リクエスト数は {parallel} までです",
                ),
                1,
            )
        if rpm is not None and (wait := counts.requests.wait(rpm, now)):
            raise _refused(
                tr(
                    f"This key may make {rpm} requests a minute",
                    f"このキーのリクエストは 1 分に {rpm} 回までです",
                ),
                wait,
            )
        # What an answer will cost is not known before it is there, so the last one may go beyond.
        if tpm is not None and (wait := counts.tokens.wait(tpm, now)):
            raise _refused(
                tr(
                    f"This key may use {tpm} tokens a minute",
                    f"このキーのトークンは 1 分に {tpm} までです",
                ),
                wait,
            )
        counts.requests.add(1, now)
        counts.running += 1
        try:
            yield
        finally:
            counts.running -= 1

    def use(self, caller: Caller, tokens: int) -> None:
        """Count tokens as they are read and written."""
        if caller.settings.tpm_limit is not None:
            self._counts[caller.key_id].tokens.add(tokens, self._now())

    def headers(self, caller: Caller) -> dict[str, str]:
        """The headers in which OpenAI's API tells how much is left."""
        counts, now = self._counts.get(caller.key_id, _Counts()), self._now()
        told = {}
        for name, limit, minute in (
            ("requests", caller.settings.rpm_limit, counts.requests),
            ("tokens", caller.settings.tpm_limit, counts.tokens),
        ):
            if limit is not None:
                told[f"x-ratelimit-limit-{name}"] = str(limit)
                told[f"x-ratelimit-remaining-{name}"] = str(max(0, limit - minute.used(now)))
                told[f"x-ratelimit-reset-{name}"] = f"{math.ceil(minute.wait(1, now))}s"
        return told


def _refused(message: str, wait: float) -> ApiError:
    return ApiError(
        429,
        message,
        type="rate_limit_error",
        code="rate_limit_exceeded",
        headers={"Retry-After": str(math.ceil(wait))},
    )
