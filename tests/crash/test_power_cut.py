"""The power goes: what was acknowledged is on the disk, whatever the disk had not been told to keep is lost."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest

from holdfast.core import faults
from holdfast.core.errors import StoreLost
from holdfast.core.store.options import StoreOptions
from holdfast.core.store.port import Store, Unit
from holdfast.core.store.prepare import DATABASE
from holdfast.core.store.sqlite_checkpoints import AFTER_CHECKPOINT
from testpack import ACT, SQL
from vfs import Disk, noted_disk

if TYPE_CHECKING:
    from conftest import StoreMaker

WAL = f"{DATABASE}-wal"
OPTIONS = StoreOptions(vfs="noted", wal_bytes=12 * 4096, readers=2)
WRITERS, UNITS = 6, 12
MOMENTS = 160


@pytest.fixture
def engine() -> str:
    return "sqlite"


@pytest.fixture
def disk() -> Iterator[Disk]:
    with noted_disk("noted") as disk:
        yield disk


def pair(name: str) -> Callable[[Unit], None]:
    """Two rows that only ever stand together."""

    def work(unit: Unit) -> None:
        unit.run(SQL.add_plain_thing, id=f"{name}-l", title="left" * 20, size=1)
        unit.run(SQL.add_plain_thing, id=f"{name}-r", title="right" * 20, size=1)

    return work


async def write(store: Store, disk: Disk) -> None:
    """Write pairs from several callers at once, noting each that is acknowledged."""

    async def caller(number: int) -> None:
        for count in range(UNITS):
            await store.unit(ACT, pair(f"{number}.{count:02}"))
            disk.say(f"{number}.{count:02}")

    folded = threading.Event()
    with faults.armed(AFTER_CHECKPOINT, folded.set):
        await asyncio.gather(*(caller(number) for number in range(WRITERS)))
        assert await asyncio.to_thread(folded.wait, 30)


def found_after(files: dict[str, bytes], folder: Path) -> tuple[set[str], list[str]]:
    """The things and the log's rows in what the power cut left."""
    folder.mkdir()
    for name, held in files.items():
        (folder / name).write_bytes(held)
    connection = apsw.Connection(str(folder / DATABASE))
    assert connection.pragma("integrity_check") == "ok"
    things = {str(row[0]) for row in connection.execute("SELECT id FROM things")}
    logged = [str(row[0]) for row in connection.execute("SELECT entity_id FROM change_log ORDER BY seq")]
    connection.close()
    return things, logged


def moments(disk: Disk, luck: random.Random) -> list[int]:
    """Just after every third acknowledgement, when a missing sync hurts most, and at random in between."""
    told = [index + 1 for index, note in enumerate(disk.notes) if note.kind == "said"][::3]
    return sorted({*told, *(luck.randrange(len(disk.notes) + 1) for _ in range(MOMENTS - len(told)))})


@pytest.mark.guards(
    "what was acknowledged survives a power cut at any moment, whole and once, and the log agrees with the facts",
    against="a commit that is reported before the disk holds it; kill -9 never shows that",
    breaks=("sqlite-synchronous-off", "sqlite-synchronous-normal"),
)
@pytest.mark.parametrize("lucky", [False, True], ids=["all unsynced is lost", "sectors survive at random"])
async def test_acknowledged_units_survive_a_power_cut(
    make_store: StoreMaker, disk: Disk, tmp_path: Path, lucky: bool
) -> None:
    store = await make_store(options=OPTIONS)
    await write(store, disk)
    await store.close()
    luck = random.Random(2026)
    for at in moments(disk, luck):
        files = disk.after_power_cut(at, luck if lucky else None)
        things, logged = found_after(files, tmp_path / f"cut{at}")
        promised = {note.name for note in disk.notes[:at] if note.kind == "said"}
        there = {name[:-2] for name in things}
        assert promised <= there, f"the cut before note {at} lost acknowledged units"
        assert things == {f"{name}-{side}" for name in there for side in "lr"}
        assert len(logged) == len(set(logged))
        assert set(logged) == things


@pytest.mark.guards(
    "between the write of a unit and its acknowledgement lies exactly one sync of the log",
    against="an acknowledgement without a sync loses the unit; a second sync doubles what every write costs",
    breaks=("sqlite-synchronous-off", "sqlite-synchronous-normal"),
)
async def test_one_sync_lies_between_a_write_and_its_acknowledgement(make_store: StoreMaker, disk: Disk) -> None:
    store = await make_store(options=StoreOptions(vfs="noted"))
    await store.unit(ACT, pair("first"))  # begins the log, which takes a sync of its own
    for count in range(5):
        begin = len(disk.notes)
        await store.unit(ACT, pair(f"next{count}"))
        happened = [(note.kind, note.name) for note in disk.notes[begin:]]
        assert happened[0] == ("write", WAL)
        assert happened.count(("sync", WAL)) == 1
        assert happened[-1] == ("sync", WAL)
        assert {name for _, name in happened} == {WAL}


@pytest.mark.guards(
    "units that are asked for together share one commit and its one sync",
    against="every unit pays for a sync of its own, and the store is as slow as its disk",
    breaks=("sqlite-no-groups",),
)
async def test_a_group_of_units_shares_one_sync(make_store: StoreMaker, disk: Disk) -> None:
    store = await make_store(options=StoreOptions(vfs="noted"))
    await store.unit(ACT, pair("first"))
    begin = len(disk.notes)
    await asyncio.gather(*(store.unit(ACT, pair(f"u{number}")) for number in range(40)))
    assert [note.kind for note in disk.notes[begin:]].count("sync") == 1


async def test_reading_writes_and_syncs_nothing(make_store: StoreMaker, disk: Disk) -> None:
    store = await make_store(options=StoreOptions(vfs="noted"))
    await store.unit(ACT, pair("first"))
    begin = len(disk.notes)
    await store.read(lambda reader: reader.all(SQL.things))
    await store.unit(ACT, lambda unit: unit.all(SQL.things))
    assert disk.notes[begin:] == []


@pytest.mark.guards(
    "a unit whose sync failed is not acknowledged, and the store goes on when the disk does",
    against="a failing disk whose error is lost: the caller believes in a write that is nowhere",
    breaks=("sqlite-synchronous-off",),
)
async def test_a_failed_sync_is_not_acknowledged(make_store: StoreMaker, disk: Disk) -> None:
    store = await make_store(options=StoreOptions(vfs="noted"))
    await store.unit(ACT, pair("before"))
    disk.broken = True
    outcomes = await asyncio.gather(
        *(store.unit(ACT, pair(f"u{number}")) for number in range(3)), return_exceptions=True
    )
    assert {type(outcome) for outcome in outcomes} == {StoreLost}
    disk.broken = False
    await store.unit(ACT, pair("after"))
    rows = await store.read(lambda reader: reader.all(SQL.things))
    assert {row["id"][:-2] for row in rows} == {"before", "after"}
