"""Reads the change log: pages of changes in order, its bounds, and the JSON form in which the world sees a change."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from holdfast.core.changes.cursors import EVERYTHING, Filter
from holdfast.core.store.port import Reader, Row, Unit
from holdfast.core.store.sql import load

SQL = load("holdfast.core.changes", "log.sql")


class Change(msgspec.Struct, frozen=True, gc=False):
    """One row of the change log; `payload` is JSON text."""

    seq: int
    scope: str
    entity: str
    entity_id: str
    event: str
    payload: str
    actor: str
    cause: str
    at: str


class _Shown(msgspec.Struct, gc=False):
    """A change in JSON, its payload as it is."""

    seq: int
    scope: str
    entity: str
    entity_id: str
    event: str
    payload: msgspec.Raw
    actor: str
    cause: str
    at: str


_encode = msgspec.json.Encoder().encode


def encode(change: Change) -> bytes:
    """The JSON of a change, on one line."""
    payload = change.payload.encode()
    if b"\n" in payload or b"\r" in payload:
        # PostgreSQL keeps the blanks of JSON as it was stored; inside its strings line ends are always escaped.
        payload = msgspec.json.format(payload, indent=-1)
    return _encode(
        _Shown(
            change.seq,
            change.scope,
            change.entity,
            change.entity_id,
            change.event,
            msgspec.Raw(payload),
            change.actor,
            change.cause,
            change.at,
        )
    )


def encode_all(changes: list[Change]) -> bytes:
    """The JSON list of these changes."""
    return b"[" + b",".join(map(encode, changes)) + b"]"


class Bounds(NamedTuple):
    """What the log holds: a cursor from `oldest - 1` to `newest` can go on without a hole."""

    oldest: int
    newest: int


def bounds(reader: Reader) -> Bounds:
    """The bounds of the log in this view."""
    row = reader.one(SQL.bounds)
    if row is None:  # an aggregate without rows does not exist
        return Bounds(1, 0)
    return Bounds(int(row["oldest"]), int(row["newest"]))


def page(
    reader: Reader,
    *,
    after: int,
    upto: int,
    limit: int,
    filter: Filter = EVERYTHING,  # noqa: A002 - the word of the interface
) -> list[Change]:
    """The first `limit` changes behind `after`, none behind `upto`, which is where the feed stands."""
    if filter.scopes:
        rows = reader.all(
            SQL.page_of_scopes,
            after=after,
            upto=upto,
            limit=limit,
            scopes=filter.scopes_json,
            events=filter.events_json,
        )
    elif filter.events:
        rows = reader.all(SQL.page_of_events, after=after, upto=upto, limit=limit, events=filter.events_json)
    else:
        rows = reader.all(SQL.page, after=after, upto=upto, limit=limit)
    return [_change(row) for row in rows]


def _change(row: Row) -> Change:
    return Change(*row.values())


def move_cursor(unit: Unit, name: str, seq: int) -> None:
    """Note how far a consumer of ours has come; until a week after its last move, retention keeps what follows."""
    unit.run(SQL.move_cursor, name=name, seq=seq, at=unit.at)


def cursor(reader: Reader, name: str) -> int | None:
    """How far a consumer of ours had come."""
    row = reader.one(SQL.cursor, name=name)
    return None if row is None else int(row["seq"])


def drop_cursor(unit: Unit, name: str) -> None:
    """Forget a consumer of ours."""
    unit.run(SQL.drop_cursor, name=name)
