"""What is special to the PostgreSQL engine: lost connections, commits in doubt, units of work that cross each other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from holdfast.core.clock import SYSTEM
from holdfast.core.errors import (
    BrokenRule,
    HoldfastError,
    StoreBusy,
    StoreClosed,
    StoreError,
    StoreForeign,
    StoreLost,
    UnitTooLong,
)
from holdfast.core.store.options import StoreOptions
from holdfast.core.store.port import Reader, Store, Unit
from holdfast.core.store.postgres import PostgresStore
from holdfast.core.store.postgres_runner import ATTEMPTS
from holdfast.core.store.sql import query
from holding import ONE_WRITER, adds, changes_in, grows, size_of
from manual_clock import ManualClock
from testpack import ACT, SQL

if TYPE_CHECKING:
    from conftest import StoreMaker

BACKEND = query("backend", sqlite="SELECT pg_backend_pid() AS pid")
NAP = query("nap", sqlite="SELECT pg_sleep(:seconds)::text AS nap")


@pytest.fixture
def engine() -> str:
    return "postgres"


class Outsider:
    """Another program in the same database."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)

    def do(self, statement: str, *params: object) -> None:
        self._connection.execute(statement, params)

    def kill(self, view: Reader) -> None:
        """End the connection behind a unit of work or a read, and wait until it has gone."""
        row = view.one(BACKEND)
        assert row is not None
        self._connection.execute("SELECT pg_terminate_backend(%s, 5000)", (row["pid"],))

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def outsider(make_store: StoreMaker, store: Store) -> Iterator[Outsider]:
    url = make_store.place_of(store).url
    assert url is not None
    outsider = Outsider(url)
    yield outsider
    outsider.close()


# --- lost connections ----------------------------------------------------------------------------------------------


async def test_a_unit_whose_connection_is_killed_runs_again_and_is_there_once(store: Store, outsider: Outsider) -> None:
    runs: list[str] = []

    def work(unit: Unit) -> str:
        unit.run(SQL.add_plain_thing, id=f"a{len(runs)}", title="a thing", size=1)
        runs.append(unit.at)
        if len(runs) == 1:
            outsider.kill(unit)
        unit.run(SQL.add_part, id="p", thing=f"a{len(runs) - 1}", state="new")
        return "done"

    assert await store.unit(ACT, work) == "done"
    assert [row["id"] for row in await store.read(lambda reader: reader.all(SQL.things))] == ["a1"]
    assert await changes_in(store) == 2


@pytest.mark.guards(
    "A unit of work that loses its connection at every attempt ends with StoreLost and leaves no trace.",
    against="A unit that runs again for ever, or half of it that stays, when the database goes away.",
    breaks=("postgres-lost-for-ever",),
)
async def test_a_unit_whose_connection_is_killed_again_is_lost_and_leaves_no_trace(
    store: Store, outsider: Outsider
) -> None:
    runs: list[str] = []

    def work(unit: Unit) -> None:
        runs.append(unit.at)
        unit.run(SQL.add_plain_thing, id="a", title="a thing", size=1)
        if len(runs) < 5:
            outsider.kill(unit)
        unit.run(SQL.grow_thing, id="a", by=1)

    with pytest.raises(StoreLost) as caught:
        await store.unit(ACT, work)
    assert type(caught.value) is StoreLost
    assert caught.value.retryable
    assert len(runs) == 2
    assert await changes_in(store) == 0
    assert await store.unit(ACT, adds("a", size=7)) == 1
    assert await size_of(store) == 7


async def test_a_loss_that_the_work_catches_still_runs_again(store: Store, outsider: Outsider) -> None:
    runs: list[str] = []

    def work(unit: Unit) -> str:
        runs.append(unit.at)
        if len(runs) == 1:
            outsider.kill(unit)
        try:
            unit.run(SQL.add_plain_thing, id="a", title="a thing", size=1)
        except StoreError:
            return "swallowed"
        return "written"

    assert await store.unit(ACT, work) == "written"
    assert await size_of(store) == 1


async def test_a_read_whose_connection_is_killed_runs_again_once(store: Store, outsider: Outsider) -> None:
    await store.unit(ACT, adds("a", size=3))
    runs: list[object] = []

    def work(reader: Reader, kills: int) -> object:
        runs.append(reader.one(SQL.count_things))
        if len(runs) <= kills:
            outsider.kill(reader)
        return reader.one(SQL.thing, id="a")

    row = await store.read(lambda reader: work(reader, 1))
    assert isinstance(row, dict)
    assert row["size"] == 3
    runs.clear()
    with pytest.raises(StoreLost):
        await store.read(lambda reader: work(reader, 9))
    assert len(runs) == 2
    assert await size_of(store) == 3


async def test_connections_that_died_while_idle_go_unnoticed(make_store: StoreMaker) -> None:
    store = await make_store(options=ONE_WRITER)
    outsider = Outsider(str(make_store.place_of(store).url))
    await store.unit(ACT, adds("a", size=1))
    outsider.do("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'holdfast'")
    await store.unit(ACT, grows())
    assert await size_of(store) == 2
    outsider.close()


@pytest.mark.guards(
    "A daemon whose database was replaced under it refuses to touch the new one.",
    against="An orphan that reconnects to a re-created database and writes into it.",
    breaks=("postgres-any-store",),
)
async def test_a_database_replaced_under_the_daemon_is_not_touched(make_store: StoreMaker) -> None:
    store = await make_store(options=ONE_WRITER)
    outsider = Outsider(str(make_store.place_of(store).url))
    outsider.do("UPDATE store_meta SET value = 'another' WHERE name = 'uuid'")
    outsider.do("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'holdfast'")
    with pytest.raises(StoreForeign, match="another"):
        await store.unit(ACT, adds("a", size=1))
    with pytest.raises(StoreForeign, match="restart the daemon"):
        await size_of(store)
    outsider.do("UPDATE store_meta SET value = %s WHERE name = 'uuid'", store.uuid)
    assert await size_of(store) is None
    outsider.close()


async def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    url = "postgresql://keeper:s3cret@127.0.0.1:1/fleet"
    store = PostgresStore(url, uuid="u", effects_held=False, clock=SYSTEM, options=ONE_WRITER)
    with pytest.raises(StoreLost, match=r"fleet at 127\.0\.0\.1") as caught:
        await store.start()
    assert "s3cret" not in caught.value.message
    with pytest.raises(StoreClosed):
        await store.unit(ACT, adds("a"))


# --- units of work that cross --------------------------------------------------------------------------------------


@pytest.mark.guards(
    "Units of work that run at the same time leave what some order of them one by one would leave.",
    against="Two units that each read, see nothing in the way, and both write (write skew).",
    breaks=("postgres-weak-isolation",),
)
async def test_two_units_that_both_saw_nobody_do_not_both_come_in(store: Store) -> None:
    together = threading.Barrier(2, timeout=20)
    runs = {"a": 0, "b": 0}

    def enter(unit: Unit, name: str) -> str:
        runs[name] += 1
        row = unit.one(SQL.count_things)
        if runs[name] == 1:
            together.wait()
        if row is not None and row["count"]:
            return "full"
        unit.run(SQL.add_plain_thing, id=name, title="the only one", size=1)
        return "in"

    came = await asyncio.gather(
        store.unit(ACT, lambda unit: enter(unit, "a")), store.unit(ACT, lambda unit: enter(unit, "b"))
    )
    assert sorted(came) == ["full", "in"]
    assert len(await store.read(lambda reader: reader.all(SQL.things))) == 1


async def test_a_storm_on_one_row_loses_no_update(store: Store) -> None:
    await store.unit(ACT, adds("a", size=0))
    await asyncio.gather(*(store.unit(ACT, grows()) for _ in range(200)))
    assert await size_of(store) == 200
    assert await changes_in(store) == 201


@pytest.mark.guards(
    "A unit of work that keeps crossing others is given up after a bounded number of attempts, with nothing written.",
    against="A unit that runs again for ever while others overtake it.",
    breaks=("postgres-endless-crossing",),
)
async def test_a_unit_that_always_crosses_another_is_told_to_come_back(store: Store, outsider: Outsider) -> None:
    await store.unit(ACT, adds("a", size=0))
    runs: list[str] = []

    def overtaken(unit: Unit) -> None:
        runs.append(unit.at)
        unit.one(SQL.thing, id="a")
        outsider.do("UPDATE things SET size = size + 1 WHERE id = 'a'")
        unit.run(SQL.grow_thing, id="a", by=1000)

    with pytest.raises(StoreBusy, match="crossed others"):
        await store.unit(ACT, overtaken)
    assert len(runs) == ATTEMPTS
    assert await size_of(store) == ATTEMPTS


async def test_a_row_held_by_another_program_is_waited_for_only_so_long(make_store: StoreMaker) -> None:
    store = await make_store(options=StoreOptions(busy_seconds=0.2))
    await store.unit(ACT, adds("a", size=1))
    outsider = Outsider(str(make_store.place_of(store).url))
    outsider.do("BEGIN")
    outsider.do("UPDATE things SET size = 5 WHERE id = 'a'")
    with pytest.raises(StoreBusy):
        await store.unit(ACT, grows())
    outsider.do("ROLLBACK")
    await store.unit(ACT, grows())
    assert await size_of(store) == 2
    outsider.close()


# --- failures and time ---------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "A unit of work that fails leaves nothing, neither at once nor with the commit of the next one on its connection.",
    against="A transaction left open by a failure, into which the next unit writes.",
    breaks=("postgres-failure-stays-open",),
)
async def test_a_failed_unit_leaves_nothing_for_the_next_one_to_commit(make_store: StoreMaker) -> None:
    store = await make_store(options=ONE_WRITER)

    def fails(unit: Unit) -> None:
        unit.run(SQL.add_plain_thing, id="a", title="half", size=1)
        raise HoldfastError("halfway")

    with pytest.raises(HoldfastError, match="halfway"):
        await store.unit(ACT, fails)
    await store.unit(ACT, adds("b", size=1))
    assert [row["id"] for row in await store.read(lambda reader: reader.all(SQL.things))] == ["b"]
    assert await changes_in(store) == 1


async def test_a_statement_past_its_time_is_stopped_by_the_server(make_store: StoreMaker) -> None:
    store = await make_store(options=StoreOptions(unit_seconds=0.2, read_seconds=0.2, writers=1, readers=1))

    def slow(unit: Unit) -> None:
        unit.run(SQL.add_plain_thing, id="a", title="slow", size=1)
        unit.one(NAP, seconds=30)

    with pytest.raises(UnitTooLong):
        await store.unit(ACT, slow)
    with pytest.raises(UnitTooLong):
        await store.read(lambda reader: reader.one(NAP, seconds=30))
    await store.unit(ACT, adds("b", size=1))
    assert await changes_in(store) == 1


async def test_a_unit_that_dawdles_between_statements_is_stopped(make_store: StoreMaker, clock: ManualClock) -> None:
    store = await make_store(clock=clock)

    def dawdles(unit: Unit) -> None:
        unit.run(SQL.add_plain_thing, id="a", title="slow", size=1)
        clock.advance(60)

    with pytest.raises(UnitTooLong, match="5 seconds"):
        await store.unit(ACT, dawdles)
    assert await changes_in(store) == 0


@pytest.mark.guards(
    "An acknowledged unit of work is durable even where the database's own settings let commits return early.",
    against="synchronous_commit = off on the server or the role: acknowledged work lost with the server's crash.",
    breaks=("postgres-lazy-durability",),
)
async def test_commits_wait_for_the_disk_whatever_the_database_says(make_store: StoreMaker) -> None:
    place = make_store.place()
    with psycopg.connect(str(place.url), autocommit=True) as admin:
        name = sql.Identifier(admin.info.dbname)
        admin.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(name))
    store = await make_store(at=place)
    told = query("told", sqlite="SELECT current_setting('synchronous_commit') AS told")
    assert await store.unit(ACT, lambda unit: unit.one(told)) == {"told": "on"}


# --- values --------------------------------------------------------------------------------------------------------


async def test_text_with_a_nul_character_breaks_a_rule(store: Store) -> None:
    with pytest.raises(BrokenRule):
        await store.unit(ACT, lambda unit: unit.run(SQL.add_plain_thing, id="a", title="nul \x00 inside", size=1))
    assert await changes_in(store) == 0
