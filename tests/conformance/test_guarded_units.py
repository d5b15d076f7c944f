"""Guarded units of work: whole or nothing as any other, and on PostgreSQL they wait for rows instead of crossing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from holdfast.core.store.options import StoreOptions
from holdfast.core.store.port import Store, Unit
from holdfast.core.store.sql import query
from holding import LIMIT, adds, names
from opened import postgres_only
from testpack import ACT, SQL

if TYPE_CHECKING:
    from conftest import StoreMaker

CLAIM = query(
    "claim",
    sqlite="UPDATE things SET size = 1 WHERE id = (SELECT id FROM things WHERE size = 0 ORDER BY id LIMIT 1 "
    "FOR UPDATE SKIP LOCKED) RETURNING id",
)
LEVEL = query("level", sqlite="SELECT current_setting('transaction_isolation') AS level")
BACKEND = query("backend", sqlite="SELECT pg_backend_pid() AS pid")


async def test_a_guarded_unit_commits_or_vanishes_as_a_whole(store: Store) -> None:
    def fails(unit: Unit) -> None:
        adds("gone")(unit)
        raise LookupError("my own reason")

    assert await store.unit(ACT, adds("a", "b"), guarded=True) == 2
    with pytest.raises(LookupError, match="my own reason"):
        await store.unit(ACT, fails, guarded=True)
    assert await names(store) == ["a", "b"]


class Together:
    """Two units at the same time: both have done their work before either commits, in the first run of each."""

    def __init__(self, store: Store, works: dict[str, Callable[[Unit], Any]]) -> None:
        self.runs = dict.fromkeys(works, 0)
        self._store = store
        self._works = works
        self._both = threading.Barrier(len(works), timeout=LIMIT)

    def _work(self, name: str) -> Callable[[Unit], Any]:
        def work(unit: Unit) -> Any:
            self.runs[name] += 1
            given = self._works[name](unit)
            if self.runs[name] == 1:
                self._both.wait()
            return given

        return work

    async def run(self, *, guarded: bool) -> list[Any]:
        """What each of them gave."""
        asked = [self._store.unit(ACT, self._work(name), guarded=guarded) for name in self._works]
        return list(await asyncio.gather(*asked))


def claim(unit: Unit) -> str:
    row = unit.one(CLAIM)
    assert row is not None
    return str(row["id"])


@postgres_only
@pytest.mark.guards(
    "Guarded units that claim rows at the same time, passing over each other's, never cross and never run again.",
    against="Workers that hold different rows undo each other's claims, and the more there are, the less gets done.",
    breaks=("guarded-units-are-serialisable",),
)
async def test_guarded_claims_do_not_cross(store: Store) -> None:
    await store.unit(ACT, adds("a", "b", "c", size=0))
    together = Together(store, {"one": claim, "two": claim})
    assert sorted(await together.run(guarded=True)) == ["a", "b"]
    assert together.runs == {"one": 1, "two": 1}


@postgres_only
async def test_plain_claims_at_the_same_time_cross_and_one_runs_again(store: Store) -> None:
    await store.unit(ACT, adds("a", "b", "c", size=0))
    together = Together(store, {"one": claim, "two": claim})
    assert len(set(await together.run(guarded=False))) == 2
    assert sorted(together.runs.values()) == [1, 2]


@postgres_only
async def test_a_guarded_unit_waits_for_a_row_and_goes_on_from_what_it_finds(
    store: Store, make_store: StoreMaker
) -> None:
    await store.unit(ACT, adds("a", size=0))
    holds, go = threading.Event(), threading.Event()
    runs: list[str] = []

    def first(unit: Unit) -> None:
        runs.append("first")
        unit.run(SQL.grow_thing, id="a", by=1)
        holds.set()
        assert go.wait(LIMIT)

    def second(unit: Unit) -> None:
        runs.append("second")
        unit.run(SQL.grow_thing, id="a", by=10)

    holding = asyncio.ensure_future(store.unit(ACT, first, guarded=True))
    assert await asyncio.to_thread(holds.wait, LIMIT)
    waiting = asyncio.ensure_future(store.unit(ACT, second, guarded=True))
    with psycopg.connect(str(make_store.place_of(store).url), autocommit=True) as admin:
        blocked = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        async with asyncio.timeout(LIMIT):
            while admin.execute(blocked).fetchone() is None:
                await asyncio.sleep(0)
    go.set()
    await asyncio.gather(holding, waiting)
    row = await store.read(lambda reader: reader.one(SQL.thing, id="a"))
    assert row is not None
    assert row["size"] == 11
    assert runs == ["first", "second"]


@postgres_only
async def test_guarded_units_that_wait_for_each_other_end_well(store: Store) -> None:
    await store.unit(ACT, adds("a", "b", size=0))
    both = threading.Barrier(2, timeout=LIMIT)
    runs: list[str] = []

    def grows(one: str, other: str) -> Callable[[Unit], None]:
        def work(unit: Unit) -> None:
            again = one in runs
            runs.append(one)
            unit.run(SQL.grow_thing, id=one, by=1)
            if not again:
                both.wait()
            unit.run(SQL.grow_thing, id=other, by=1)

        return work

    works = grows("a", "b"), grows("b", "a")
    await asyncio.gather(*(store.unit(ACT, work, guarded=True) for work in works))
    rows = await store.read(lambda reader: reader.all(SQL.things))
    assert [row["size"] for row in rows] == [2, 2]
    assert len(runs) == 3


@postgres_only
async def test_every_unit_gets_its_own_isolation_whatever_ran_before_it(make_store: StoreMaker) -> None:
    store = await make_store(options=StoreOptions(writers=1, readers=1))

    def level(unit: Unit) -> str:
        row = unit.one(LEVEL)
        assert row is not None
        return str(row["level"])

    async def levels() -> list[str]:
        return [await store.unit(ACT, level, guarded=guarded) for guarded in (False, True, True, False, True)]

    plain, guarded = "serializable", "read committed"
    assert await levels() == [plain, guarded, guarded, plain, guarded]
    with psycopg.connect(str(make_store.place_of(store).url), autocommit=True) as admin:
        pid = await store.unit(ACT, lambda unit: unit.one(BACKEND), guarded=True)
        assert pid is not None
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", (pid["pid"],))
    assert await levels() == [plain, guarded, guarded, plain, guarded]
