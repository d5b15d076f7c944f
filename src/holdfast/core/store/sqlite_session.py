"""One SQLite connection with its deadline, and what a unit of work or a reader may do on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw

from holdfast.core.errors import StoreClosed, StoreError, StoreRefused
from holdfast.core.store import sql
from holdfast.core.store.sqlite_errors import RAISED, translated

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from holdfast.core.clock import Clock
    from holdfast.core.store.options import StoreOptions
    from holdfast.core.store.port import Act, Dialect, Row, Value
    from holdfast.core.store.sql import Query

SAYS = sql.load("holdfast.core.store", "engine.sql")

_SAVEPOINT = SAYS.savepoint.sqlite
_ENTER = SAYS.enter.sqlite

FOREVER = float("inf")
# SQLite asks for the time after this many of its instructions (about a millisecond of them).
_STEPS = 20_000
_CACHED_STATEMENTS = 256


class Session:
    """A connection, the moment at which what it runs is stopped, and the column names of what it has run."""

    __slots__ = ("_clock", "connection", "deadline", "execute", "names")

    def __init__(self, connection: apsw.Connection, clock: Clock) -> None:
        self.connection = connection
        #: Runs a statement, always on the same cursor: a new one costs a third of a short statement.
        self.execute = connection.cursor().execute
        self.deadline = FOREVER
        self.names: dict[str, tuple[str, ...]] = {}
        self._clock = clock
        connection.set_progress_handler(self._is_late, _STEPS)

    def _is_late(self) -> bool:
        return self._clock.monotonic() > self.deadline

    def rows(self, text: str, params: Mapping[str, Value]) -> list[Row]:
        """What a statement returns."""
        cursor = self.execute(text, params)
        names = self.names.get(text)
        if names is None:
            try:
                names = tuple(column[0] for column in cursor.get_description())
            except apsw.ExecutionCompleteError:  # no rows, and SQLite has let go of the statement
                return []
            self.names[text] = names
        return [dict(zip(names, row, strict=True)) for row in cursor]


def connect(path: Path, options: StoreOptions, clock: Clock, *, reads_only: bool = False) -> Session:
    """Open the database file, which must be there, the way every connection of a running store is."""
    flags = apsw.SQLITE_OPEN_READONLY if reads_only else apsw.SQLITE_OPEN_READWRITE
    try:
        connection = apsw.Connection(str(path), flags=flags, vfs=options.vfs, statementcachesize=_CACHED_STATEMENTS)
        connection.set_busy_timeout(int(options.busy_seconds * 1000))
        _settle_in(connection, path, reads_only=reads_only)
    except apsw.Error as error:
        raise translated(error, f"opening {path}") from error
    return Session(connection, clock)


def _settle_in(connection: apsw.Connection, path: Path, *, reads_only: bool) -> None:
    ((mode,),) = connection.execute(SAYS.journal.sqlite)
    if mode != "wal":
        message = f"{path} cannot keep a write-ahead log (its journal mode stays {mode!r}); use a local disk"
        raise StoreRefused(message)
    for each in (SAYS.durability, SAYS.references_checked, SAYS.scratch, SAYS.no_checkpoints_here):
        connection.execute(each.sqlite)
    if reads_only:
        connection.execute(SAYS.reads_only.sqlite)


class SqliteReader:
    """One consistent view of the store, for as long as the read lasts."""

    __slots__ = ("_over", "_session")

    dialect: Dialect = "sqlite"

    def __init__(self, session: Session) -> None:
        self._session = session
        self._over = False

    def all(self, query: Query, /, **params: Value) -> list[Row]:
        """Every row."""
        if self._over:
            raise _used_after_its_end()
        if not query.sqlite_reads:
            message = f"{query.name}: this statement writes, and a read must not; run it in a unit of work"
            raise StoreError(message)
        try:
            return self._session.rows(query.sqlite, params)
        except RAISED as error:
            raise translated(error, query.name) from error

    def one(self, query: Query, /, **params: Value) -> Row | None:
        """The first row, if there is one."""
        rows = self.all(query, **params)
        return rows[0] if rows else None

    def end(self) -> None:
        """Nobody may use it any more."""
        self._over = True


class SqliteUnit:
    """A unit of work in progress on the writer's connection.

    A statement that fails ends the unit: what follows is refused with the same error and nothing of it commits, even
    if the error was caught, because PostgreSQL can do no more in such a transaction and SQLite may have undone part.
    """

    __slots__ = ("_alone", "_at", "_clock", "_over", "_session", "act", "failure", "topics", "wrote")

    dialect: Dialect = "sqlite"

    def __init__(self, session: Session, clock: Clock, act: Act, *, alone: bool) -> None:
        self.act = act
        self.wrote = False
        self.failure: BaseException | None = None
        self.topics: set[str] | None = None
        self._session = session
        self._clock = clock
        self._alone = alone  # in its group: then the transaction is its savepoint
        self._at = ""
        self._over = False

    @property
    def at(self) -> str:
        """The time of the unit, read when it is first asked for."""
        if not self._at:
            self._at = self._clock.stamp()
        return self._at

    def all(self, query: Query, /, **params: Value) -> list[Row]:
        """Every row."""
        self._ready(writes=not query.sqlite_reads)
        try:
            return self._session.rows(query.sqlite, params)
        except RAISED as error:
            raise self._failed(error, query.name) from error

    def one(self, query: Query, /, **params: Value) -> Row | None:
        """The first row, if there is one."""
        rows = self.all(query, **params)
        return rows[0] if rows else None

    def run(self, query: Query, /, **params: Value) -> int:
        """Execute a write; how many rows it touched."""
        self._ready(writes=True)
        session = self._session
        try:
            session.execute(query.sqlite, params).fetchall()
        except RAISED as error:
            raise self._failed(error, query.name) from error
        return session.connection.changes()

    def many(self, query: Query, rows: Iterable[Mapping[str, Value]], /) -> None:
        """Execute one write for each set of parameters."""
        self._ready(writes=True)
        prepared = [*rows]  # what makes the rows may fail, and then none of them is there
        try:
            self._session.connection.executemany(query.sqlite, prepared)
        except RAISED as error:
            raise self._failed(error, query.name) from error

    def announce(self, topic: str) -> None:
        """Tell all who listen to the topic, once the unit has committed."""
        self._ready(writes=False)
        if self.topics is None:
            self.topics = set()
        self.topics.add(topic)

    def end(self) -> None:
        """Nobody may use it any more."""
        self._over = True

    def _ready(self, *, writes: bool) -> None:
        if self._over:
            raise _used_after_its_end()
        if self.failure is not None:
            raise self.failure
        if writes and not self.wrote:
            self._enter()

    def _enter(self) -> None:
        """Before the first write: a savepoint where others share the transaction, and who acts, for the triggers."""
        execute = self._session.execute
        try:
            if not self._alone:
                execute(_SAVEPOINT)
            self.wrote = True
            execute(_ENTER, (self.act.actor, self.act.cause, self.at))
        except RAISED as error:
            raise self._failed(error, "saying who acts") from error

    def _failed(self, error: BaseException, what: str) -> StoreError:
        failure = translated(error, what)
        self.failure = failure
        return failure


def _used_after_its_end() -> StoreClosed:
    return StoreClosed(
        "a unit of work or a read was used after its end; use it only inside the function it is given to"
    )
