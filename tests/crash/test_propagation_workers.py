"""Many do propagations at once: each effect is had once, by one of them."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crash.propagating.owing import PACKS, all_done, kind, owe, running, until
from crash.propagating.worker import CHEAP, SHARED
from crash.propagating.workers import ONE, Place
from holdfast.core.clock import SYSTEM
from holdfast.core.propagation.outcome import Done, Outcome
from holdfast.core.store.lock import hold_data
from holdfast.core.store.opening import StoreConfig, open_store
from holdfast.core.store.sql import query

if TYPE_CHECKING:
    from conftest import StoreMaker

#: `make crash` does 20,000.
EFFECTS = 20_000 if "HOLDFAST_CRASH_ROUNDS" in os.environ else 2_000
OVERLAPPING = 8
UNDER_WAY = query("under_way", sqlite="SELECT count(DISTINCT claim) AS n FROM propagations WHERE claim IS NOT NULL")


async def owe_all(place: Place, data: Path, count: int) -> None:
    with hold_data(data) as lock:
        store = await open_store(StoreConfig(data, PACKS, place.url, options=ONE), lock)
        for start in range(0, count, 500):
            await owe(store, SHARED, *range(start, start + 500))
            await owe(store, CHEAP, *range(start, start + 500))
        await store.close()


@pytest.mark.crash
@pytest.mark.guards(
    "Of many processes on one database each effect is had by one, once, and recorded once.",
    against="Two workers that claim the same row at the same moment both do it.",
    breaks=("propagation-claims-what-is-claimed", "propagation-claims-without-locks"),
)
@pytest.mark.parametrize("count", [2, 8])
@pytest.mark.timeout(900)
async def test_many_processes_do_each_effect_once(tmp_path: Path, new_database: Callable[[], str], count: int) -> None:
    with Place(tmp_path, new_database()).ending() as place:
        data = tmp_path / "data-0"
        data.mkdir()
        await owe_all(place, data, EFFECTS // 2)
        workers = [place.worker("share", number=number) for number in range(count)]
        for worker in workers:
            assert worker.says() == "ready"  # each has rows under way
        for worker in workers:
            worker.go()
        for worker in workers:
            assert worker.says() == "late 0"
            assert worker.says() == "done"
            assert worker.ended()[0] == 0
        owed, done = await place.left()
    assert owed == []
    expected = {str(n): 1 for n in range(EFFECTS // 2)}
    for shared in (SHARED, CHEAP):
        assert Counter(place.outside.told(shared.name)) == expected
    assert Counter((row["kind"], row["state"]) for row in done) == {
        (SHARED.name, "done"): EFFECTS // 2,
        (CHEAP.name, "done"): EFFECTS // 2,
    }
    assert {(row["attempts"], row["starts"]) for row in done} == {(0, 0)}


@pytest.mark.crash
@pytest.mark.guards(
    "Of many tries at once in one process each effect is had once, and recorded once.",
    against="A row that is claimed again while it is under way.",
    breaks=("propagation-claims-what-is-claimed",),
)
@pytest.mark.timeout(900)
async def test_many_tries_at_once_do_each_effect_once(make_store: StoreMaker) -> None:
    store = await make_store(packs=PACKS)
    one = kind(concurrency=OVERLAPPING)
    seen, most, now = Counter[int](), 0, 0
    together, over = asyncio.Event(), asyncio.Event()

    async def effect(job: Any) -> Outcome:
        nonlocal most, now
        now += 1
        most = max(most, now)
        if now == OVERLAPPING:
            together.set()
        await together.wait()  # the first ones wait for one another: they overlap
        await asyncio.sleep(0)
        seen[job.payload.n] += 1
        now -= 1
        if seen.total() == EFFECTS:
            over.set()
        return Done()

    for start in range(0, EFFECTS, 500):
        await owe(store, one, *range(start, start + 500))
    async with running(store, SYSTEM, {one: effect}) as runner:
        await until(store, lambda reader: reader.one(UNDER_WAY))
        await asyncio.wait_for(over.wait(), 600)
        done = await all_done(store)
        assert runner.late == 0
    assert seen == Counter(dict.fromkeys(range(EFFECTS), 1))
    assert most == OVERLAPPING
    assert [row["state"] for row in done] == ["done"] * EFFECTS
