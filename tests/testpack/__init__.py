"""A small pack for tests: `things` watched as a whole, `parts` with events and a scope of their own, and `errands`."""

from __future__ import annotations

from holdfast.core.changes.declare import Watched
from holdfast.core.pack import Pack
from holdfast.core.store.port import Act
from holdfast.core.store.sql import load

THINGS = Watched(
    table="things",
    entity="thing",
    columns=("id", "title", "size", "note", "body"),
    scope_of_all="test",
    json_columns=frozenset({"body"}),
)
PARTS = Watched(
    table="parts",
    entity="part",
    columns=("id", "thing", "state"),
    scope="thing",
    updates_on=("state",),
    created="part_recorded",
    updated="part_recorded",
)
ERRANDS = Watched(
    table="errands", entity="errand", columns=("id", "title"), scope_of_all="test", goes_on_in="errands_done"
)
PACK = Pack("testpack", "testpack", watched=(THINGS, PARTS, ERRANDS))
#: Named statements over both tables: SQL.add_thing, SQL.thing, ...; see things.sql.
SQL = load("testpack", "things.sql")
#: Somebody who acts, for units of work.
ACT = Act("token:test", "request:test")
