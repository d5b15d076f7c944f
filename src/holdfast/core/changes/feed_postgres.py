"""Follows the change log of PostgreSQL, where a number is handed out before its transaction commits, or never does.

The mark moves over contiguous numbers. At a gap the follower notes the id of its own transaction, once: whoever took
the missing number took it before a row behind the gap was committed, so its transaction has a lower id. Once every
transaction below the noted one has ended, a fresh look either sees the row or never will. Three cheaper cursors lose or
reorder changes: the highest number seen, (transaction id, number), and a horizon at the snapshot's xmax.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from holdfast.core import faults, logs
from holdfast.core.changes.log import SQL, bounds
from holdfast.core.errors import HoldfastError, StoreClosed
from holdfast.core.lifecycle import spawn
from holdfast.core.store.port import CHANGES
from holdfast.core.store.postgres_wire import Wire

if TYPE_CHECKING:
    from holdfast.core.clock import Clock
    from holdfast.core.store.port import Reader, Store

#: The net below LISTEN: how long a commit of another process may go unseen when its announcement is lost.
POLL_SECONDS = 1.0
#: How soon a gap is looked at again: at once most are only the roll-back of a unit that crossed another.
_GAP_SECONDS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25)
#: Numbers looked at in one go.
_BATCH = 5_000
#: How long a start waits for the transactions of an earlier daemon to end, before it begins at the first gap instead.
_SETTLE_SECONDS = 2.0

STANDS_AT_GAP = faults.point("feed.stands_at_gap", "The feed has found a missing number and must wait for its fate.")

_log = logs.get("feed")


@dataclass(frozen=True, slots=True)
class Note:
    """What was noted at a gap: numbers below `seen` were taken by transactions below `xid`."""

    xid: int
    seen: int


@dataclass(frozen=True, slots=True)
class Sight:
    """The result of one look: the new mark, what is noted if it stands at a gap, whether more can be seen at once."""

    mark: int
    note: Note | None
    more: bool


def look(reader: Reader, mark: int, note: Note | None) -> Sight:
    """How far the mark can move in this view."""
    numbers = [row["seq"] for row in reader.all(SQL.numbers, after=mark, limit=_BATCH)]
    settled = 0
    for number in numbers:
        if number != mark + 1:
            if note is None or number > note.seen:
                # One note serves every gap in sight.
                return Sight(mark, Note(_xid(reader, gap=True), numbers[-1]), more=False)
            settled = settled or _xid(reader, gap=False)
            if settled < note.xid:
                return Sight(mark, note, more=False)
        mark = number
    return Sight(mark, None, more=len(numbers) == _BATCH)


def _xid(reader: Reader, *, gap: bool) -> int:
    row = reader.one(SQL.transaction if gap else SQL.horizon)
    return int(row["xid"]) if row is not None else 0


class WiredStore(Protocol):
    """What the feed asks of PostgreSQL's store beyond the port: what its processes tell each other."""

    @property
    def wire(self) -> Wire:
        """Where every commit that wrote is told, of this process and of others."""
        ...


class PostgresFollower:
    """Moves the mark of one feed: woken by commits of this process, by announcements of others, and by the clock."""

    def __init__(self, store: Store, clock: Clock, advance_to: Callable[[int], None]) -> None:
        self._store = store
        self._clock = clock
        self._advance_to = advance_to
        self._mark = 0
        self._note: Note | None = None
        self._woken = asyncio.Event()
        self._wire = cast("WiredStore", store).wire
        self._unlisten: Callable[[], None] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, start_at: int | None) -> int:
        """Begin where nothing below is unsettled; listen."""
        self._mark = await self._settled_end() if start_at is None else start_at
        self._tasks = [spawn(self._run(), name="feed", forever=True)]
        self._unlisten = self._wire.listen(CHANGES, self._woken.set)
        return self._mark

    def wake(self) -> None:
        """Something of this process was committed: look."""
        self._woken.set()

    async def stop(self) -> None:
        """End the task; the store's wire goes on without us."""
        if self._unlisten is not None:
            self._unlisten()
            self._unlisten = None
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        self._tasks = []

    async def _settled_end(self) -> int:
        """The newest row, once all that could fill a gap below it has ended; else the row before the first gap."""

        def end(reader: Reader) -> Note:
            newest = bounds(reader).newest  # the view is taken here, the id after it
            return Note(_xid(reader, gap=True), newest)

        def settled(reader: Reader) -> bool:
            return _xid(reader, gap=False) >= note.xid

        def first_gap(reader: Reader) -> int:
            oldest = bounds(reader).oldest - 1
            row = reader.one(SQL.before_first_gap, after=oldest)
            first = reader.all(SQL.numbers, after=oldest, limit=1)
            if row is None or not first or first[0]["seq"] != oldest + 1:
                return oldest
            return int(row["seq"])

        note = await self._store.read(end)
        with suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_SECONDS):
                while not await self._store.read(settled):  # noqa: ASYNC110 - nobody tells us when others end
                    await asyncio.sleep(_GAP_SECONDS[4])
                return note.seen
        mark = await self._store.read(first_gap)
        _log.warning("feed begins before a transaction that is still open", position=mark, newest=note.seen)
        return mark

    async def look(self) -> bool:
        """Look once and move the mark; whether a look at once would see more, or a gap's fate may soon be known."""
        mark, note = self._mark, self._note
        sight = await self._store.read(lambda reader: look(reader, mark, note))
        self._mark, self._note = sight.mark, sight.note
        self._advance_to(sight.mark)
        if sight.note is not None:
            await STANDS_AT_GAP.passed()
        return sight.more

    async def _run(self) -> None:
        looks_at_gap = 0
        while True:
            self._woken.clear()  # before the look: what is committed during it wakes us again
            try:
                if await self.look():
                    continue
            except StoreClosed:
                await asyncio.Event().wait()  # the daemon is on its way down and will cancel us
            except HoldfastError as error:
                if not error.retryable:
                    raise
                _log.warning("feed cannot read the change log", error=str(error))
            looks_at_gap = looks_at_gap + 1 if self._note is not None else 0
            pause = POLL_SECONDS
            if looks_at_gap:
                pause = _GAP_SECONDS[min(looks_at_gap, len(_GAP_SECONDS)) - 1]
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._woken.wait()
