"""The pack that ours is measured with: one watched table, the same that the floor has."""

from __future__ import annotations

from holdfast.core.changes.declare import Watched
from holdfast.core.pack import Pack
from holdfast.core.store.port import Act
from holdfast.core.store.sql import load

PACK = Pack(
    "bench",
    "bench.pack",
    watched=(
        Watched(
            table="things",
            entity="thing",
            columns=("id", "title", "size", "note", "body"),
            scope_of_all="bench",
            json_columns=frozenset({"body"}),
        ),
    ),
)
SQL = load("bench.pack", "things.sql")
ACT = Act("token:bench", "request:bench")
