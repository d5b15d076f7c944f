"""Looks at a store's place from outside, and alters it as somebody without Holdfast would."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw

from holdfast.core.store import schema
from holdfast.core.store.port import Row
from holdfast.core.store.prepare import DATABASE
from holdfast.core.store.prepare_sqlite import looking
from holdfast.core.store.raw import Raw, RawSqlite
from holdfast.core.store.sql import query

if TYPE_CHECKING:
    from conftest import Place


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@contextlib.contextmanager
def raw(place: Place) -> Iterator[Raw]:
    """A connection of our own to a store that is not open."""
    if place.url is None:
        connection = apsw.Connection(str(place.data / DATABASE), flags=apsw.SQLITE_OPEN_READWRITE)
        with contextlib.closing(connection):
            yield RawSqlite(connection)
    else:
        from holdfast.core.store.postgres_connect import connected

        with connected(place.url) as opened:
            yield opened


def alter(place: Place, *statements: str) -> None:
    """Change a store that is not open, past everything that guards it."""
    with raw(place) as connection:
        for statement in statements:
            connection.script(statement)


def rows(place: Place, sql: str) -> list[Row]:
    """Rows of a store that is not open."""
    with _glance(place) as connection:
        return connection.all(query("test", sqlite=sql))


def contents(place: Place) -> dict[str, Any]:
    """Everything that a place holds: the bytes of its files and, on PostgreSQL, its schema and rows."""
    found: dict[str, Any] = dict(bytes_of(place.data))
    if place.url is not None:
        with raw(place) as connection:
            found["schema"] = dict(schema.objects(connection))
            tables = sorted(name for kind, name in found["schema"] if kind == "table")
            for table in tables:
                found[f"rows of {table}"] = connection.all(query("test", sqlite=f"SELECT * FROM {table} ORDER BY 1"))
    return found


def objects(place: Place) -> dict[tuple[str, str], str]:
    """The physical schema."""
    with _glance(place) as connection:
        return dict(schema.objects(connection))


@contextlib.contextmanager
def _glance(place: Place) -> Iterator[Raw]:
    if place.url is None:
        with looking(place.data / DATABASE) as connection:
            yield connection
    else:
        with raw(place) as connection:
            yield connection
