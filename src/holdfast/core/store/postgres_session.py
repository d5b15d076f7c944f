"""Owns one connection to PostgreSQL: opens it, again after a loss, and checks that it is still the same store."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import conninfo
from psycopg.adapt import Loader
from psycopg.rows import dict_row
from psycopg.types.numeric import IntLoader
from psycopg.types.string import TextLoader

from holdfast.core.errors import StoreForeign, StoreLost
from holdfast.core.store.options import StoreOptions
from holdfast.core.store.port import Row
from holdfast.core.store.sql import load

if TYPE_CHECKING:
    from psycopg.abc import Buffer

SQL = load("holdfast.core.store", "postgres.sql")
#: Seconds to wait for a connection, and after which a server that vanished without a word is given up.
CONNECT_SECONDS = 5
VANISHED_SECONDS = 20

_BOUNDS: dict[str, Any] = {
    "connect_timeout": CONNECT_SECONDS,
    "client_encoding": "UTF8",
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": VANISHED_SECONDS * 1000,
}


class _NumberLoader(Loader):
    """A `numeric`, such as a sum of integers, as SQLite gives it: an int where it is whole, else a float."""

    def load(self, data: Buffer) -> int | float:
        text = bytes(data).decode()
        return int(text) if text.lstrip("-").isdigit() else float(text)


class _TruthLoader(Loader):
    """A truth value as SQLite gives it: 1 or 0."""

    def load(self, data: Buffer) -> int:
        return int(bytes(data) == b"t")


def name_of(url: str) -> str:
    """The database as messages name it: never with a password."""
    parts = conninfo.conninfo_to_dict(url)
    return f"{parts.get('dbname') or '(default)'} at {parts.get('host') or 'the local socket'}"


def bounds(url: str) -> dict[str, Any]:
    """How a connection is opened and when it is given up, as far as its address says nothing of that."""
    given = conninfo.conninfo_to_dict(url)
    return {name: value for name, value in _BOUNDS.items() if name not in given}


class Session:
    """One connection, for one thread. `connection()` opens it when there is none."""

    def __init__(self, url: str, uuid: str, options: StoreOptions, *, read_only: bool) -> None:
        self._url = url
        self._uuid = uuid
        self._options = options
        self._read_only = read_only
        self._connection: psycopg.Connection[Row] | None = None
        self._guarded = False

    def connection(self, *, guarded: bool = False) -> psycopg.Connection[Row]:
        """The open connection, between transactions; the next one is serialisable, or READ COMMITTED where guarded."""
        if self._connection is None or self._connection.closed:
            self._connection = self._connected()
            self._guarded = False
        if guarded is not self._guarded:
            # Costs no round trip: the driver sends the level with the BEGIN.
            levels = psycopg.IsolationLevel
            self._connection.isolation_level = levels.READ_COMMITTED if guarded else levels.SERIALIZABLE
            self._guarded = guarded
        return self._connection

    def _connected(self) -> psycopg.Connection[Row]:
        try:
            connection = psycopg.connect(self._url, autocommit=True, row_factory=dict_row, **bounds(self._url))
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
        except psycopg.Error as error:
            said = " ".join(str(error).split())
            message = f"PostgreSQL ({name_of(self._url)}) cannot be reached: check that it runs ({said})"
            raise StoreLost(message) from error
        return connection

    def _prepare(self, connection: psycopg.Connection[Row]) -> None:
        for kind in ("json", "jsonb"):
            connection.adapters.register_loader(kind, TextLoader)
        connection.adapters.register_loader("numeric", _NumberLoader)
        connection.adapters.register_loader("bool", _TruthLoader)
        connection.adapters.register_loader("oid", IntLoader)
        seconds = self._options.read_seconds if self._read_only else self._options.unit_seconds
        # The server ends what this process no longer can; Python between two statements is given twice its time.
        bounds = {"statement": seconds, "lock": self._options.busy_seconds, "idle": 2 * seconds}
        settings = {name: str(max(1, int(bound * 1000))) for name, bound in bounds.items()}
        connection.execute(SQL.settings.postgres, settings)
        try:
            row = connection.execute(SQL.uuid.postgres).fetchone()
        except psycopg.errors.UndefinedTable:
            row = None
        if row is None or row["uuid"] != self._uuid:
            # Somebody replaced the database under a running daemon: its rows and effects are not ours to touch.
            other = "no store" if row is None else f"store {row['uuid']}"
            message = f"PostgreSQL ({name_of(self._url)}) now holds {other}, not {self._uuid}: restart the daemon"
            raise StoreForeign(message)
        connection.autocommit = False
        connection.read_only = self._read_only
        connection.isolation_level = (
            psycopg.IsolationLevel.REPEATABLE_READ if self._read_only else psycopg.IsolationLevel.SERIALIZABLE
        )

    def roll_back(self) -> None:
        """End the transaction in progress; a connection that cannot even do that is given up."""
        if self._connection is None:
            return
        try:
            self._connection.rollback()
        except psycopg.Error:
            self.close()

    def close(self) -> None:
        """Close the connection, if there is one; the next use opens another."""
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
            self._connection = None
