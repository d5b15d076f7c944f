"""A clock that a test moves by hand."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from holdfast.core.instants import stamp


class ManualClock:
    """Stands still until `advance` moves it; sleepers wake when their time has come."""

    def __init__(self, start: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) -> None:
        self._now = start
        self._steady = 1_000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """The moment at which the clock stands."""
        return self._now

    def stamp(self) -> str:
        """The same in its written form."""
        return stamp(self._now)

    def monotonic(self) -> float:
        """Seconds that only `advance` adds to."""
        return self._steady

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been moved this far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._steady + seconds, future))
        await future

    def advance(self, seconds: float) -> None:
        """Move on, and wake whoever has slept enough; call it on the event loop."""
        self._now += timedelta(seconds=seconds)
        self._steady += seconds
        due = [s for s in self._sleepers if s[0] <= self._steady]
        self._sleepers = [s for s in self._sleepers if s[0] > self._steady]
        for _, future in due:
            if not future.done():
                future.set_result(None)

    @property
    def sleeping(self) -> int:
        """How many wait."""
        return sum(not future.done() for _, future in self._sleepers)
