"""Plain connections to PostgreSQL for the time before an engine runs, and what their failures mean."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg
from psycopg import errors as pg
from psycopg.rows import dict_row

from holdfast.core.errors import (
    SchemaMismatch,
    StoreBusy,
    StoreError,
    StoreFull,
    StoreLost,
    StoreReadOnly,
    StoreRefused,
)
from holdfast.core.store.postgres_session import CONNECT_SECONDS, name_of
from holdfast.core.store.raw import RawPostgres
from holdfast.core.store.sql import load

SQL = load("holdfast.core.store", "prepare.sql")


@contextlib.contextmanager
def connected(url: str) -> Iterator[RawPostgres]:
    """A connection to the database, in autocommit."""
    try:
        name = f"PostgreSQL database {name_of(url)}"
    except psycopg.ProgrammingError as error:
        raise StoreRefused(
            "The database address cannot be read. It has the form postgresql://user@host:port/name (--database)."
        ) from error
    try:
        connection = psycopg.connect(url, autocommit=True, row_factory=dict_row, connect_timeout=CONNECT_SECONDS)
    except psycopg.OperationalError as error:
        raise StoreLost(f"The {name} cannot be reached: {_said(error)}. Check --database and the server.") from error
    with contextlib.closing(connection), _explained(name):
        raw = RawPostgres(connection, name)
        raw.all(SQL.hush)
        yield raw


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except (pg.UndefinedTable, pg.UndefinedColumn, pg.UndefinedFunction) as error:
        raise SchemaMismatch(f"The {name} lacks something that every store has: {_said(error)}.") from error
    except pg.LockNotAvailable as error:
        raise StoreBusy(f"Another daemon has been preparing the {name} for too long. Try again.") from error
    except pg.InsufficientPrivilege as error:
        raise StoreReadOnly(
            f"The {name} does not let this user do what is needed: {_said(error)}. It needs the right to create in the "
            "database (a scratch schema to compare with) and in its own schema."
        ) from error
    except pg.ReadOnlySqlTransaction as error:
        raise StoreReadOnly(f"The {name} takes no writes: {_said(error)}. Use the primary server.") from error
    except pg.DiskFull as error:
        raise StoreFull(f"The disk of the {name} is full: {_said(error)}. Nothing was changed.") from error
    except psycopg.OperationalError as error:
        raise StoreLost(f"The connection to the {name} broke: {_said(error)}. Nothing was changed.") from error
    except psycopg.Error as error:
        raise StoreError(
            f"The {name} refused what is needed to open it: {_said(error)}. Nothing was changed."
        ) from error


def _said(error: Exception) -> str:
    return " ".join(str(error).split())
