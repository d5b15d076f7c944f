"""Replaying the change log gives the rows, whatever was written, in whatever order, and undone in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import StoreMaker
from holdfast.core.changes import log
from holdfast.core.store.port import Reader, Row, Store, Unit
from testpack import ACT, PARTS, SQL, THINGS

KEYS = st.sampled_from(["a", "b", "c"])
# What both engines can hold as text: any character but NUL and halves of pairs.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=8)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 3)
DEEP = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
BODIES = st.dictionaries(TEXT, DEEP, max_size=2).map(lambda body: json.dumps(body, indent=1, ensure_ascii=False))
VALUES = st.fixed_dictionaries({"title": TEXT, "size": NUMBERS, "note": st.none() | TEXT, "body": BODIES})
STEPS = st.one_of(
    st.tuples(st.just("put"), KEYS, VALUES),
    st.tuples(st.just("remove"), KEYS, st.just({})),
    st.tuples(st.just("part"), KEYS, st.fixed_dictionaries({"state": st.sampled_from(["red", "green"])})),
    st.tuples(st.just("fail"), KEYS, st.just({})),
)
UNITS = st.lists(st.lists(STEPS, min_size=1, max_size=5), min_size=1, max_size=6)
Rows = dict[tuple[str, str], dict[str, Any]]


class UndoneError(Exception):
    """A unit of work that fails on purpose."""


def step(unit: Unit, what: str, key: str, values: dict[str, Any]) -> None:
    there = unit.one(SQL.thing, id=key) is not None
    if what == "fail":
        raise UndoneError
    if what == "put":
        unit.run(SQL.change_thing if there else SQL.add_thing, id=key, **values)
    elif what == "part" and there:
        present = unit.one(SQL.part, id=key) is not None
        unit.run(SQL.move_part, id=key, **values) if present else unit.run(SQL.add_part, id=key, thing=key, **values)
    elif what == "remove":
        unit.run(SQL.remove_part, id=key)
        unit.run(SQL.remove_thing, id=key)


def replayed(changes: list[log.Change]) -> Rows:
    """The rows that the payloads lead to; each step is held against the state that the one before left."""
    rows: Rows = {}
    for change in changes:
        payload = json.loads(change.payload)
        named = payload.pop("changed")
        before = rows.get((change.entity, change.entity_id))
        if change.event.endswith("_removed"):
            assert before == payload, "a removed row is not the one that was there"
            assert named == []
            del rows[change.entity, change.entity_id]
            continue
        if before is None:
            assert named == list(payload), "a new row does not name all of its columns"
        else:
            assert [c for c in payload if payload[c] != before[c] and c != "body"] == [c for c in named if c != "body"]
        rows[change.entity, change.entity_id] = payload
    return rows


def present(reader: Reader) -> Rows:
    """The rows as they are."""

    def shown(row: Row) -> dict[str, Any]:
        return {name: json.loads(value) if name == "body" else value for name, value in row.items()}

    things = {(THINGS.entity, row["id"]): shown(row) for row in reader.all(SQL.things)}
    return things | {(PARTS.entity, row["id"]): shown(row) for row in reader.all(SQL.parts)}


@pytest.fixture
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def opened(loop: asyncio.Runner, engine: Any, tmp_path: Path, new_database: Any) -> Iterator[Store]:
    maker = StoreMaker(engine, tmp_path, new_database)
    yield loop.run(maker())
    loop.run(maker.close())


@pytest.mark.guards(
    "Replaying the payloads of the change log gives the rows, in order and row by row.",
    against="A log that cannot be trusted to rebuild what it tells of: a lost, reordered or wrong change.",
    breaks=("changes-names-every-column", "changes-shows-the-row-before", "changes-forgets-removals"),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(units=UNITS)
def test_replaying_the_payloads_gives_the_rows(loop: asyncio.Runner, opened: Store, units: list[Any]) -> None:
    async def scenario() -> None:
        # Every example goes on where the one before left the store: the log is replayed from its beginning.
        for steps in units:

            def work(unit: Unit, steps: list[Any] = steps) -> None:
                for what, key, values in steps:
                    step(unit, what, key, values)

            try:
                await opened.unit(ACT, work)
            except UndoneError:
                continue
        rows, changes = await opened.read(
            lambda reader: (present(reader), log.page(reader, after=0, upto=1 << 60, limit=1_000_000))
        )
        assert replayed(changes) == rows
        assert [change.seq for change in changes] == sorted({change.seq for change in changes})

    loop.run(scenario())
