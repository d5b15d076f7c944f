"""Owns everybody who reads the change log live: replays from the store, then goes on from the ring, without a seam."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from holdfast.core import faults, logs
from holdfast.core.changes import log, sse
from holdfast.core.changes.cursors import EVERYTHING, Cursor, Filter, Spoiled
from holdfast.core.changes.ring import Ring
from holdfast.core.clock import SYSTEM
from holdfast.core.errors import HoldfastError, StoreClosed, Unavailable
from holdfast.core.lifecycle import spawn

if TYPE_CHECKING:
    from holdfast.core.changes.feed import Feed
    from holdfast.core.clock import Clock
    from holdfast.core.store.port import Reader, Store

#: Why a stream ended: its reader fell behind the ring, the daemon goes down, or the reader left.
Ended = Literal["overflow", "stopped", "left"]

REPLAYED = faults.point("hub.replayed", "A reader has all that the store held when it asked, and is not live yet.")
READ_FOR_RING = faults.point("hub.read_for_ring", "New changes were read for everybody and not handed out yet.")

#: A stream is looked after this often between two keep-alives, so that silence never outlasts the interval.
_TICKS = 4
#: A reader that takes this long to accept what it was sent counts as fallen behind: two keep-alives.
_STUCK_TICKS = 2 * _TICKS
_RETRY_SECONDS = 0.25

_log = logs.get("stream")


@dataclass(frozen=True, slots=True)
class HubOptions:
    """Bounds of the live stream."""

    #: A reader who falls behind by more than this is disconnected, and replays when it comes back.
    most_changes: int = 10_000
    most_bytes: int = 8 * 1024 * 1024
    most_readers: int = 2_000
    #: Changes read from the store in one go.
    page: int = 200
    keep_alive_seconds: float = 15.0
    #: How long a stream that was ended may take to say so, before its connection is broken off.
    last_seconds: float = 1.0


class Hub:
    """Reads each new change once and shares its bytes; with nobody connected it reads nothing."""

    name = "stream"

    def __init__(self, feed: Feed, clock: Clock = SYSTEM, options: HubOptions | None = None) -> None:
        self.feed = feed
        self.options = options or HubOptions()
        self.ring = Ring(feed.store.uuid, 0, most_changes=self.options.most_changes, most_bytes=self.options.most_bytes)
        self.ticks = 0
        #: How many readers fell behind so far and were disconnected.
        self.overflows = 0
        self._clock = clock
        self._readers: set[Subscription] = set()
        self._waiting: set[Subscription] = set()
        self._news = asyncio.Event()
        self._occupied = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._unhook: Callable[[], None] | None = None

    @property
    def store(self) -> Store:
        """Where the changes are read."""
        return self.feed.store

    @property
    def readers(self) -> int:
        """How many are connected."""
        return len(self._readers)

    async def start(self) -> None:
        """Take readers from now on."""
        if self._tasks:
            return
        self.ring.restart(self.feed.position)
        self._unhook = self.feed.on_advance(self._news.set)
        self._tasks = [
            spawn(self._read(), name="stream", forever=True),
            spawn(self._keep_alive(), name="stream keep-alive", forever=True),
        ]

    async def stop(self) -> None:
        """End every stream, then itself."""
        tasks, self._tasks = self._tasks, []
        if self._unhook is not None:
            self._unhook()
            self._unhook = None
        for reader in list(self._readers):
            reader.close("stopped")
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def subscribe(self, cursor: Cursor | None = None, wanted: Filter = EVERYTHING) -> Subscription:
        """A new reader: behind its cursor, or, without one, from now on."""
        if not self._tasks:
            raise Unavailable("the stream is not running: the daemon is on its way up or down; try again soon")
        reason = await self._spoiled(cursor) if cursor is not None else None
        if len(self._readers) >= self.options.most_readers:
            raise Unavailable(f"{len(self._readers)} streams are open, which is the most; close one or try again later")
        if not self._readers:
            self.ring.restart(self.feed.position)  # with nobody here, it was not kept up
        # One object stands for no filter, so that all who have none share their bytes.
        wanted = wanted if wanted != EVERYTHING else EVERYTHING
        here = self.feed.position
        reader = Subscription(self, here if cursor is None or reason is not None else cursor.seq, wanted)
        if reason is not None:
            reader.reset(reason)
        self._readers.add(reader)
        self._occupied.set()
        return reader

    async def stream(self, cursor: Cursor | None = None, wanted: Filter = EVERYTHING) -> AsyncIterator[bytes]:
        """The bytes of one stream, until it ends."""
        reader = await self.subscribe(cursor, wanted)
        try:
            while data := await reader.more():
                yield data
        finally:
            reader.close("left")

    async def _spoiled(self, cursor: Cursor) -> Spoiled | None:
        if cursor.store not in (None, self.store.uuid):
            return "foreign"
        if cursor.seq <= self.feed.position:
            return None  # whether it is too old, the first page will tell
        # With several daemons on one store, another one's mark may be ahead of ours.
        newest = (await self.store.read(log.bounds)).newest
        return "ahead" if cursor.seq > max(newest, self.feed.position) else None

    def leave(self, reader: Subscription) -> None:
        """Forget a reader."""
        self._readers.discard(reader)
        self._waiting.discard(reader)
        if not self._readers:
            self._occupied.clear()

    def wait(self, reader: Subscription) -> None:
        """Wake this reader when there is something for it."""
        self._waiting.add(reader)

    async def page(
        self, after: int, upto: int, limit: int, wanted: Filter = EVERYTHING
    ) -> tuple[int, list[log.Change]]:
        """The oldest change that the log still holds, and a page of it: both of one instant."""

        def read(reader: Reader) -> tuple[int, list[log.Change]]:
            return log.bounds(reader).oldest, log.page(reader, after=after, upto=upto, limit=limit, filter=wanted)

        return await self.store.read(read)

    async def _read(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()  # before reading: what comes meanwhile wakes us again
            try:
                while self._readers and self.ring.end < self.feed.position:
                    await self._read_page()
            except StoreClosed:
                await asyncio.Event().wait()  # the daemon is on its way down and will cancel us
            except HoldfastError as error:
                if not error.retryable:
                    raise
                _log.warning("the stream cannot read the change log", error=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
                self._news.set()

    async def _read_page(self) -> None:
        after, upto, limit = self.ring.end, self.feed.position, self.options.page
        oldest, changes = await self.page(after, upto, limit)
        await READ_FOR_RING.passed()
        if self.ring.end != after:
            return  # everybody left meanwhile, somebody came, and the ring began anew
        if after < oldest - 1:
            # Retention was here first. Who has not had what is gone is behind the ring now, and ends.
            self.ring.restart(oldest - 1)
        else:
            self.ring.append(changes, changes[-1].seq if len(changes) == limit else upto)
        self._tell_waiting()

    def _tell_waiting(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for reader in waiting:
            behind = reader.cursor < self.ring.start
            # Those for whom nothing came sleep on; one whose replay went beyond the ring stays where it is.
            if behind or reader.wanted is EVERYTHING or self.ring.has(reader.cursor, reader.wanted):
                reader.wake()
            else:
                reader.cursor = max(reader.cursor, self.ring.end)
                self._waiting.add(reader)

    async def _keep_alive(self) -> None:
        while True:
            await self._occupied.wait()
            await self._clock.sleep(self.options.keep_alive_seconds / _TICKS)
            self.ticks += 1
            for reader in [r for r in self._readers if r.stuck]:
                reader.close("overflow")
            for reader in [r for r in self._waiting if self.ticks - r.sent_at >= _TICKS - 1]:
                self._waiting.discard(reader)
                reader.wake(silent=True)


class Subscription:
    """One reader of the stream: where it stands, and the bytes that come next."""

    __slots__ = (
        "_first",
        "_hub",
        "_live",
        "_sending",
        "_silent",
        "_waiter",
        "cursor",
        "ended",
        "on_end",
        "sent_at",
        "wanted",
    )

    def __init__(self, hub: Hub, cursor: int, wanted: Filter) -> None:
        self._hub = hub
        self.cursor = cursor
        self.wanted = wanted
        self.ended: Ended | None = None
        self.sent_at = hub.ticks
        #: Called once when the stream ends, with the seconds it has to say so.
        self.on_end: Callable[[float], None] | None = None
        #: Between two calls of `more`: whoever carries the bytes has not got rid of them yet.
        self._sending = True
        self._live = False
        self._silent = False
        self._waiter: asyncio.Future[None] | None = None
        self._first = sse.comment(f"{hub.store.uuid}:{cursor}")

    def reset(self, reason: Spoiled) -> None:
        """Tell the reader to fetch afresh, and go on live from here."""
        self.cursor = self._hub.feed.position
        self._first += sse.reset(self._hub.store.uuid, self.cursor, reason)

    async def more(self) -> bytes:
        """The next bytes; nothing at the end of the stream."""
        data = b""
        self._sending = False
        while not data and self.ended is None:
            if self._first:
                data, self._first = self._first, b""
            elif not self._live:
                data = await self._replay()
            elif self.cursor < self._hub.ring.start:
                self.close("overflow")
            else:
                data, self.cursor = self._hub.ring.take(self.cursor, self.wanted)
                if not data:
                    data = await self._wait()
        self.sent_at = self._hub.ticks
        self._sending = True
        return data

    @property
    def stuck(self) -> bool:
        """Whether it does not take what it was sent, and the ring has passed it by or it has had time enough."""
        behind = self._live and self.cursor < self._hub.ring.start
        return self._sending and (behind or self._hub.ticks - self.sent_at >= _STUCK_TICKS)

    def wake(self, *, silent: bool = False) -> None:
        """Let it look again; `silent`: let it say that it is alive."""
        self._silent = silent
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def close(self, why: Ended) -> None:
        """End the stream; ending it twice is fine."""
        if self.ended is None:
            self.ended = why
            self._hub.overflows += why == "overflow"
            self._hub.leave(self)
            self.wake()
            if self.on_end is not None:
                self.on_end(self._hub.options.last_seconds)

    async def _wait(self) -> bytes:
        self._waiter = asyncio.get_running_loop().create_future()
        self._hub.wait(self)
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self._silent and self.ended is None:
            self._silent = False
            return sse.comment("keep-alive")
        return b""

    async def _replay(self) -> bytes:
        """The next page from the store, until the ring goes on from there."""
        hub = self._hub
        if self.cursor >= hub.ring.start:
            self._live = True
            return b""
        after, upto, limit = self.cursor, hub.feed.position, hub.options.page
        oldest, changes = await hub.page(after, upto, limit, self.wanted)
        if after < oldest - 1:
            self.reset("expired")
            return b""
        await REPLAYED.passed()
        self.cursor = changes[-1].seq if len(changes) == limit else upto
        store = hub.store.uuid.encode()
        # A page without a match says that we live: a rare event in a long log can take many.
        return b"".join([sse.change(store, change) for change in changes]) or sse.comment("searching")
