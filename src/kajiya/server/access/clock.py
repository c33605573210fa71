"""What the machine's clock says. Only dates come from it: durations are measured by a clock that
nobody can move.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


def now() -> datetime:
    """This moment, in the machine's time zone."""
    return datetime.fromtimestamp(time.time()).astimezone()


def moment(when: datetime) -> str:
    """As it is stored: ISO 8601 in UTC with milliseconds, so it sorts as text."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds")


def period(name: str, when: datetime) -> tuple[str, str]:
    """The first day of the `day`, `month` or `total` that `when` is in, and the first after it."""
    if name == "day":
        first = when.date()
        return first.isoformat(), (first + timedelta(days=1)).isoformat()
    if name == "month":
        first = when.date().replace(day=1)
        return first.isoformat(), (first + timedelta(days=32)).replace(day=1).isoformat()
    return "0000-00-00", "9999-99-99"


def seconds_until(day: str, when: datetime) -> int:
    """From `when` to the beginning of `day`, rounded up."""
    begin = datetime.fromisoformat(day).astimezone()
    return max(1, int((begin - when).total_seconds()) + 1)
