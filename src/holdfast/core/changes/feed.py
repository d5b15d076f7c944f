"""Owns the mark up to which the change log is settled: every position at or below it is known for good.

On SQLite the one writer commits in the order of the log, so the mark is the newest commit and following it costs no
statement. On PostgreSQL numbers are handed out before commits: see `feed_postgres`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from holdfast.core import logs
from holdfast.core.changes import log
from holdfast.core.clock import SYSTEM
from holdfast.core.errors import StoreClosed

if TYPE_CHECKING:
    from holdfast.core.clock import Clock
    from holdfast.core.store.port import Position, Store

_log = logs.get("feed")


class PositionedStore(Protocol):
    """What SQLite's feed asks of the store beyond the port: its position, from memory."""

    def position(self) -> Position:
        """How far the store has come."""
        ...


class Follower(Protocol):
    """Moves the mark on an engine where a commit alone does not."""

    async def start(self, start_at: int | None) -> int:
        """Begin; the mark to begin with."""
        ...

    def wake(self) -> None:
        """Look again: something of this process was committed."""
        ...

    async def stop(self) -> None:
        """End."""
        ...


class Feed:
    """The settled end of the change log, and who waits for it to move."""

    name = "feed"

    def __init__(self, store: Store, clock: Clock = SYSTEM, start_at: int | None = None) -> None:
        self.store = store
        self.clock = clock
        self._start_at = start_at
        self._position = 0
        self._oldest = 1
        self._listeners: list[Callable[[], None]] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._running = False
        self._hooked = False
        self._follower: Follower | None = None

    @property
    def position(self) -> int:
        """The mark: what stands at or below it never changes any more, and nothing is missing below it."""
        return self._position

    @property
    def oldest(self) -> int:
        """The oldest position that retention has left, as far as this process knows."""
        return self._oldest

    @property
    def running(self) -> bool:
        """Whether the mark moves."""
        return self._running

    async def start(self) -> None:
        """Find the mark and follow it from now on."""
        if self._running:
            return
        self._running = True
        bounds = await self.store.read(log.bounds)
        self._oldest = bounds.oldest
        if self.store.dialect == "sqlite":
            self._position = bounds.newest if self._start_at is None else self._start_at
        else:
            from holdfast.core.changes.feed_postgres import PostgresFollower  # noqa: PLC0415 - psycopg is an extra

            self._follower = PostgresFollower(self.store, self.clock, self.advance_to)
            self._position = await self._follower.start(self._start_at)
        if not self._hooked:
            self._hooked = True
            self.store.on_commit(self._committed)
        self._committed()  # what was committed while we started
        _log.debug("feed started", position=self._position, oldest=self._oldest)

    async def stop(self) -> None:
        """Stop following; whoever still waits is told that the store closes."""
        if not self._running:
            return
        self._running = False
        if self._follower is not None:
            await self._follower.stop()
            self._follower = None
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_exception(StoreClosed("the feed has stopped: the daemon is on its way down"))

    def on_advance(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` on the event loop when the mark has moved; what is returned ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def advanced(self, beyond: int) -> int:
        """Wait until the mark is beyond this position; where it is then."""
        while self._position <= beyond:
            if not self._running:
                raise StoreClosed("the feed is not running: the daemon is on its way up or down")
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future
        return self._position

    def advance_to(self, position: int) -> None:
        """Move the mark and tell everybody; it never goes back."""
        if position <= self._position:
            return
        self._position = position
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
        for listener in self._listeners:
            listener()

    def removed(self, upto: int) -> None:
        """Retention removed everything up to this position."""
        self._oldest = max(self._oldest, upto + 1)

    def _committed(self) -> None:
        if not self._running:
            return
        if self._follower is not None:
            self._follower.wake()
        else:
            self.advance_to(_position_of(self.store))


def _position_of(store: Store | PositionedStore) -> int:
    return store.position().seq  # type: ignore[union-attr]  # an engine has it; the port need not
