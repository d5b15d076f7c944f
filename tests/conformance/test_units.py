"""What a unit of work and a read promise, on both engines: whole or nothing, on their own, with typed errors."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from holdfast.core.errors import (
    BrokenRule,
    DuplicateRow,
    MissingReference,
    StoreClosed,
    StoreError,
)
from holdfast.core.store.port import Act, Reader, Store, Unit
from holdfast.core.store.sql import query
from holding import HELD, LIMIT, Held, adds, log, names
from testpack import ACT, SQL

if TYPE_CHECKING:
    from conftest import StoreMaker

ENDLESS = query(
    "endless", sqlite="WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS count FROM n"
)
NO_TABLE = query("no_table", sqlite="INSERT INTO nowhere (id) VALUES (:id)")
UNTITLED = query("untitled", sqlite="INSERT INTO things (id, title, size) VALUES (:id, NULL, 1)")
HOLD = query("hold", sqlite="INSERT INTO store_meta (name, value) VALUES ('effects_held_at', 'now')")
RELEASE = query("release", sqlite="DELETE FROM store_meta WHERE name = 'effects_held_at'")
ADD_AND_TELL = query(
    "add_and_tell", sqlite="INSERT INTO things (id, title, size) VALUES (:id, 'told', 1) RETURNING id, title, size"
)


async def test_a_unit_commits_as_a_whole_and_sees_its_own_writes(store: Store) -> None:
    def work(unit: Unit) -> Any:
        assert unit.one(SQL.thing, id="a") is None
        adds("a", "b")(unit)
        return unit.one(SQL.thing, id="b")

    assert (await store.unit(ACT, work))["title"] == "a thing"
    assert await names(store) == ["a", "b"]


@pytest.mark.guards(
    "a unit of work that raises leaves nothing of itself, and its caller gets what it raised",
    against="half of a unit that failed stays in the store",
    breaks=("sqlite-keeps-half-a-unit",),
)
@pytest.mark.parametrize("neighbours", [0, 3])
async def test_a_unit_that_raises_leaves_nothing(make_store: StoreMaker, neighbours: int) -> None:
    store = await make_store(options=HELD)

    def work(unit: Unit) -> None:
        adds("half")(unit)
        raise LookupError("my own reason")

    async with Held(store, 1) as held:
        around = [asyncio.ensure_future(store.unit(ACT, adds(f"n{n}"))) for n in range(neighbours)]
        failing = asyncio.ensure_future(store.unit(ACT, work))
        await asyncio.sleep(0)
        held.open()
        with pytest.raises(LookupError, match="my own reason"):
            await failing
        await asyncio.gather(*around)
    assert await names(store) == [f"n{n}" for n in range(neighbours)]
    assert [row["entity_id"] for row in await log(store)] == [f"n{n}" for n in range(neighbours)]


@pytest.mark.guards(
    "one unit's constraint error never takes its neighbours down",
    against="units that share a commit share the fault of one of them",
    breaks=("sqlite-group-shares-a-fault",),
)
async def test_one_units_constraint_error_is_its_own(make_store: StoreMaker) -> None:
    store = await make_store(options=HELD)
    await store.unit(ACT, adds("taken"))

    def late_clash(unit: Unit) -> None:
        adds("gone")(unit)
        adds("taken")(unit)

    async with Held(store, 1):
        works = [late_clash if n % 3 == 1 else adds(f"u{n:02}") for n in range(30)]
        asked = [asyncio.ensure_future(store.unit(ACT, work)) for work in works]
        await asyncio.sleep(0)
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    for n, outcome in enumerate(outcomes):
        assert isinstance(outcome, DuplicateRow) if n % 3 == 1 else outcome == 1
    assert await names(store) == ["taken", *(f"u{n:02}" for n in range(30) if n % 3 != 1)]
    assert len(await log(store)) == 21


TROUBLES: dict[str, tuple[Callable[[Unit], object], type[StoreError]]] = {
    "the same key twice": (adds("a"), DuplicateRow),
    "a reference to nothing": (lambda u: u.run(SQL.add_part, id="p", thing="nothing", state="new"), MissingReference),
    "removing what is pointed at": (lambda u: u.run(SQL.remove_thing, id="a"), MissingReference),
    "a missing value": (lambda u: u.run(UNTITLED, id="z"), BrokenRule),
    "a value of the wrong type": (
        lambda u: u.run(SQL.add_plain_thing, id="z", title="z", size="many"),
        BrokenRule,
    ),
    "a number past 64 bits": (lambda u: u.run(SQL.add_plain_thing, id="z", title="z", size=2**64), BrokenRule),
    "half a surrogate pair": (lambda u: u.run(SQL.add_plain_thing, id="\ud800", title="z", size=1), BrokenRule),
    "a table that is not there": (lambda u: u.run(NO_TABLE, id="z"), StoreError),
    "a parameter that is not given": (lambda u: u.run(SQL.add_plain_thing, id="z", title="z"), StoreError),
    "a key that changes": (lambda u: u.run(SQL.rekey_thing, id="b", to="c"), BrokenRule),
}


@pytest.mark.guards(
    "both engines report the same trouble by the same error, and nothing of the unit is there",
    against="an engine's own exceptions reach the callers, who then only know one engine",
    breaks=("sqlite-errors-untyped",),
)
@pytest.mark.parametrize("trouble", TROUBLES)
async def test_trouble_has_the_same_type_on_both_engines(store: Store, trouble: str) -> None:
    def seed(unit: Unit) -> None:
        adds("a", "b")(unit)
        unit.run(SQL.add_part, id="part", thing="a", state="new")

    await store.unit(ACT, seed)
    before = await log(store)
    work, kind = TROUBLES[trouble]

    def failing(unit: Unit) -> None:
        unit.run(SQL.grow_thing, id="b", by=1)
        work(unit)

    with pytest.raises(kind) as caught:
        await store.unit(ACT, failing)
    assert type(caught.value) is kind
    assert len(caught.value.message) > 20
    assert await log(store) == before


@pytest.mark.guards(
    "a unit that catches the error of a statement cannot commit what is left of it",
    against="a swallowed error commits half of what was meant, on one engine only",
    breaks=("sqlite-swallowed-error-commits",),
)
async def test_a_swallowed_error_does_not_commit_half_a_unit(store: Store) -> None:
    await store.unit(ACT, adds("a"))
    seen: list[type[BaseException]] = []

    def work(unit: Unit) -> str:
        adds("b")(unit)
        for again in (adds("a"), adds("c")):
            try:
                again(unit)
            except StoreError as error:
                seen.append(type(error))
        return "all is well"

    with pytest.raises(DuplicateRow):
        await store.unit(ACT, work)
    assert seen == [DuplicateRow, DuplicateRow]
    assert await names(store) == ["a"]


async def test_a_unit_may_turn_a_statements_error_into_its_own(store: Store) -> None:
    await store.unit(ACT, adds("a"))

    def work(unit: Unit) -> None:
        try:
            adds("a")(unit)
        except DuplicateRow:
            raise LookupError("taken") from None

    with pytest.raises(LookupError, match="taken"):
        await store.unit(ACT, work)


async def test_a_unit_and_a_reader_are_refused_after_their_end(store: Store) -> None:
    units: list[Unit] = []
    readers: list[Reader] = []
    await store.unit(ACT, units.append)
    await store.read(readers.append)
    with pytest.raises(StoreClosed, match="after its end"):
        units[0].run(SQL.add_plain_thing, id="late", title="late", size=1)
    with pytest.raises(StoreClosed, match="after its end"):
        readers[0].all(SQL.things)
    assert await names(store) == []


async def test_stop_iteration_reaches_the_caller_instead_of_hanging_it(store: Store) -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await asyncio.wait_for(store.unit(ACT, lambda _: next(iter(()))), LIMIT)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await asyncio.wait_for(store.read(lambda _: next(iter(()))), LIMIT)
    await store.unit(ACT, adds("a"))
    assert await names(store) == ["a"]


async def test_a_read_cannot_write(store: Store) -> None:
    with pytest.raises(StoreError, match="writes"):
        await store.read(lambda reader: reader.all(SQL.add_plain_thing, id="a", title="a", size=1))
    assert await names(store) == []


async def test_a_read_stands_still_while_units_commit(store: Store) -> None:
    looked, go = threading.Event(), threading.Event()

    def twice(reader: Reader) -> tuple[int, int]:
        first = len(reader.all(SQL.things))
        looked.set()
        assert go.wait(LIMIT)
        return first, len(reader.all(SQL.things))

    reading = asyncio.ensure_future(store.read(twice))
    assert await asyncio.to_thread(looked.wait, LIMIT)
    await store.unit(ACT, adds("a"))
    assert await names(store) == ["a"]  # what is acknowledged, the next read sees
    go.set()
    assert await reading == (0, 0)


async def test_a_write_tells_how_many_rows_it_touched(store: Store) -> None:
    def work(unit: Unit) -> list[Any]:
        unit.many(SQL.add_plain_thing, ({"id": f"m{n}", "title": "many", "size": n} for n in range(5)))
        unit.many(SQL.add_plain_thing, [])
        return [
            unit.run(SQL.grow_thing, id="m1", by=10),
            unit.run(SQL.grow_thing, id="nobody", by=10),
            unit.one(ADD_AND_TELL, id="told"),
            unit.run(ADD_AND_TELL, id="told-again"),
            unit.one(SQL.count_things),
            unit.one(SQL.thing, id="nobody"),
        ]

    told = {"id": "told", "title": "told", "size": 1}
    assert await store.unit(ACT, work) == [1, 0, told, 1, {"count": 7}, None]


async def test_every_row_of_the_log_names_the_act_of_its_own_unit(make_store: StoreMaker) -> None:
    store = await make_store(options=HELD)
    async with Held(store, 1):
        asked = [
            asyncio.ensure_future(store.unit(Act(f"token:{n}", f"request:{n}"), adds(f"a{n}", f"b{n}")))
            for n in range(10)
        ]
        await asyncio.sleep(0)
    await asyncio.gather(*asked)
    rows = await log(store)
    assert len(rows) == 20
    for row in rows:
        assert (row["actor"], row["cause"]) == (f"token:{row['entity_id'][1:]}", f"request:{row['entity_id'][1:]}")


async def test_the_units_time_stands_on_every_row_it_causes(store: Store) -> None:
    def work(unit: Unit) -> str:
        adds("a", "b")(unit)
        return unit.at

    at = await store.unit(ACT, work)
    assert {row["at"] for row in await log(store)} == {at}


async def test_a_cancelled_caller_harms_nobody(make_store: StoreMaker) -> None:
    store = await make_store(options=HELD)
    async with Held(store, 1):
        cancelled = asyncio.ensure_future(store.unit(ACT, adds("maybe")))
        other = asyncio.ensure_future(store.unit(ACT, adds("surely")))
        await asyncio.sleep(0)
        cancelled.cancel()
    assert await other == 1
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert "surely" in await names(store)


async def test_effects_that_were_held_are_released_once_that_is_committed(make_store: StoreMaker) -> None:
    first = await make_store()
    await first.unit(ACT, lambda unit: unit.run(HOLD))
    await first.close()
    store = await make_store(at=make_store.place_of(first))
    held = [store.effects_held]
    await store.unit(ACT, lambda unit: unit.run(RELEASE))
    held.append(store.effects_held)
    store.effects_released()
    held.append(store.effects_held)
    assert held == [True, True, False]
    await store.close()
    assert not (await make_store(at=make_store.place_of(first))).effects_held
