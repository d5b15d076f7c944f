"""The disk is full: who does not fit is told so, who fits is served, nothing is torn, and room makes it go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from holdfast.core.errors import StoreFull
from holdfast.core.store.options import StoreOptions
from holdfast.core.store.port import Store, Unit
from testpack import ACT, SQL
from vfs import Disk, noted_disk

if TYPE_CHECKING:
    from conftest import StoreMaker

OPTIONS = StoreOptions(vfs="narrow", readers=1)
# More than the page cache holds (2 MB), so that SQLite meets the full disk in the middle of the unit.
HUGE = 4_000_000
BIG = 400_000
ROOM = 100_000


@pytest.fixture
def engine() -> str:
    return "sqlite"


@pytest.fixture
def disk() -> Iterator[Disk]:
    with noted_disk("narrow") as disk:
        yield disk


def adds(name: str, length: int = 10) -> Callable[[Unit], int]:
    return lambda unit: unit.run(SQL.add_plain_thing, id=name, title="x" * length, size=length)


def adds_then_swallows(name: str, length: int) -> Callable[[Unit], str]:
    def work(unit: Unit) -> str:
        try:
            for piece in range(8):
                adds(f"{name}{piece}", length // 8)(unit)
        except StoreFull:
            adds("after the fault")(unit)
        return "all is well"

    return work


async def names(store: Store) -> list[str]:
    return [row["id"] for row in await store.read(lambda reader: reader.all(SQL.things))]


async def logged(store: Store) -> list[str]:
    return sorted(row["entity_id"] for row in await store.read(lambda reader: reader.all(SQL.log)))


@pytest.mark.guards(
    "a unit that does not fit on the disk is told so, and its neighbours in the commit are written",
    against="one big write on a nearly full disk takes down everybody who commits with it",
    breaks=("sqlite-group-lost-for-all",),
)
@pytest.mark.parametrize("length", [BIG, HUGE], ids=["fails at the commit", "fails in the middle of the unit"])
async def test_a_unit_that_does_not_fit_takes_no_neighbour_down(
    make_store: StoreMaker, disk: Disk, length: int
) -> None:
    store = await make_store(options=OPTIONS)
    await store.unit(ACT, adds("before"))
    disk.room = ROOM
    works = (adds("a"), adds("too-big", length), adds("b"))
    outcomes = await asyncio.gather(*(store.unit(ACT, work) for work in works), return_exceptions=True)
    assert disk.refused > 0
    assert isinstance(outcomes[1], StoreFull)
    assert [outcomes[0], outcomes[2]] == [1, 1]
    assert await names(store) == ["a", "b", "before"]
    assert await logged(store) == ["a", "b", "before"]


@pytest.mark.guards(
    "on a full disk every write is refused with its own error, reads go on, and writes go on when there is room",
    against="a full disk leaves the store dead, half-written or lying until a restart",
    breaks=("sqlite-full-is-untyped",),
)
async def test_a_full_disk_is_survived(make_store: StoreMaker, disk: Disk) -> None:
    place = make_store.place()
    store = await make_store(at=place, options=OPTIONS)
    await store.unit(ACT, adds("before"))
    disk.room = 0
    for _ in range(3):
        outcomes = await asyncio.gather(
            *(store.unit(ACT, adds(f"u{n}", BIG)) for n in range(3)), return_exceptions=True
        )
        for outcome in outcomes:
            assert isinstance(outcome, StoreFull)
            assert outcome.retryable
        assert await names(store) == ["before"]
    disk.room = None
    assert await asyncio.gather(*(store.unit(ACT, adds(f"u{n}", BIG)) for n in range(3))) == [1, 1, 1]
    await store.close()
    again = await make_store(at=place)
    assert await names(again) == ["before", "u0", "u1", "u2"]
    assert await logged(again) == ["before", "u0", "u1", "u2"]


@pytest.mark.guards(
    "a unit that swallows the error of a full disk cannot go on outside its transaction",
    against="SQLite has undone the whole group by itself, and what comes next would commit alone",
    breaks=("sqlite-swallowed-error-commits",),
)
async def test_a_swallowed_full_disk_does_not_commit_what_follows(make_store: StoreMaker, disk: Disk) -> None:
    store = await make_store(options=OPTIONS)
    disk.room = ROOM
    asked = (store.unit(ACT, adds("a")), store.unit(ACT, adds_then_swallows("swallowed", HUGE)))
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert outcomes[0] == 1
    assert isinstance(outcomes[1], StoreFull)
    assert await names(store) == ["a"]
