"""Notices that somebody has moved the wall clock, and sets right what a clock that was put back had put off."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from holdfast.core import logs
from holdfast.core.propagation import rescue
from holdfast.core.store.port import Act

if TYPE_CHECKING:
    from holdfast.core.clock import Clock
    from holdfast.core.store.port import Store

#: The wall clock was moved when it has gone this many seconds apart from the steady one.
_STEP_SECONDS = 1.0
_ACT = Act("daemon", "propagation clock")

_log = logs.get("propagation")


class ClockWatch:
    """Compares the wall clock with the steady one."""

    def __init__(self, store: Store, clock: Clock, moved: Callable[[], None]) -> None:
        self._store = store
        self._clock = clock
        #: Called when other rows may be due than were.
        self._moved = moved
        self._apart = self._distance()

    async def check(self) -> None:
        """When the wall clock was moved, look again at what is due; when it was put back, set right what it put off."""
        step = self._distance() - self._apart
        if abs(step) < _STEP_SECONDS:
            return
        _log.warning("the wall clock was moved", seconds=round(step, 3))
        if step < 0:
            await self.set_right()
        self._apart += step
        self._moved()

    async def set_right(self) -> None:
        """Rows that were put off by a clock that was ahead wait as long as was meant, from now on."""
        after = 0
        while rows := await self._store.read(partial(rescue.stretch, after=after)):
            after = rows[-1]["id"]
            ahead = rescue.ahead_of_time(rows, self._clock.stamp())
            for start in range(0, len(ahead), rescue.CHUNK):
                some = ahead[start : start + rescue.CHUNK]
                await self._store.unit(_ACT, partial(rescue.set_right, rows=some), guarded=True)

    def _distance(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic()
