"""Owns the removal of old changes: by age and by count, from the old end only, a bounded chunk at a time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from holdfast.core import faults, logs
from holdfast.core.changes.log import SQL
from holdfast.core.clock import SYSTEM
from holdfast.core.errors import HoldfastError, StoreClosed
from holdfast.core.instants import stamp
from holdfast.core.lifecycle import spawn
from holdfast.core.store.port import Act

if TYPE_CHECKING:
    from holdfast.core.changes.feed import Feed
    from holdfast.core.clock import Clock
    from holdfast.core.store.port import Reader, Store, Unit

#: A durable cursor of ours that has not moved for so long holds nothing back any more.
CURSOR_LIVES = timedelta(days=7)
_ACT = Act("daemon", "retention")

CHUNK_REMOVED = faults.point("retention.chunk_removed", "A chunk of old changes is gone, the next one is not.")

_log = logs.get("retention")


@dataclass(frozen=True, slots=True)
class Keep:
    """How much of the change log is kept: what is older, or beyond the count, may go."""

    age: timedelta = timedelta(days=30)
    count: int = 1_000_000
    #: Rows removed in one unit of work, so that no other unit waits long.
    chunk: int = 2_000
    every_seconds: float = 3_600.0


class Retention:
    """Thins out the change log, and never what a live cursor of ours still needs, nor the newest row."""

    name = "retention"

    def __init__(self, store: Store, feed: Feed, clock: Clock = SYSTEM, keep: Keep | None = None) -> None:
        self._store = store
        self._feed = feed
        self._clock = clock
        self._keep = keep or Keep()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Thin out from now on, every hour unless told otherwise."""
        if self._task is None:
            self._task = spawn(self._run(), name="retention", forever=True)

    async def stop(self) -> None:
        """End; a chunk that is under way is finished by the store."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def thin_out(self) -> int:
        """Remove all that may go now; how many rows went."""
        upto = await self._store.read(self._goal)
        total = 0
        while upto > 0:
            gone, end = await self._store.unit(_ACT, lambda unit: self._chunk(unit, upto))
            if not gone:
                break
            total += gone
            self._feed.removed(end)
            CHUNK_REMOVED()
        if total:
            _log.info("old changes removed", rows=total, oldest=self._feed.oldest)
        return total

    def _goal(self, reader: Reader) -> int:
        """The last position that age or count lets go; 0 for none."""
        newest = self._feed.position
        since = stamp(self._clock.now() - self._keep.age)
        first_kept = reader.one(SQL.first_kept, since=since)
        by_age = newest if first_kept is None else int(first_kept["seq"]) - 1
        excess = reader.one(SQL.nth_newest, n=self._keep.count)
        by_count = 0 if excess is None else int(excess["seq"])
        # The newest row stays, and nothing that the feed has not settled is touched.
        return min(max(by_age, by_count), newest - 1)

    def _chunk(self, unit: Unit, upto: int) -> tuple[int, int]:
        """Remove the oldest rows; how many, and up to where. The cursors are read in the same unit of work."""
        live = unit.one(SQL.live_cursors, since=stamp(self._clock.now() - CURSOR_LIVES))
        if live is not None and live["seq"] is not None:
            upto = min(upto, int(live["seq"]))
        row = unit.one(SQL.chunk_end, upto=upto, limit=self._keep.chunk)
        if row is None or row["seq"] is None:
            return 0, 0
        end = int(row["seq"])
        gone = unit.run(SQL.remove_upto, seq=end)
        unit.run(SQL.note_removed, seq=str(end))
        return gone, end

    async def _run(self) -> None:
        while True:
            try:
                await self.thin_out()
            except StoreClosed:
                await asyncio.Event().wait()  # the daemon is on its way down and will cancel us
            except HoldfastError as error:
                if not error.retryable:
                    raise
                _log.warning("old changes could not be removed", error=str(error))
            await self._clock.sleep(self._keep.every_seconds)
