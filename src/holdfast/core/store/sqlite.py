"""The SQLite engine of the store: one writer with group commit, readers beside it, checkpoints off both."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from holdfast.core import faults
from holdfast.core.clock import SYSTEM, Clock
from holdfast.core.errors import StoreBusy, StoreClosed
from holdfast.core.store.options import StoreOptions
from holdfast.core.store.port import CHANGES, Topics
from holdfast.core.store.sqlite_checkpoints import Checkpoints
from holdfast.core.store.sqlite_readers import Readers
from holdfast.core.store.sqlite_session import Session, connect
from holdfast.core.store.sqlite_writer import Writer
from holdfast.core.store.turnstile import Turnstile
from holdfast.core.store.uninterrupted import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from holdfast.core.store.port import Act, Dialect, Position, Reader, Unit
    from holdfast.core.store.sqlite_writer import Job, Outcome

T = TypeVar("T")

ANSWERED = faults.point("sqlite.answered", "the callers of a group have been told what it gave")


class _Threads:
    """The connections of an open store and the threads that own them."""

    def __init__(
        self, path: Path, options: StoreOptions, clock: Clock, answer: Callable[[list[Outcome]], None]
    ) -> None:
        writing, reading = Turnstile(), Turnstile()
        self._opened: list[Session] = []
        try:
            session = self._connect(path, options, clock)
            self.writer = Writer(session, options=options, clock=clock, turnstile=writing, answer=answer)
            self.checkpoints = Checkpoints(
                self._connect(path, options, clock), options=options, writer=writing, readers=reading
            )
            session.connection.set_wal_hook(self.checkpoints.committed)
            views = [self._connect(path, options, clock, reads_only=True) for _ in range(options.readers)]
        except BaseException:
            self._close_connections()
            raise
        self.readers = Readers(views, options=options, clock=clock, turnstile=reading)
        self._running = [
            threading.Thread(target=self.writer.run, name="holdfast-write", daemon=True),
            threading.Thread(target=self.checkpoints.run, name="holdfast-checkpoint", daemon=True),
        ]
        for thread in self._running:
            thread.start()

    def _connect(self, path: Path, options: StoreOptions, clock: Clock, *, reads_only: bool = False) -> Session:
        self._opened.append(connect(path, options, clock, reads_only=reads_only))
        return self._opened[-1]

    def finish(self) -> None:
        """Take no more after what is queued."""
        self.writer.finish()
        self.checkpoints.finish()

    def join(self) -> None:
        """Wait for what is queued; the writer's connection closes last and folds the log into the file."""
        for thread in self._running:
            thread.join()
        self.readers.close()
        self._close_connections()

    def end(self) -> None:
        """Finish and wait for it."""
        self.finish()
        self.join()

    def _close_connections(self) -> None:
        for session in reversed(self._opened):
            session.connection.close()


class SqliteStore:
    """An open store in one SQLite file; see `port.Store` for what it promises."""

    dialect: Dialect = "sqlite"

    def __init__(
        self,
        path: Path,
        *,
        uuid: str,
        effects_held: bool,
        clock: Clock = SYSTEM,
        options: StoreOptions | None = None,
    ) -> None:
        self.uuid = uuid
        self.effects_held = effects_held
        self._options = options or StoreOptions()
        self._begin = partial(_Threads, path, self._options, clock, self._answer)
        self._threads: _Threads | None = None
        self._open = False
        self._closing = asyncio.Lock()
        self._outbox: list[Job] = []
        self._pending = 0
        self._told: Position | None = None
        self._topics = Topics()

    async def start(self) -> None:
        """Open the file's connections and start their threads; the file must be prepared."""
        self._loop = asyncio.get_running_loop()
        self._threads = await uninterrupted(self._begin, _Threads.end)
        self._told = self._threads.writer.position
        self._open = True

    def position(self) -> Position:
        """How far the store has come, as of the last commit; asks the database nothing."""
        return self._running().writer.position

    @property
    def trouble(self) -> str | None:
        """What is wrong with the store although it still works, for the health check."""
        return self._running().checkpoints.trouble

    def effects_released(self) -> None:
        """The removal of `effects_held_at` from the store's own data is committed: its effects are held no longer."""
        self.effects_held = False

    async def unit(
        self,
        act: Act,
        work: Callable[[Unit], T],
        *,
        guarded: bool = False,  # noqa: ARG002 - with one writer no unit crosses another
    ) -> T:
        """Run `work` as one unit; returns after its commit is durable, or raises and nothing of it is there."""
        if not self._open:
            raise _closed()
        if self._pending >= self._options.queue:
            message = f"{self._pending} units of work wait for the store already; try again in a moment"
            raise StoreBusy(message)
        self._pending += 1
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self._outbox:
            # What this turn of the event loop asks for reaches the writer together: one commit instead of two.
            self._loop.call_soon(self._send)
        self._outbox.append((act, work, future))
        result: T = await future
        return result

    def _send(self) -> None:
        jobs, self._outbox = self._outbox, []
        if jobs:
            self._running().writer.put(jobs)

    def _answer(self, outcomes: list[Outcome]) -> None:
        """Take what a group gave to the event loop; called by the writer's thread, once a group."""
        with suppress(RuntimeError):  # the loop is gone, and with it everybody who waited
            self._loop.call_soon_threadsafe(self._tell, outcomes)

    def _tell(self, outcomes: list[Outcome]) -> None:
        self._pending -= len(outcomes)
        for future, value, error in outcomes:
            if future.done():  # its caller was cancelled
                continue
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)
        writer = self._running().writer
        came_to = writer.position
        if came_to != self._told:
            self._told = came_to
            self._topics.tell((CHANGES,))
        while writer.announced:
            self._topics.tell((writer.announced.popleft(),))
        ANSWERED()

    async def read(self, work: Callable[[Reader], T]) -> T:
        """Run `work` on one consistent, read-only view, bounded in time."""
        if not self._open:
            raise _closed()
        return await self._running().readers.read(work)

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` on the event loop after commits that wrote; one call may stand for many commits."""
        self._topics.add(CHANGES, listener)

    def on_topic(self, topic: str, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` on the event loop after commits that announced the topic; what is returned ends that."""
        return self._topics.add(topic, listener)

    async def close(self) -> None:
        """Finish what was queued, then close; closing twice is fine."""
        self._open = False
        async with self._closing:
            if self._threads is None:
                return
            self._send()
            self._threads.finish()
            await uninterrupted(self._threads.join)

    def _running(self) -> _Threads:
        if self._threads is None:
            raise _closed()
        return self._threads


def _closed() -> StoreClosed:
    return StoreClosed("the store is closed: the daemon is not up yet, or on its way down")
