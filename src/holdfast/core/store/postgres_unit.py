"""What a unit of work and a reader see on PostgreSQL: few round trips, a bound on time, one typed error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import TransactionStatus

from holdfast.core import faults
from holdfast.core.errors import StoreClosed, StoreError, UnitTooLong
from holdfast.core.store.port import Act, Dialect, Row, Value
from holdfast.core.store.postgres_errors import CommitInDoubt, Conflicted, ConnectionBroke, translated
from holdfast.core.store.postgres_session import SQL
from holdfast.core.store.sql import Query

if TYPE_CHECKING:
    from holdfast.core.clock import Clock

BEFORE_COMMIT = faults.point("postgres.commit.before", "a unit has run, its commit has not been sent")
AFTER_COMMIT = faults.point("postgres.commit.after", "a unit is committed, nobody has been told")


class Deadline:
    """The moment at which a unit of work or a read has had its time."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._ends = clock.monotonic() + seconds

    @property
    def passed(self) -> bool:
        """Whether the time is up."""
        return self._clock.monotonic() > self._ends

    def check(self) -> None:
        """Raise when the time is up."""
        if self.passed:
            raise UnitTooLong(f"it ran past its {self._seconds:g} seconds and was stopped; nothing was written")


class PostgresReader:
    """One consistent view; the transaction begins with the first statement, in the same round trip."""

    def __init__(self, connection: psycopg.Connection[Row], deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline
        #: The first error of a statement: what PostgreSQL has refused once, it refuses until the transaction ends.
        self.failed: StoreError | None = None

    @property
    def dialect(self) -> Dialect:
        """Which engine this is."""
        return "postgres"

    def all(self, query: Query, /, **params: Value) -> list[Row]:
        """Every row."""
        cursor = self._execute(query, params)
        return cursor.fetchall() if cursor.description else []

    def one(self, query: Query, /, **params: Value) -> Row | None:
        """The first row, if there is one."""
        cursor = self._execute(query, params)
        return cursor.fetchone() if cursor.description else None

    def end(self) -> None:
        """Nobody may use it any more."""
        self.failed = self.failed or StoreClosed(
            "a unit of work or a read was used after its end; use it only inside the function it is given to"
        )

    def _execute(self, query: Query, params: Mapping[str, Value]) -> psycopg.Cursor[Row]:
        if not query.postgres_reads:
            raise StoreError(f"{query.name}: this statement writes, and a read must not; run it in a unit of work")
        return self._statement(query, params)

    def _statement(self, query: Query, params: Mapping[str, Value]) -> psycopg.Cursor[Row]:
        self.check()
        try:
            if self._begun:
                return self._connection.execute(query.postgres, params)
            with self._connection.pipeline():
                return self._connection.execute(query.postgres, params)
        except (psycopg.Error, UnicodeError) as error:
            raise self._failure(error) from error

    @property
    def _begun(self) -> bool:
        return self._connection.info.transaction_status != TransactionStatus.IDLE

    def check(self) -> None:
        """Raise what went wrong so far, even if `work` caught it, or that the time is up."""
        if self.failed is not None:
            raise self.failed
        self._deadline.check()

    def _failure(self, error: Exception) -> StoreError:
        self.failed = translated(error, self._connection)
        return self.failed


class PostgresUnit(PostgresReader):
    """A unit of work in progress."""

    #: Who is told when it has committed.
    topics: frozenset[str] = frozenset()

    def __init__(self, connection: psycopg.Connection[Row], deadline: Deadline, act: Act, at: str) -> None:
        super().__init__(connection, deadline)
        self.act = act
        self.at = at
        #: The transaction's own number, once the unit has written: tells after a loss whether it was committed.
        self.xid: str | None = None

    def run(self, query: Query, /, **params: Value) -> int:
        """Execute a write; how many rows it touched."""
        return self._write(query, params).rowcount

    def many(self, query: Query, rows: Iterable[Mapping[str, Value]], /) -> None:
        """Execute one write for each set of parameters, all in one round trip."""
        every = list(rows)
        if not every:
            return
        self.check()
        try:
            with self._connection.pipeline():
                context = self._context()
                self._connection.cursor().executemany(query.postgres, every)
            self._note(context)
        except (psycopg.Error, UnicodeError) as error:
            raise self._failure(error) from error

    def announce(self, topic: str) -> None:
        """Tell all who listen to the topic, once the unit has committed."""
        self.check()
        self.topics |= {topic}

    def _execute(self, query: Query, params: Mapping[str, Value]) -> psycopg.Cursor[Row]:
        return self._statement(query, params) if query.postgres_reads else self._write(query, params)

    def _write(self, query: Query, params: Mapping[str, Value]) -> psycopg.Cursor[Row]:
        if self.xid is not None:
            return self._statement(query, params)
        self.check()
        try:
            with self._connection.pipeline():
                context = self._context()
                cursor = self._connection.execute(query.postgres, params)
            self._note(context)
        except (psycopg.Error, UnicodeError) as error:
            raise self._failure(error) from error
        return cursor

    def _context(self) -> psycopg.Cursor[Row] | None:
        """Tell the triggers who acts, before the first write."""
        if self.xid is not None:
            return None
        # A guarded unit takes its rows by an index, whatever the planner thinks of a table that fills and empties.
        guarded = self._connection.isolation_level == psycopg.IsolationLevel.READ_COMMITTED
        said = {"actor": self.act.actor, "cause": self.act.cause, "at": self.at, "seqscan": "off" if guarded else "on"}
        return self._connection.execute(SQL.context.postgres, said)

    def _note(self, context: psycopg.Cursor[Row] | None) -> None:
        row: dict[str, Any] | None = None if context is None else context.fetchone()
        if row is not None:
            self.xid = row["xid"]

    def commit(self) -> int | None:
        """Commit; the newest change-log number handed out, or None when nothing was written."""
        self.check()
        BEFORE_COMMIT()
        if self.xid is None:
            self._commit(None)
            return None
        # The log's sequence is read outside the transaction's snapshot, so it does not cross with other units.
        row = self._commit(SQL.position)
        AFTER_COMMIT()
        return int(row["writes"]) if row else 0

    def _commit(self, last: Query | None) -> Row | None:
        if not self._begun:
            return None
        found = None
        try:
            with self._connection.pipeline():
                if last is not None:
                    found = self._connection.execute(last.postgres)
                done = self._connection.execute(SQL.commit.postgres)
        except psycopg.Error as error:
            failure = self._failure(error)
            if isinstance(failure, ConnectionBroke) and self.xid is not None:
                raise CommitInDoubt(failure.message) from error
            raise failure from error
        if done.statusmessage != SQL.commit.postgres:
            # PostgreSQL answers COMMIT with ROLLBACK, and no error, when a statement of the transaction had failed.
            raise Conflicted("the transaction was rolled back by the server")
        return None if found is None else found.fetchone()
