"""Sizes, days and moments as people read them; in the machine's time zone."""

from __future__ import annotations

from datetime import datetime


def size_text(size: float) -> str:
    """Bytes as 512 B, 3.4 KB, 120 MB or 1.2 GB (powers of 1024)."""
    units = ["TB", "GB", "MB", "KB", "B"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop()
    exact = units[-1] == "B" or size >= 100
    return f"{size:.0f} {units[-1]}" if exact else f"{size:.1f} {units[-1]}"


def day_text(when: str | float) -> str:
    """2026-11-22, of a moment in ISO 8601 or in seconds since 1970."""
    return f"{_local(when):%Y-%m-%d}"


def moment_text(when: str | float) -> str:
    """2026-11-22 18:30, of a moment in ISO 8601 or in seconds since 1970."""
    return f"{_local(when):%Y-%m-%d %H:%M}"


def _local(when: str | float) -> datetime:
    made = (
        datetime.fromisoformat(when)
        if isinstance(when, str)
        else datetime.fromtimestamp(when).astimezone()
    )
    return made.astimezone()
