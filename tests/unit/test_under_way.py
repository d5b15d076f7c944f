"""What a process is doing: another claim of the same row is never meant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from holdfast.core.propagation.claims import Claimed
from holdfast.core.propagation.kinds import Kind
from holdfast.core.propagation.schedule import STANDARD
from holdfast.core.propagation.under_way import Driver, UnderWay


class Note(msgspec.Struct):
    """Nothing."""


ONE: Kind[Any] = Kind(name="test.one", doc="A note.", payload=Note, schedule=STANDARD)
OTHER: Kind[Any] = Kind(name="test.other", doc="A note.", payload=Note, schedule=STANDARD)


def row(row_id: int, claim: str = "run_us.1", kind: Kind[Any] = ONE, starts: int = 1) -> Claimed:
    return Claimed(kind, claim, row_id, None, None, "{}", "eff", None, 0, starts)


Makes = Callable[..., Driver]


@pytest.fixture
async def driver() -> AsyncIterator[Makes]:
    """Makes drivers whose tasks go on until they are cancelled."""
    made: list[Driver] = []

    async def tries() -> None:
        await asyncio.Event().wait()

    def make(*rows: Claimed, ended: list[Driver] | None = None) -> Driver:
        driver = Driver(list(rows), ended.append if ended is not None else lambda _: None)
        driver.task = asyncio.create_task(tries())
        driver.task.add_done_callback(driver.ended_by)
        made.append(driver)
        return driver

    yield make
    for each in made:
        each.cancel()
    await asyncio.gather(*(each.task for each in made if each.task is not None), return_exceptions=True)


async def test_a_row_is_under_way_by_the_claim_that_was_added(driver: Makes) -> None:
    ours = UnderWay()
    ours.add(driver(row(1)))
    assert (1, "run_us.1") in ours
    assert (1, "run_us.2") not in ours
    assert (2, "run_us.1") not in ours
    assert len(ours) == 1


async def test_forgetting_an_earlier_claim_leaves_the_row_under_way(driver: Makes) -> None:
    ours = UnderWay()
    ours.add(driver(row(1, "run_us.2")))
    ours.forget(row(1, "run_us.1"))
    assert ours.rows() == [row(1, "run_us.2")]
    ours.forget(row(1, "run_us.2"))
    assert (ours.rows(), list(ours.drivers())) == ([], [])
    ours.forget(row(1, "run_us.2"))  # and again


@pytest.mark.guards(
    "Breaking off an earlier claim of a row leaves the try under the present one alone.",
    against="A heartbeat that comes late breaks off what has just begun, and the row is held and never done.",
    breaks=("propagation-heart-breaks-off-the-next-try",),
)
async def test_breaking_off_an_earlier_claim_leaves_the_new_try_alone(driver: Makes) -> None:
    ours, present = UnderWay(), driver(row(1, "run_us.2"))
    ours.add(present)
    ours.break_off(row(1, "run_us.1"))
    assert (present.cut, (1, "run_us.2") in ours) == (False, True)
    ours.break_off(row(1, "run_us.2"))
    assert (present.cut, len(ours)) == (True, 0)


async def test_a_row_of_a_batch_that_is_lost_leaves_the_others_at_it(driver: Makes) -> None:
    ours, batch = UnderWay(), driver(row(1), row(2))
    ours.add(batch)
    ours.break_off(row(2))
    assert (batch.cut, ours.rows()) == (False, [row(1)])


async def test_a_row_that_is_claimed_again_breaks_off_its_earlier_try(driver: Makes) -> None:
    ours, before, after = UnderWay(), driver(row(1, "run_us.1")), driver(row(1, "run_us.2"))
    ours.add(before)
    ours.add(after)
    assert (before.cut, after.cut) == (True, False)
    assert (ours.rows(), list(ours.drivers())) == ([row(1, "run_us.2")], [after])


async def test_rows_are_told_by_kind_and_drivers_once(driver: Makes) -> None:
    ours = UnderWay()
    batch, alone = driver(row(1), row(2)), driver(row(3, kind=OTHER))
    ours.add(batch)
    ours.add(alone)
    assert ours.by_kind() == [(ONE, [row(1), row(2)]), (OTHER, [row(3, kind=OTHER)])]
    assert list(ours.drivers()) == [batch, alone]


async def test_a_driver_ends_once_and_only_by_its_own_task(driver: Makes) -> None:
    ended: list[Driver] = []
    one, other = driver(row(1), ended=ended), driver(row(2))
    assert other.task is not None
    one.ended_by(other.task)
    assert ended == []
    one.cancel()
    assert one.task is not None
    await asyncio.gather(one.task, return_exceptions=True)
    one.end()
    assert ended == [one]


async def test_a_suspect_is_told_by_its_starts(driver: Makes) -> None:
    assert [driver(row(1, starts=starts)).suspect for starts in (1, 2)] == [False, True]
