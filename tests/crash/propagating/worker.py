"""One process that does propagations, for tests that kill, stop or poison it: `worker.py WHAT JSON`.

It says `ready`, `done` and the like on its standard output and is told to go on by lines on its standard input.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from crash.propagating.owing import FAST, LEDGER, PACKS, Number, Tries, is_empty, kind, owe, registry
from holdfast.core.clock import SYSTEM
from holdfast.core.pack import Pack
from holdfast.core.propagation.backfill import BACKFILL, Backfill, Chunk, filler, owe_backfills
from holdfast.core.propagation.kinds import Handler, Kind, Timeouts
from holdfast.core.propagation.outcome import Done, Outcome
from holdfast.core.propagation.runner import Runner
from holdfast.core.store.lock import hold_data
from holdfast.core.store.opening import StoreConfig, open_store
from holdfast.core.store.options import StoreOptions
from holdfast.core.store.port import Store, Unit
from testpack import ACT, SQL

__all__ = ["LEDGER", "PACKS"]

#: Nobody is waited for longer.
LIMIT_SECONDS = 600.0 if "HOLDFAST_CRASH_ROUNDS" in os.environ else 40.0
#: The exit status of a process that a poisoned row has killed.
POISONED = 77
OPTIONS = StoreOptions(readers=1, writers=2)
#: Leases so short that a test need not wait for them, for processes of which one lives at a time.
BRIEF = Timeouts(call=0.2, item=0.3, lease=0.5)
SWEEP = 0.1


class Given(msgspec.Struct):
    """What a worker is told when it starts."""

    data: str
    outside: str
    url: str | None = None
    start: int = 0
    end: int = 0
    life: int = 0
    beside: int = 0


class Outside:
    """The world on which effects are had: a file to which each one adds a line, and one that takes each key once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def happens(self, name: str, said: object) -> None:
        """One write of one line, which no death tears."""
        descriptor = os.open(self._folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, f"{said}\n".encode())
        os.close(descriptor)

    def once(self, name: str, key: str, said: object) -> None:
        """A service that honours idempotency keys."""
        keys = self._folder / f"{name}-keys"
        keys.mkdir(exist_ok=True)
        taken = keys / f"{key}.taken"
        unfinished = keys / f"{key}.{os.getpid()}"
        unfinished.write_text(str(said), encoding="utf-8")
        try:
            os.link(unfinished, taken)  # whole or not at all, and once
        except FileExistsError:
            return
        finally:
            unfinished.unlink()

    def told(self, name: str) -> list[str]:
        """The lines of a file, or what was taken once under keys."""
        keys = self._folder / f"{name}-keys"
        if keys.is_dir():
            return [path.read_text(encoding="utf-8") for path in keys.glob("*.taken")]
        path = self._folder / name
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def say(word: str) -> None:
    print(word, flush=True)


async def told() -> str:
    return (await asyncio.to_thread(sys.stdin.readline)).strip()


async def emptied(store: Store) -> None:
    while not await store.read(is_empty):
        await SYSTEM.sleep(0.01)


# --- sharing ---------------------------------------------------------------------------------------------------------

SHARED = kind("test.shared", concurrency=16)
CHEAP = kind("test.cheap", concurrency=2, batch=25)


async def share(store: Store, given: Given) -> None:
    """Do what others do too, beginning when each of them has something under way."""
    outside, go, begun = Outside(Path(given.outside)), asyncio.Event(), asyncio.Event()

    async def effect(job: Any) -> Outcome:
        begun.set()
        await go.wait()
        outside.happens(job._row.kind.name, job.payload.n)
        return Done()

    runner = Runner(store, registry({SHARED: effect, CHEAP: effect}), SYSTEM)
    await runner.start()
    await begun.wait()
    say("ready")
    await told()
    go.set()
    await emptied(store)
    await runner.stop()
    say(f"late {runner.late}")


# --- dying -----------------------------------------------------------------------------------------------------------

PLAIN = kind("test.plain", unique="forever", timeouts=BRIEF)
KEYED = kind("test.keyed", unique="forever", timeouts=BRIEF)
BATCHED = kind("test.batched", unique="forever", timeouts=BRIEF, batch=5, concurrency=2)
FACTS = kind("test.facts", unique="forever", timeouts=BRIEF)
MORTAL = (PLAIN, KEYED, BATCHED, FACTS)
CHUNKS = 40


def fill(unit: Unit, cursor: str | None, _: int) -> Chunk:
    """One fact for each chunk, which cannot be done twice."""
    number = int(cursor or 0)
    unit.run(SQL.add_plain_thing, id=f"fill-{number}", title="x", size=number)
    return Chunk(str(number + 1) if number + 1 < CHUNKS else None, 1)


FILL = Backfill("test.fill", "For a test.", fill)
FILLING = Pack("filling", "testpack", backfills=(FILL,))


def mortal(store: Store, outside: Outside) -> dict[Kind[Number], Handler]:
    """Handlers whose effects are counted outside, or are facts."""

    async def plain(job: Any) -> Outcome:
        await store.read(is_empty)  # so that others are under way beside it
        outside.happens(job._row.kind.name, job.payload.n)
        return Done()

    async def keyed(job: Any) -> Outcome:
        await store.read(is_empty)
        outside.once("test.keyed", job.effect, job.payload.n)
        return Done()

    async def facts(job: Any) -> Outcome:
        n = job.payload.n
        return Done(lambda unit: unit.run(SQL.add_plain_thing, id=f"fact-{n}", title="x", size=n) and None)

    return {PLAIN: plain, KEYED: keyed, BATCHED: plain, FACTS: facts}


async def owe_mortal(store: Store, start: int) -> None:
    """Owe five effects of each kind, and the backfill; what is owed already is not owed again."""
    await store.unit(ACT, lambda unit: owe_backfills(unit, [FILLING]))
    for each in MORTAL:
        await owe(store, each, *range(start, start + 5), keyed=True)


async def do_mortal(store: Store, given: Given) -> None:
    """Do everything that is owed."""
    brief = replace(BACKFILL, timeouts=BRIEF, schedule=FAST, max_attempts=FAST.most_attempts)
    handlers = mortal(store, Outside(Path(given.outside))) | {brief: filler({FILL.name: FILL}, store, SYSTEM)}
    runner = Runner(store, registry(handlers), SYSTEM, sweep_seconds=SWEEP)
    await runner.start()
    for start in range(given.start, given.end, 5):
        await owe_mortal(store, start)
    await emptied(store)
    await runner.stop()


async def begin_and_leave(store: Store) -> Runner:
    """A runner that is ended in the middle of something, as if its process had died."""
    tries = Tries()
    await owe(store, PLAIN, 0, keyed=True)
    runner = Runner(store, registry({PLAIN: tries}), SYSTEM, drain_seconds=0.0)
    await runner.start()
    while not tries.tried:
        await asyncio.sleep(0)
    for task in runner._tasks:  # an orderly stop would give its claim back
        task.cancel()
    return runner


# --- poison ----------------------------------------------------------------------------------------------------------

DEADLY = kind("test.deadly", timeouts=BRIEF, max_starts=3, concurrency=8)
DEADLY_BATCH = kind("test.deadly_batch", timeouts=BRIEF, max_starts=3, concurrency=3, batch=4)


async def poison(store: Store, given: Given) -> None:
    """Do rows of which number 0 kills; those of this life are under way when it does."""
    outside, in_flight, beside = Outside(Path(given.outside)), set[int](), asyncio.Event()
    mine = range(given.start, given.end)

    async def deadly(job: Any) -> Outcome:
        n = job.payload.n
        in_flight.add(n)
        if len(in_flight & set(mine)) >= given.beside:
            beside.set()
        if n == 0:
            await beside.wait()
            for each in in_flight - {0}:
                outside.happens("beside", each)
            os._exit(POISONED)
        if n in mine and given.beside:
            await asyncio.Event().wait()  # until it is killed
        for _ in range(20):
            await store.read(is_empty)
        in_flight.discard(n)
        return Done()

    await owe(store, DEADLY, *([0] if given.life == 0 else []), *mine)
    runner = Runner(store, registry({DEADLY: deadly}), SYSTEM, sweep_seconds=SWEEP)
    await runner.start()
    await emptied(store)
    await runner.stop()


async def poison_batch(store: Store, given: Given) -> None:
    """Do batches of which number 0 of one kills."""
    tries: list[int] = []

    async def deadly(job: Any) -> Outcome:
        tries.append(job.payload.n)
        if job.payload.n == 0:
            while len(tries) < given.beside:  # other batches have begun
                await asyncio.sleep(0)
            os._exit(POISONED)
        for _ in range(5):
            await store.read(is_empty)
        return Done()

    if given.life == 0:
        await owe(store, DEADLY_BATCH, *range(1, 6), 0, *range(6, 20))
    runner = Runner(store, registry({DEADLY_BATCH: deadly}), SYSTEM, sweep_seconds=SWEEP)
    await runner.start()
    await emptied(store)
    await runner.stop()


# --- being stopped ---------------------------------------------------------------------------------------------------

HELD = kind("test.held", timeouts=BRIEF)


async def hold(store: Store, given: Given) -> None:
    """Life 0 is stopped when its try has come to an outcome; life 1 has taken the row over by then, and is at it."""
    outside, go = Outside(Path(given.outside)), asyncio.Event()

    async def holds(job: Any) -> Outcome:
        outside.happens("held", f"{given.life} {job.payload.n}")
        if given.life == 1:
            say("took over")
            await go.wait()
        return Done()

    held = HELD if given.life == 0 else kind("test.held")
    if given.end:
        await owe(store, held, 1)
    runner = Runner(store, registry({held: holds}), SYSTEM, sweep_seconds=SWEEP)
    await runner.start()
    if given.life == 0:
        while not runner.late:
            await SYSTEM.sleep(0.01)
        say(f"late {runner.late}")
        await asyncio.Event().wait()  # until it is killed
    await told()
    go.set()
    await emptied(store)
    say(f"late {runner.late}")
    await runner.stop()


WORK: dict[str, Callable[[Store, Given], Awaitable[None]]] = {
    "share": share,
    "die": do_mortal,
    "poison": poison,
    "poison-batch": poison_batch,
    "hold": hold,
}


async def main(what: str, given: Given) -> None:
    data = Path(given.data)
    data.mkdir(parents=True, exist_ok=True)
    with hold_data(data) as lock:
        store = await open_store(StoreConfig(data, PACKS, given.url, options=OPTIONS), lock)
        await WORK[what](store, given)
        await store.close()
    say("done")


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(main(sys.argv[1], msgspec.json.decode(sys.argv[2], type=Given)), LIMIT_SECONDS))
