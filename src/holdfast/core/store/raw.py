"""Plain synchronous connections, used before an engine runs: opening, migrating, backing up, restoring."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol, cast

import apsw

from holdfast.core.store.port import Dialect, Row, Value
from holdfast.core.store.sql import Query

if TYPE_CHECKING:
    import psycopg
    from psycopg.rows import DictRow


class Raw(Protocol):
    """A connection that runs statements as they are, one after the other."""

    @property
    def dialect(self) -> Dialect:
        """Which engine this is."""
        ...

    def all(self, query: Query, /, **params: Value) -> list[Row]:
        """Run a statement; its rows, if it has any."""
        ...

    def script(self, text: str) -> None:
        """Run statements of a schema or migration file."""
        ...

    def transaction(self) -> AbstractContextManager[object]:
        """Commit what the block does as a whole, or nothing of it."""
        ...


def _as_dict(cursor: apsw.Cursor, row: apsw.SQLiteValues) -> Row:
    return {column[0]: value for column, value in zip(cursor.get_description(), row, strict=True)}


class RawSqlite:
    """A connection to an SQLite file."""

    dialect: Dialect = "sqlite"

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        connection.row_trace = _as_dict
        connection.transaction_mode = "IMMEDIATE"

    def all(self, query: Query, /, **params: Value) -> list[Row]:
        """Run a statement; its rows, if it has any."""
        return cast("list[Row]", self.connection.execute(query.sqlite, params).fetchall())  # by the row trace

    def script(self, text: str) -> None:
        """Run statements of a schema or migration file."""
        self.connection.execute(text).fetchall()

    def transaction(self) -> AbstractContextManager[object]:
        """Commit what the block does as a whole, or nothing of it."""
        return self.connection


class RawPostgres:
    """A connection to a PostgreSQL database, in autocommit."""

    dialect: Dialect = "postgres"

    def __init__(self, connection: psycopg.Connection[DictRow], name: str) -> None:
        self.connection = connection
        self.name = name  # as messages name the database

    def all(self, query: Query, /, **params: Value) -> list[Row]:
        """Run a statement; its rows, if it has any."""
        cursor = self.connection.execute(query.postgres.encode(), params)
        return cursor.fetchall() if cursor.description else []

    def script(self, text: str) -> None:
        """Run statements of a schema or migration file."""
        self.connection.execute(text.encode())

    def transaction(self) -> AbstractContextManager[object]:
        """Commit what the block does as a whole, or nothing of it."""
        return self.connection.transaction()

    def undone(self) -> AbstractContextManager[object]:
        """Take back what the block does, whatever becomes of it."""
        return self.connection.transaction(force_rollback=True)
