"""Ours for the queue: a store of the core and the propagations, as the daemon opens it, one kind, one runner.

The questions are those of `bench/peers/jobs.py`. They are answered on the event loop that the runner works on, as the
daemon's own requests are. A job is a row with its lease, fencing token and counts; when it is done its row moves to
the ledger and the triggers write an event of it into the change log.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from bench.peers.answer import Answer, serve_async
from bench.peers.jobs import LOST_SECONDS, WARM_UP, recording, spread
from holdfast.core.clock import SYSTEM
from holdfast.core.propagation.job import Job
from holdfast.core.propagation.kinds import Kind, Registry
from holdfast.core.propagation.outcome import Done, Outcome
from holdfast.core.propagation.pack import PROPAGATION
from holdfast.core.propagation.queue import enqueue
from holdfast.core.propagation.runner import Runner
from holdfast.core.propagation.schedule import INTERACTIVE
from holdfast.core.store.lock import hold_data
from holdfast.core.store.opening import StoreConfig, open_store
from holdfast.core.store.pack import CORE
from holdfast.core.store.port import Act, Store, Unit
from holdfast.core.store.sql import query

#: How the kind is declared; `plain` is a kind that says nothing of it.
MODES: dict[str, dict[str, Any]] = {
    "plain": {},
    "one": {"concurrency": 1},
    "32": {"concurrency": 32},
    "batched": {"concurrency": 2, "batch": 500},
}
ACT = Act("daemon", "bench")
#: Rows that are enqueued in one unit of work where only the work on them is measured.
FILL = 500
LEFT = query("left", sqlite="SELECT state, count(*) AS count FROM propagations GROUP BY state")
PACKAGES = ("apsw", "msgspec", "uvloop", "psycopg")


class Noop(msgspec.Struct):
    """Nothing to do, and its number."""

    number: int


class Ours:
    """The store, and a runner for as long as an experiment takes. `effect` gets the job's number."""

    def __init__(self, store: Store, mode: str, url: str | None) -> None:
        self.store = store
        self.url = url
        self.mode = mode
        self.kind = Kind(name="bench.noop", doc="Nothing.", payload=Noop, schedule=INTERACTIVE, **MODES[mode])
        self.effect: Callable[[int], object] = lambda _number: None
        self.gap = random.Random(6)

    async def _noop(self, job: Job[Noop]) -> Outcome:
        self.effect(job.payload.number)
        return Done()

    async def _started(self) -> Runner:
        runner = Runner(self.store, Registry([self.kind], {self.kind: self._noop}), SYSTEM)
        await runner.start()
        return runner

    def _owing(self, numbers: range) -> Callable[[Unit], None]:
        def work(unit: Unit) -> None:
            for number in numbers:
                enqueue(unit, self.kind, Noop(number))

        return work

    async def _left(self) -> dict[str, int]:
        """How many unfinished jobs there are in each state, as the queue's own table says."""
        rows = await self.store.read(lambda reader: reader.all(LEFT))
        return {row["state"]: row["count"] for row in rows}

    async def whoami(self) -> Answer:
        """Versions, and how the kind is declared."""
        versions = {name: metadata.version(name) for name in PACKAGES}
        return {"imports_holdfast": True, "versions": versions, "mode": self.mode, **MODES[self.mode]}

    async def fill(self, *, count: int) -> Answer:
        """Owe jobs 0 to `count` - 1; the peers' tables are vacuumed after that, and so is ours."""
        for first in range(0, count, FILL):
            await self.store.unit(ACT, self._owing(range(first, min(first + FILL, count))))
        if self.url is not None:
            await asyncio.to_thread(vacuumed, self.url)
        return {"count": count}

    async def drain(self) -> Answer:
        """From the first job until the queue's own table is empty, as `jobs.drain`."""
        wanted = sum((await self._left()).values())
        reached = asyncio.Event()
        seen, first = 0, 0.0

        def effect(_number: int) -> None:
            nonlocal seen, first
            if not seen:
                first = time.perf_counter()
            seen += 1
            if seen == wanted:
                reached.set()

        self.effect = effect
        begin = time.perf_counter()
        runner = await self._started()
        if wanted:
            await asyncio.wait_for(reached.wait(), 600)
        while await self._left():  # noqa: ASYNC110 - the table says so, and the peers' loops ask it as often
            await asyncio.sleep(0.001)
        seconds = time.perf_counter() - first
        await runner.stop()
        return {"seconds": seconds, "count": seen, "startup": first - begin}

    async def latency(self, *, count: int, seconds: float = 60.0) -> Answer:
        """Milliseconds from the enqueue until the handler runs, one job at a time, as `jobs.latency`."""
        known, called = [], []
        runner = await self._started()
        until = time.perf_counter() + seconds
        for number in range(count + WARM_UP):
            # Not by the loop's own timers, which know whole milliseconds only.
            await asyncio.to_thread(time.sleep, self.gap.uniform(0.0, 0.006))
            call, back, start = await self._pick_up(number)
            if number >= WARM_UP:
                known.append(max(0.0, start - back) * 1e3)
                called.append((start - call) * 1e3)
                if start > until:
                    break
        await runner.stop()
        return {"count": len(known), **spread(known), "from_call": spread(called), "ms": known}

    async def _pick_up(self, number: int) -> tuple[float, float, float]:
        """When the enqueue was called, when it returned, and when the handler ran."""
        begun: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.effect = lambda _number: begun.set_result(time.perf_counter())
        call = time.perf_counter()
        await self.store.unit(ACT, self._owing(range(number, number + 1)))
        back = time.perf_counter()
        return call, back, await asyncio.wait_for(begun, LOST_SECONDS)

    async def crash(self, *, effects: str, die_in: int) -> Answer:
        """Work until the n-th job, and be killed in the middle of it: there is no answer."""
        self.effect = recording(Path(effects), die_in)
        await self._started()
        await asyncio.sleep(LOST_SECONDS)
        raise TimeoutError(f"no worker came to job {die_in} within {LOST_SECONDS:.0f} s")

    async def recover(self, *, effects: str, seconds: float) -> Answer:
        """Work again, until nothing is left or the time is over; what the queue's own table says then."""
        self.effect = recording(Path(effects), None)
        begin = time.perf_counter()
        runner = await self._started()
        while (left := await self._left()) and time.perf_counter() - begin < seconds:  # noqa: ASYNC110 - as the peers
            await asyncio.sleep(0.05)
        taken = time.perf_counter() - begin
        await runner.stop()
        return {"left": left, "seconds": taken}


def vacuumed(url: str) -> None:
    """Tidy up on a connection of its own, as is done for the peers after their fill."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE propagations")


async def main(data: Path, url: str | None, mode: str) -> None:
    """Answer the harness until it is done."""
    config: dict[str, Any] = {"data": data, "packs": (CORE, PROPAGATION), "url": url, "clock": SYSTEM}
    with hold_data(data) as lock:
        store = await open_store(StoreConfig(**config), lock)
        ours = Ours(store, mode, url)
        gc.freeze()  # as the daemon does when it is up
        verbs = ("whoami", "fill", "drain", "latency", "crash", "recover")
        try:
            await serve_async({verb: getattr(ours, verb) for verb in verbs})
        finally:
            await store.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--url", help="a PostgreSQL database; SQLite in the folder otherwise")
    parser.add_argument("--mode", choices=list(MODES), default="plain")
    given = parser.parse_args()
    given.data.mkdir(parents=True, exist_ok=True)
    # As the daemon sets it: a waiting writer thread gets the interpreter sooner.
    sys.setswitchinterval(0.0005)
    uvloop.run(main(given.data, given.url, given.mode))
