"""What is special to the SQLite engine: groups that share a commit, groups that are lost, a log that stays bounded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from holdfast.core import faults
from holdfast.core.errors import StoreBusy, StoreLost, StoreReadOnly, StoreRefused
from holdfast.core.store import sql
from holdfast.core.store.options import StoreOptions
from holdfast.core.store.port import Reader, Store, Unit
from holdfast.core.store.prepare import DATABASE
from holdfast.core.store.sqlite import SqliteStore
from holdfast.core.store.sqlite_checkpoints import AFTER_CHECKPOINT
from holdfast.core.store.sqlite_writer import AFTER_COMMIT, BEFORE_COMMIT, UNIT_DONE
from testpack import ACT, SQL

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StoreMaker

LIMIT = 20.0
#: A read that holds its view for some 10 ms.
DAWDLES = sql.query(
    "dawdles",
    sqlite="SELECT (SELECT count(*) FROM things) + (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
    "WHERE i < 100000) SELECT count(*) FROM n) AS count",
)


@pytest.fixture
def engine() -> str:
    return "sqlite"


def adds(name: str, length: int = 7) -> Callable[[Unit], int]:
    return lambda unit: unit.run(SQL.add_plain_thing, id=name, title="x" * length, size=1)


async def names(store: Store) -> list[str]:
    return [row["id"] for row in await store.read(lambda reader: reader.all(SQL.things))]


@pytest.mark.guards(
    "nobody is answered, and nothing can be read, before the commit",
    against="an answer that runs ahead of the commit is a promise that a crash breaks",
    breaks=("sqlite-answers-before-the-commit",),
)
async def test_nobody_is_answered_before_the_commit(make_store: StoreMaker) -> None:
    store = await make_store()
    gate = faults.Gate()
    with faults.armed(BEFORE_COMMIT, gate):
        asked = asyncio.ensure_future(store.unit(ACT, adds("a")))
        assert await asyncio.to_thread(gate.reached.wait, LIMIT)
        assert await names(store) == []  # takes the event loop round, past any early answer
        assert not asked.done()
        gate.open()
        assert await asked == 1
    assert await names(store) == ["a"]


@pytest.mark.guards(
    "a group whose commit fails runs again unit by unit, and every unit is there once",
    against="a commit that fails for one reason fails everybody in it, or somebody is written twice",
    breaks=("sqlite-group-lost-for-all",),
)
@pytest.mark.parametrize("point", [BEFORE_COMMIT, UNIT_DONE], ids=lambda point: point.name)
async def test_a_lost_group_runs_again_unit_by_unit(make_store: StoreMaker, point: faults.Point) -> None:
    store = await make_store()
    with faults.armed(point, faults.raising(StoreLost("the disk hiccups"))):
        asked = [store.unit(ACT, adds(f"u{n}")) for n in range(5)]
        assert await asyncio.gather(*asked) == [1] * 5
    assert await names(store) == [f"u{n}" for n in range(5)]
    log = await store.read(lambda reader: reader.all(SQL.log))
    assert [row["entity_id"] for row in log] == [f"u{n}" for n in range(5)]


@pytest.mark.guards(
    "the writer outlives a surprise: who waited is told, and the next unit is served",
    against="a dead writer thread leaves every caller waiting for ever in a daemon that looks alive",
    breaks=("sqlite-writer-dies-of-a-surprise",),
)
async def test_the_writer_outlives_a_surprise(make_store: StoreMaker) -> None:
    store = await make_store()
    surprise = faults.raising(ZeroDivisionError("nobody thought of this"))
    with faults.armed(AFTER_COMMIT, surprise), pytest.raises(StoreLost, match="nobody thought of this"):
        await asyncio.wait_for(store.unit(ACT, adds("a")), LIMIT)
    assert await asyncio.wait_for(store.unit(ACT, adds("b")), LIMIT) == 1
    assert "b" in await names(store)


async def test_a_unit_may_raise_what_is_no_exception_without_harm(make_store: StoreMaker) -> None:
    store = await make_store()

    def leaves(_: Unit) -> None:
        raise SystemExit(3)

    asked = (store.unit(ACT, adds("a")), failing(store, leaves), store.unit(ACT, adds("b")))
    assert list(await asyncio.gather(*asked)) == [1, "left with 3", 1]


async def failing(store: Store, work: Callable[[Unit], Any]) -> str:
    try:
        await store.unit(ACT, work)
    except SystemExit as error:
        return f"left with {error.code}"
    return "stayed"


async def test_a_coroutine_function_is_refused_as_work(make_store: StoreMaker) -> None:
    store = await make_store()

    async def work(unit: Unit) -> None:
        adds("never")(unit)

    with pytest.raises(TypeError, match="plain function"):
        await asyncio.wait_for(store.unit(ACT, work), LIMIT)  # type: ignore[unused-coroutine]
    assert await names(store) == []


@pytest.mark.guards(
    "the write-ahead log stays bounded while writers and readers never pause",
    against="a log that is never folded fills the disk and slows every read",
    breaks=("sqlite-never-checkpoints", "sqlite-checkpoint-never-insists"),
)
async def test_the_log_stays_bounded_under_endless_writing_and_reading(make_store: StoreMaker) -> None:
    place = make_store.place()
    limit = 64 * 1024
    store = await make_store(at=place, options=StoreOptions(wal_bytes=limit, readers=4))
    done = asyncio.Event()

    async def writes(caller: int) -> None:
        for count in range(180):
            await store.unit(ACT, adds(f"{caller}.{count}", 4_000))

    async def reads() -> None:
        while not done.is_set():
            await store.read(lambda reader: reader.one(DAWDLES))

    # So many that at every moment somebody reads: the log begins anew only because newcomers are made to wait.
    reading = [asyncio.ensure_future(reads()) for _ in range(4)]
    await asyncio.gather(*(writes(caller) for caller in range(8)))
    done.set()
    await asyncio.gather(*reading)
    # 1,440 things of 4 kB and their log rows pass through: some 24 MB of pages. The log file never shrinks while it is
    # open, so its size is the most that it ever held; how far it outgrows its bound hangs on who gets the processor.
    assert (place.data / f"{DATABASE}-wal").stat().st_size < 128 * limit
    assert len(await names(store)) == 1_440


async def test_a_reader_that_stands_still_holds_no_writer_up(make_store: StoreMaker) -> None:
    store = await make_store(options=StoreOptions(wal_bytes=16 * 1024, read_seconds=LIMIT))
    looked, go = threading.Event(), threading.Event()

    def stands(reader: Reader) -> list[Any]:
        before = reader.one(SQL.count_things)
        looked.set()
        assert go.wait(LIMIT)
        return [before, reader.one(SQL.count_things)]

    reading = asyncio.ensure_future(store.read(stands))
    assert await asyncio.to_thread(looked.wait, LIMIT)
    for count in range(12):
        await asyncio.wait_for(store.unit(ACT, adds(f"u{count}", 4_000)), LIMIT)
    go.set()
    assert await reading == [{"count": 0}, {"count": 0}]
    assert len(await names(store)) == 12


async def test_closing_folds_the_log_into_the_file(make_store: StoreMaker) -> None:
    place = make_store.place()
    store = await make_store(at=place)
    await store.unit(ACT, adds("a"))
    assert (place.data / f"{DATABASE}-wal").exists()
    await store.close()
    assert not (place.data / f"{DATABASE}-wal").exists()


async def test_a_checkpoint_runs_beside_the_writer(make_store: StoreMaker) -> None:
    store = await make_store(options=StoreOptions(wal_bytes=4_096))
    folded = threading.Event()
    with faults.armed(AFTER_CHECKPOINT, folded.set):
        for count in range(4):
            await store.unit(ACT, adds(f"u{count}", 4_000))
        assert await asyncio.to_thread(folded.wait, LIMIT)


async def test_a_foreign_lock_on_the_file_is_a_busy_store(make_store: StoreMaker) -> None:
    place = make_store.place()
    store = await make_store(at=place, options=StoreOptions(busy_seconds=0.05))
    other = apsw.Connection(str(place.data / DATABASE))
    other.execute("BEGIN IMMEDIATE")
    outcomes = await asyncio.gather(*(store.unit(ACT, adds(f"u{n}")) for n in range(3)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {StoreBusy}
    other.execute("ROLLBACK")
    other.close()
    assert await store.unit(ACT, adds("a")) == 1
    assert await names(store) == ["a"]


async def test_what_is_written_past_the_units_is_logged_as_from_outside(make_store: StoreMaker) -> None:
    place = make_store.place()
    store = await make_store(at=place)
    await store.unit(ACT, adds("inside"))
    other = apsw.Connection(str(place.data / DATABASE))
    other.execute("INSERT INTO things (id, title, size) VALUES ('outside', 'by hand', 1)")
    other.close()
    log = await store.read(lambda reader: reader.all(SQL.log))
    assert [(row["entity_id"], row["actor"]) for row in log] == [("inside", ACT.actor), ("outside", "outside")]


async def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "nothing.db", uuid="none", effects_held=False)
    with pytest.raises((StoreLost, StoreReadOnly, StoreRefused), match=r"nothing\.db"):
        await store.start()
    assert not (tmp_path / "nothing.db").exists()
    await store.close()
