"""Instants as they are written everywhere: their one form, and sums of them. Pure: reading a clock is `clock.py`'s."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def stamp(moment: datetime) -> str:
    """The one written form of a moment: UTC, six digits, `Z`; sorts as text in the order of time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def parse_stamp(text: str) -> datetime:
    """The moment that `stamp` wrote."""
    return datetime.fromisoformat(text)  # a fifth of the time that a format takes


def seconds(count: float) -> timedelta:
    """A span of time."""
    return timedelta(seconds=count)


def later(since: str, wait: timedelta) -> str:
    """The stamp that lies this long after another."""
    return stamp(parse_stamp(since) + wait)
