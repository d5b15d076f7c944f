"""The PostgreSQL engine: serialisable units of work on a few writer connections, consistent reads on others."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from holdfast.core.errors import StoreClosed
from holdfast.core.store.options import StoreOptions
from holdfast.core.store.port import Act, Dialect, Position, Reader, Unit
from holdfast.core.store.postgres_runner import Done, ReadRunner, Shared, UnitRunner
from holdfast.core.store.postgres_session import SQL, Session
from holdfast.core.store.postgres_wire import Wire
from holdfast.core.store.postgres_workers import Job, Workers
from holdfast.core.store.uninterrupted import uninterrupted

if TYPE_CHECKING:
    from holdfast.core.clock import Clock

T = TypeVar("T")


class PostgresStore:
    """A store in a PostgreSQL database that is prepared already; implements `port.Store`."""

    def __init__(
        self, url: str, *, uuid: str, effects_held: bool, clock: Clock, options: StoreOptions | None = None
    ) -> None:
        self.url = url
        self._uuid = uuid
        self._effects_held = effects_held
        self._clock = clock
        self._options = options or StoreOptions()
        self._position = Position(0, 0)
        self._listeners: list[Callable[[], None]] = []
        self._finished: deque[tuple[Job, Done]] = deque()
        self._waking = threading.Lock()
        self._closing = threading.Event()
        self._pools: _Pools | None = None
        #: Who listens to which topic, here and in the other processes of this store.
        self.wire = Wire(url)

    @property
    def dialect(self) -> Dialect:
        """Which engine this is."""
        return "postgres"

    @property
    def uuid(self) -> str:
        """The store's own name."""
        return self._uuid

    @property
    def effects_held(self) -> bool:
        """Whether this store was restored and its effects wait to be released."""
        return self._effects_held

    def effects_released(self) -> None:
        """The removal of `effects_held_at` from the store's own data is committed: its effects are held no longer."""
        self._effects_held = False

    def position(self) -> Position:
        """How far the change log has come, as of this process's newest commit; costs no statement.

        Both numbers are the newest one handed out: the log's sequence keeps it even when retention has removed the row.
        """
        return self._position

    async def start(self) -> None:
        """Start the threads and make sure that the database answers."""
        self._loop = asyncio.get_running_loop()
        self._pools = _Pools(self._sessions, self._clock, self._options, self._closing, self._answer)
        try:
            row = await self.read(lambda reader: reader.one(SQL.position))
        except BaseException:
            await self.close()
            raise
        self._move_to(int(row["writes"]) if row else 0)

    def _sessions(self, count: int, *, read_only: bool) -> list[Session]:
        return [Session(self.url, self._uuid, self._options, read_only=read_only) for _ in range(count)]

    async def unit(self, act: Act, work: Callable[[Unit], T], *, guarded: bool = False) -> T:
        """Run `work` as one unit; returns after its commit is durable, or raises and nothing of it is there."""
        pools = self._open()
        future: asyncio.Future[T] = self._loop.create_future()
        pools.writers.submit(Job(work, future, act, guarded))
        return await future

    async def read(self, work: Callable[[Reader], T]) -> T:
        """Run `work` on one consistent, read-only view, bounded in time."""
        pools = self._open()
        future: asyncio.Future[T] = self._loop.create_future()
        pools.readers.submit(Job(work, future))
        return await future

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` on the event loop after commits that wrote; one call may stand for many commits."""
        self._listeners.append(listener)

    def on_topic(self, topic: str, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` on the event loop after commits that announced the topic; what is returned ends that."""
        return self.wire.listen(topic, listener)

    async def close(self) -> None:
        """Finish what was queued, then close; closing twice is fine."""
        try:
            await self._finish()
        finally:
            await self.wire.close()

    async def _finish(self) -> None:
        if self._pools is None:
            self._closing.set()
            return
        if not self._closing.is_set():
            self._closing.set()
            self._pools.finish()
        await uninterrupted(self._pools.join)
        self._deliver()

    def _open(self) -> _Pools:
        if self._pools is None or self._closing.is_set():
            raise StoreClosed("the store is closed: the daemon is on its way down; try again when it is up")
        return self._pools

    def _answer(self, job: Job, done: Done) -> None:
        """Hand a result to the event loop, waking it once for all that gather until it comes round."""
        self._finished.append((job, done))
        if self._waking.acquire(blocking=False):
            with contextlib.suppress(RuntimeError):  # the loop is gone, and everybody who waited with it
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        if self._waking.locked():
            self._waking.release()  # before looking: what is added from now on wakes the loop again
        wrote, announced = False, set[str]()
        while self._finished:
            job, done = self._finished.popleft()
            if done.writes is not None:
                wrote = True
                self._move_to(done.writes)
            if done.topics:
                announced |= done.topics
            if job.future.done():
                continue
            if done.error is not None:
                job.future.set_exception(done.error)
            else:
                job.future.set_result(done.result)
        if announced:
            self.wire.announce(announced)
        if wrote:
            self.wire.wrote()
            for listener in self._listeners:
                listener()

    def _move_to(self, writes: int) -> None:
        if writes > self._position.writes:
            self._position = Position(writes, writes)


class _Pools:
    """The threads of an open store."""

    def __init__(
        self,
        sessions: Callable[..., list[Session]],
        clock: Clock,
        options: StoreOptions,
        closing: threading.Event,
        answer: Callable[[Job, Done], None],
    ) -> None:
        shared = Shared(clock, options.unit_seconds, closing.wait)
        self.writers = Workers(
            "holdfast-pg-writer",
            [UnitRunner(session, shared) for session in sessions(options.writers, read_only=False)],
            queue=options.queue,
            answer=answer,
        )
        self.readers = Workers(
            "holdfast-pg-reader",
            [ReadRunner(s, clock, options.read_seconds) for s in sessions(options.readers, read_only=True)],
            queue=options.queue,
            answer=answer,
        )

    def finish(self) -> None:
        """Take no more after what is queued."""
        self.writers.finish()
        self.readers.finish()

    def join(self) -> None:
        """Wait until every thread is done."""
        self.writers.join()
        self.readers.join()
