"""Short lives of a store, each a process that may die at any fault point; tells of every write that is durable.

`lives.py LIFE DATA [URL]` lives and prints `ack <id>` for each; `lives.py after-LIFE DATA [URL]` reads such ids from
its input and fails unless every one of them is there. `make crash` runs them.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from crash.propagating import worker
from evolving import LATEST, Evolving
from holdfast.core.changes.cursors import Cursor
from holdfast.core.changes.feed import Feed
from holdfast.core.changes.hub import Hub
from holdfast.core.changes.retention import Keep, Retention
from holdfast.core.clock import SYSTEM
from holdfast.core.errors import HoldfastError
from holdfast.core.store import backup
from holdfast.core.store.lock import DataLock, hold_data
from holdfast.core.store.opening import StoreConfig, open_store
from holdfast.core.store.options import StoreOptions
from holdfast.core.store.pack import CORE
from holdfast.core.store.port import Store, Unit
from holdfast.core.store.sql import query
from testpack import ACT, PACK, SQL

OPTIONS = StoreOptions(wal_bytes=64 * 1024)
ADD_NOTE = query("test", sqlite="INSERT INTO notes (id, text) VALUES (:id, 'kept')")
NOTES = query("test", sqlite="SELECT id FROM notes")


class Paths:
    """What `Evolving` needs of pytest."""

    def syspath_prepend(self, path: str) -> None:
        sys.path.insert(0, path)


def tell(identity: str) -> None:
    print(f"ack {identity}", flush=True)


def config(data: Path, url: str | None, release: int | None = None) -> StoreConfig:
    if release is None:
        return StoreConfig(data, (CORE, PACK), url, options=OPTIONS)
    packages = Path(tempfile.mkdtemp())
    return StoreConfig(data, (CORE, Evolving(packages, Paths()).at(release)), url, options=OPTIONS)  # type: ignore[arg-type]


async def add(store: Store, identity: str) -> None:
    def work(unit: Unit) -> None:
        unit.run(SQL.add_plain_thing, id=identity, title="kept" * 100, size=1)

    await store.unit(ACT, work)
    tell(identity)


async def writing(data: Path, url: str | None, lock: DataLock) -> None:
    """Concurrent units, a reader that replays and goes live, folding of the log, retention."""
    store = await open_store(config(data, url), lock)
    await add(store, "first")
    feed = Feed(store, SYSTEM, start_at=None)
    await feed.start()
    hub = Hub(feed, clock=SYSTEM)
    await hub.start()
    seen = asyncio.Event()

    async def follow() -> None:
        async for chunk in hub.stream(Cursor(0, store.uuid)):
            if b"thing-3-49" in chunk:
                seen.set()

    async def write(writer: int) -> None:
        for number in range(50):
            await add(store, f"thing-{writer}-{number}")

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        following = group.create_task(follow())
        await asyncio.gather(*(write(writer) for writer in range(4)))
        await seen.wait()
        following.cancel()
    await Retention(store, feed, SYSTEM, Keep(count=10, chunk=5)).thin_out()
    await hub.stop()
    await feed.stop()
    await store.close()


async def crossing(data: Path, url: str | None, lock: DataLock) -> None:
    """Units that read and write the same row, all at once."""
    store = await open_store(config(data, url), lock)
    await add(store, "shared")

    def grow(unit: Unit) -> None:
        row = unit.one(SQL.thing, id="shared")
        assert row is not None
        unit.run(SQL.resize_thing, id="shared", size=row["size"] + 1)

    for _ in range(10):
        await asyncio.gather(*(store.unit(ACT, grow) for _ in range(8)))
    tell("shared")
    await store.close()


async def gap(data: Path, url: str | None, lock: DataLock) -> None:
    """A transaction that takes a number and keeps it open while others commit."""
    store = await open_store(config(data, url), lock)
    feed = Feed(store, SYSTEM, start_at=None)
    await feed.start()
    if url is not None:
        import psycopg

        with psycopg.connect(url) as other:
            other.execute("INSERT INTO things (id, title, size) VALUES ('never', 'rolled back', 1)")
            await add(store, "after the gap")
            stands_at = feed.position
            await SYSTEM.sleep(1.5)  # nothing tells of a look that finds nothing; one comes at least once a second
            assert feed.position == stands_at
            other.rollback()
    await add(store, "last")
    await feed.stop()
    await store.close()


async def migrating(data: Path, url: str | None, lock: DataLock) -> None:
    """A store of an earlier release, brought up to the present one."""
    old = config(data, url, release=1)
    store = await open_store(old, lock)
    await store.unit(ACT, lambda unit: unit.run(ADD_NOTE, id="note"))
    tell("note")
    await store.close()
    await (await open_store(config(data, url, release=LATEST), lock)).close()


async def backing_up(data: Path, url: str | None, lock: DataLock) -> None:
    """A backup while the store is open."""
    store = await open_store(config(data, url), lock)
    await add(store, "before the backup")
    await asyncio.to_thread(backup.back_up, data, data / "copy", url=url)
    await add(store, "after the backup")
    await store.close()


async def propagating(data: Path, url: str | None, lock: DataLock) -> None:
    """Effects that are owed and done, some of them begun by a runner that was ended in the middle of them."""
    store = await open_store(worker_config(data, url), lock)
    given = worker.Given(data=str(data), outside=str(data.with_name("outside")), url=url)
    first = await worker.begin_and_leave(store)
    for start in range(0, 20, 5):
        await worker.owe_mortal(store, start)
        for number in range(start, start + 5):
            tell(str(number))
    await worker.do_mortal(store, given)
    assert first.under_way
    await store.close()


def worker_config(data: Path, url: str | None) -> StoreConfig:
    return StoreConfig(data, worker.PACKS, url, options=worker.OPTIONS)


async def verify_propagating(data: Path, url: str | None, lock: DataLock) -> None:
    """Whoever comes next does what is owed; each effect that was told of is done then, and recorded once."""
    told = {int(line) for line in sys.stdin if line.strip()}
    store = await open_store(worker_config(data, url), lock)
    await worker.do_mortal(store, worker.Given(data=str(data), outside=str(data.with_name("outside")), url=url))
    done = await store.read(lambda reader: reader.all(worker.LEDGER))
    await store.close()
    for kind in worker.MORTAL:
        numbers = [json.loads(row["payload"])["n"] for row in done if row["kind"] == kind.name]
        assert len(numbers) == len(set(numbers)), f"{kind.name}: recorded twice"
        assert told <= set(numbers), f"{kind.name}: gone: {sorted(told - set(numbers))}"
    keyed = worker.Outside(data.with_name("outside")).told("test.keyed")
    assert len(keyed) == len(set(keyed)), "an effect was repeated under its key"


Life = Callable[[Path, str | None, DataLock], Coroutine[None, None, None]]
LIVES: dict[str, Life] = {
    "writing": writing,
    "crossing": crossing,
    "gap": gap,
    "migrating": migrating,
    "backing-up": backing_up,
    "propagating": propagating,
}


async def verify(life: str, data: Path, url: str | None, lock: DataLock) -> None:
    """Open the store as any later process would; everything that was told of is there."""
    if life == "propagating":
        return await verify_propagating(data, url, lock)
    told = {line.strip() for line in sys.stdin if line.strip()}
    migrated = life == "migrating"
    store = await open_store(config(data, url, release=LATEST if migrated else None), lock)
    reads = NOTES if migrated else SQL.things
    there = {row["id"] for row in await store.read(lambda reader: reader.all(reads))}
    await store.close()
    assert told <= there, f"gone: {sorted(told - there)}"
    assert "never" not in there
    return None


def main() -> None:
    word, data, url = sys.argv[1], Path(sys.argv[2]), (sys.argv[3:] or [None])[0]
    data.mkdir(exist_ok=True)
    life = word.removeprefix("after-")
    with hold_data(data) as lock:
        asyncio.run(LIVES[life](data, url, lock) if life == word else verify(life, data, url, lock))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        try:
            main()
        except HoldfastError as error:
            sys.exit(f"{type(error).__name__}: {error.message}")
