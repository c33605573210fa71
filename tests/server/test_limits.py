"""How much a key may ask for in a minute and at a time."""

from __future__ import annotations

import copy
import math
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kajiya.server.access.caller import Caller, KeySettings
from kajiya.server.access.limits import Limits, Minute
from kajiya.server.errors import ApiError


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def caller(**limits: int) -> Caller:
    return Caller("key-1", KeySettings.checked(limits))


def refused(limits: Limits, who: Caller) -> ApiError:
    with pytest.raises(ApiError) as caught, limits.request(who):
        pass
    assert caught.value.status == 429
    assert caught.value.code == "rate_limit_exceeded"
    return caught.value


@given(
    st.lists(st.floats(0, 30), min_size=1, max_size=200),
    st.integers(1, 5),
)
def test_no_minute_sees_more_than_the_limit(steps: list[float], limit: int) -> None:
    minute, now, let_in = Minute(), 0.0, []
    for step in steps:
        now += step
        wait = minute.wait(limit, now)
        if wait == 0:
            minute.add(1, now)
            let_in.append(now)
        else:
            assert 0 < wait <= 61
            later = copy.deepcopy(minute)
            assert later.wait(limit, now + math.ceil(wait)) == 0  # what it says is enough
    for begin in let_in:
        assert sum(begin <= time < begin + 60 for time in let_in) <= limit


def test_requests_a_minute() -> None:
    clock = Clock()
    limits, who = Limits(clock), caller(rpm_limit=2)
    for _ in range(2):
        with limits.request(who):
            pass
    wait = int(refused(limits, who).headers["Retry-After"])
    assert 60 <= wait <= 61
    with limits.request(Caller("key-2", who.settings)):  # another's are another's
        pass
    clock.time += wait
    with limits.request(who):
        pass


def test_tokens_a_minute() -> None:
    clock = Clock()
    limits, who = Limits(clock), caller(tpm_limit=100)
    with limits.request(who):
        limits.use(who, 99)
    with limits.request(who):
        limits.use(who, 50)
    wait = int(refused(limits, who).headers["Retry-After"])
    clock.time += wait
    with limits.request(who):
        pass


def test_requests_at_a_time_are_freed_however_they_end() -> None:
    limits, who = Limits(), caller(max_parallel_requests=2)
    for _ in range(3):
        with ExitStack() as stack:
            for _ in range(2):
                stack.enter_context(limits.request(who))
            assert refused(limits, who).headers["Retry-After"] == "1"
        with pytest.raises(ZeroDivisionError), limits.request(who):
            raise ZeroDivisionError


def test_refused_requests_do_not_count() -> None:
    clock = Clock()
    limits, who = Limits(clock), caller(rpm_limit=1)
    with limits.request(who):
        pass
    for _ in range(100):
        refused(limits, who)
        clock.time += 0.1
    clock.time += 52
    with limits.request(who):
        pass


def test_headers_tell_what_is_left() -> None:
    limits, who = Limits(Clock()), caller(rpm_limit=3, tpm_limit=10)
    assert limits.headers(Caller()) == {}
    with limits.request(who):
        limits.use(who, 4)
    assert limits.headers(who) == {
        "x-ratelimit-limit-requests": "3",
        "x-ratelimit-remaining-requests": "2",
        "x-ratelimit-reset-requests": "61s",
        "x-ratelimit-limit-tokens": "10",
        "x-ratelimit-remaining-tokens": "6",
        "x-ratelimit-reset-tokens": "61s",
    }
