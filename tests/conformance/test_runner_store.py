"""The runner over a store that cannot, that closes, that is in doubt; and rows whose lease is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from crash.propagating.owing import (
    LIMIT,
    PACKS,
    Tries,
    all_done,
    kind,
    ledger,
    owe,
    registry,
    rows,
    running,
    soon,
)
from holdfast.core import faults
from holdfast.core.errors import StoreBusy, StoreFull, StoreInDoubt
from holdfast.core.propagation import claims
from holdfast.core.propagation.outcome import Done, Outcome, Retry
from holdfast.core.propagation.queue import TOPIC
from holdfast.core.propagation.runner import Runner
from holdfast.core.store.port import Act, Store, Unit
from holdfast.core.store.sql import query
from manual_clock import ManualClock
from testpack import ACT, SQL

if TYPE_CHECKING:
    from conftest import StoreMaker

ONE = kind()
OTHER = kind("test.other")


@pytest.fixture
async def store(make_store: StoreMaker, clock: ManualClock) -> Store:
    return await make_store(packs=PACKS, clock=clock)


@pytest.mark.guards(
    "An outcome that the store cannot take just now is written when it can.",
    against="A full disk or a busy database makes an effect that has happened happen again.",
    breaks=("propagation-outcome-is-tried-once", "propagation-facts-are-tried-once"),
)
@pytest.mark.parametrize("error", [StoreFull("no room"), StoreBusy("busy"), StoreInDoubt("who knows")])
@pytest.mark.parametrize("with_facts", [False, True], ids=["plain", "with facts"])
async def test_no_outcome_is_lost_while_the_store_cannot_take_it(
    store: Store, clock: ManualClock, error: Exception, with_facts: bool
) -> None:
    refused: list[Exception] = []
    tried: list[int] = []

    def refuse() -> None:
        if len(refused) < 3:
            refused.append(error)
            raise error

    def facts(unit: Unit) -> None:
        refuse()
        unit.run(SQL.add_plain_thing, id="fact", title="x", size=1)

    async def handler(job: Any) -> Outcome:
        tried.append(job.payload.n)
        return Done(facts if with_facts else None)

    with always(claims.SETTLING, lambda: None if with_facts else refuse()):
        await owe(store, ONE, 1)
        async with running(store, clock, {ONE: handler}):
            await all_done(store, clock)
    assert (tried, len(refused)) == ([1], 3)
    assert [each["state"] for each in await ledger(store)] == ["done"]
    assert len(await store.read(lambda reader: reader.all(SQL.things))) == with_facts


@contextmanager
def always(point: faults.Point, act: Callable[[], None]) -> Iterator[None]:
    """Act at every hit, not only at one."""
    with faults.armed(point, act):
        faults._armed[point.name] = Every(act)
        yield


class Every(faults._Armed):
    """Armed for each hit."""

    @property
    def nth(self) -> int:  # type: ignore[override]
        return self.hits

    @nth.setter
    def nth(self, _: int) -> None:
        """Whatever was asked for."""


@pytest.mark.guards(
    "A store that closes under a runner ends it in an orderly way; what was under way is done by the next one.",
    against="A daemon that goes down in order reports a death, or forgets what it had begun.",
    breaks=("propagation-dies-of-a-closed-store", "propagation-rescues-nobody"),
)
@pytest.mark.parametrize("with_facts", [False, True], ids=["plain", "with facts"])
async def test_a_store_that_closes_ends_the_runner(
    make_store: StoreMaker, clock: ManualClock, with_facts: bool
) -> None:
    store = await make_store(packs=PACKS, clock=clock)
    place, go, tried = make_store.place_of(store), asyncio.Event(), []

    async def handler(job: Any) -> Outcome:
        tried.append(job.payload.n)
        await go.wait()
        return Done(then=(lambda unit: None) if with_facts else None)

    await owe(store, ONE, 1)
    runner = Runner(store, registry({ONE: handler}), clock, drain_seconds=LIMIT)
    await runner.start()
    await soon(lambda: tried)
    await store.close()
    go.set()
    if not with_facts:  # otherwise there is nothing left that would ask the store
        await asyncio.wait_for(asyncio.shield(runner._tasks[0]), LIMIT)
    await asyncio.wait_for(runner.stop(), LIMIT)
    again = await make_store(at=place, packs=PACKS, clock=clock)
    async with running(again, clock, {ONE: handler}, sweep_seconds=20.0):
        await all_done(again, clock)
    assert tried == [1, 1]
    assert [each["state"] for each in await ledger(again)] == ["done"]


class InDoubt:
    """A store that does one claim of the runner's and tells it that nobody knows."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.doubts = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def unit(self, act: Act, work: Callable[[Unit], Any], *, guarded: bool = False) -> Any:
        result = await self.inner.unit(act, work, guarded=guarded)
        if not self.doubts and getattr(result, "claimed", None):
            self.doubts += 1
            raise StoreInDoubt("the connection broke")
        return result


@pytest.mark.guards(
    "What was claimed without the runner's being told is given back and done, as if it had not been claimed.",
    against="Rows that this process holds for as long as it lives and never does.",
    breaks=("propagation-keeps-what-it-was-not-told",),
)
async def test_claims_that_nobody_was_told_of_are_given_back(store: Store, clock: ManualClock) -> None:
    doubtful, tries = InDoubt(store), Tries(is_open=True)
    async with running(doubtful, clock, {ONE: tries}):
        await owe(store, ONE, 1, 2)
        await soon(lambda: doubtful.doubts)
        assert {each["claim"] is not None for each in await rows(store)} == {True}
        await all_done(store, clock)
    assert sorted(tries.tried) == [1, 2]
    assert {(each["attempts"], each["starts"]) for each in await ledger(store)} == {(0, 0)}


# --- the fence -------------------------------------------------------------------------------------------------------

STEAL = query("steal", sqlite="UPDATE propagations SET claim = 'other.1'")


@pytest.mark.guards(
    "An outcome that comes after its lease was lost is not written, brings no facts, and is counted.",
    against="A process that was away overwrites what the one that took over is doing, or has done.",
    breaks=("propagation-outcomes-need-no-lease", "propagation-facts-need-no-lease"),
)
@pytest.mark.parametrize("outcome", ["done", "retry", "facts"])
async def test_an_outcome_without_its_lease_is_a_counted_no_op(store: Store, clock: ManualClock, outcome: str) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def handler(_: object) -> Outcome:
        begun.set()
        await go.wait()
        facts = Done(lambda unit: unit.run(SQL.add_plain_thing, id="fact", title="x", size=1) and None)
        return {"done": Done(), "retry": Retry(), "facts": facts}[outcome]

    await owe(store, ONE, 1)
    async with running(store, clock, {ONE: handler}) as runner:
        await begun.wait()
        await store.unit(ACT, lambda unit: unit.run(STEAL))
        before = await rows(store)
        go.set()
        await soon(lambda: runner.late)
        await soon(lambda: not runner.under_way)
    assert runner.late == 1
    assert await rows(store) == before
    assert await ledger(store) == []
    assert await store.read(lambda reader: reader.all(SQL.things)) == []


RESCUE = query("rescue", sqlite="UPDATE propagations SET claim = NULL")


@pytest.mark.guards(
    "A process that claims again what it had lost breaks off its earlier try of it.",
    against="One process does the same effect twice at the same time.",
    breaks=("propagation-tries-beside-itself",),
)
async def test_a_row_that_comes_back_is_not_tried_beside_itself(store: Store, clock: ManualClock) -> None:
    tries = Tries()
    await owe(store, ONE, 1)
    async with running(store, clock, {ONE: tries}) as runner:
        await soon(lambda: tries.tried)

        def rescue(unit: Unit) -> None:
            unit.run(RESCUE)
            unit.announce(TOPIC)

        await store.unit(ACT, rescue)
        await soon(lambda: tries.tried == [1, 1])
        await soon(lambda: tries.cancelled == [1])
        tries.gate.set()
        [done] = await all_done(store)
        assert runner.late == 0
    assert (done["state"], done["starts"]) == ("done", 1)
