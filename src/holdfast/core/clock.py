"""Owns time: the only module that reads the wall clock, the steady clock, the boot clock, or sleeps."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol

from holdfast.core.instants import stamp


class Clock(Protocol):
    """Time as the rest of the code sees it, so that a test can own it."""

    def now(self) -> datetime:
        """The wall clock, in UTC."""
        ...

    def stamp(self) -> str:
        """The wall clock in its written form."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait, letting others run."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def __init__(self) -> None:
        self._second = (-1, "")  # the last second that was written out, and its text

    def now(self) -> datetime:
        """The wall clock, in UTC."""
        return datetime.now(UTC)

    def stamp(self) -> str:
        """The wall clock in its written form; once per unit of work, so a second is written out once."""
        second, micros = divmod(time.time_ns() // 1000, 1_000_000)
        known = self._second
        if known[0] != second:
            known = self._second = (second, stamp(datetime.fromtimestamp(second, UTC))[:-7])
        return f"{known[1]}{micros:06d}Z"

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait, letting others run."""
        await asyncio.sleep(seconds)


SYSTEM: Clock = SystemClock()

#: Goes on while the machine is suspended, and is the same for every process of a boot. The hooks of agents, which load
#: nothing of ours, read the same one.
BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot_ns() -> int:
    """The boot clock, in nanoseconds: signals are in order by it, whoever gives them."""
    return time.clock_gettime_ns(BOOT)


def pause(length: float) -> None:
    """Wait in seconds, holding the thread; for commands and threads of their own, never on the event loop."""
    time.sleep(length)
