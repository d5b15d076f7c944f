"""Reads beside the SQLite writer: a few connections that cannot write, each read one bounded transaction."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

import apsw

from holdfast.core.errors import StoreBusy, UnitTooLong
from holdfast.core.store.sqlite_errors import translated
from holdfast.core.store.sqlite_session import FOREVER, SAYS, Session, SqliteReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.core.clock import Clock
    from holdfast.core.store.options import StoreOptions
    from holdfast.core.store.turnstile import Turnstile

T = TypeVar("T")

_BEGIN, _ROLLBACK = SAYS.begin_read.sqlite, SAYS.rollback.sqlite


class Readers:
    """A thread for each connection; who finds them all at work waits in line."""

    def __init__(self, sessions: list[Session], *, options: StoreOptions, clock: Clock, turnstile: Turnstile) -> None:
        self._sessions = sessions
        self._idle: SimpleQueue[Session] = SimpleQueue()
        for session in sessions:
            self._idle.put(session)
        self._threads = ThreadPoolExecutor(len(sessions), thread_name_prefix="holdfast-read")
        self._options = options
        self._clock = clock
        self._turnstile = turnstile
        self._waiting = 0

    async def read(self, work: Callable[[SqliteReader], T]) -> T:
        """Run `work` on a view that stands still."""
        if self._waiting >= self._options.queue:
            message = f"{self._waiting} reads wait for the store already; try again in a moment"
            raise StoreBusy(message)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, work)
        finally:
            self._waiting -= 1

    def _read(self, work: Callable[[SqliteReader], T]) -> T:
        with self._turnstile:
            session = self._idle.get()
            try:
                return self._on(session, work)
            finally:
                self._idle.put(session)

    def _on(self, session: Session, work: Callable[[SqliteReader], T]) -> T:
        """One read on one connection."""
        try:
            session.execute(_BEGIN)
        except apsw.Error as error:
            raise translated(error, "beginning a read") from error
        session.deadline = self._clock.monotonic() + self._options.read_seconds
        reader = SqliteReader(session)
        try:
            value = work(reader)
            if self._clock.monotonic() > session.deadline:
                message = f"a read ran for more than {self._options.read_seconds:g} s; ask for less at once"
                raise UnitTooLong(message)
        except StopIteration as error:  # a future cannot carry it
            message = "a read raised StopIteration"
            raise RuntimeError(message) from error
        else:
            return value
        finally:
            session.deadline = FOREVER
            reader.end()
            if session.connection.in_transaction:
                session.execute(_ROLLBACK)

    def close(self) -> None:
        """Wait for the reads in progress, then close the connections."""
        self._threads.shutdown(wait=True)
        for session in self._sessions:
            session.connection.close()
