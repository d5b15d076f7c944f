"""The stream over real sockets: wherever it is cut, whoever falls behind, every event arrives once and in order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from conftest import StoreMaker
from holdfast.core.changes import log
from holdfast.core.changes.feed import Feed
from holdfast.core.changes.hub import Hub, HubOptions
from holdfast.core.store.port import Store, Unit
from sse_client import Client, served
from sse_reader import Event
from testpack import ACT, SQL

HISTORY = 2_000
#: What a scenario may take; one that waits for an event that was lost ends here.
SECONDS = 90.0
OLD = 1_200  # events that are there before anybody comes; the others are written meanwhile

pytestmark = pytest.mark.slow


@pytest.fixture
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # what the daemon runs on
        yield runner


@pytest.fixture
def fresh(loop: asyncio.Runner, engine: Any, tmp_path: Path, new_database: Any) -> Iterator[Store]:
    maker = StoreMaker(engine, tmp_path, new_database)
    yield loop.run(maker())
    loop.run(maker.close())


async def write(store: Store, first: int, last: int, *, title: str = "a title", each: int = 7) -> None:
    """Add rows, some to a unit, without waiting for anybody."""
    for begin in range(first, last + 1, each):

        def work(unit: Unit, begin: int = begin) -> None:
            for number in range(begin, min(begin + each, last + 1)):
                unit.run(SQL.add_plain_thing, id=f"t{number:05d}", title=title, size=number)

        await store.unit(ACT, work)


@asynccontextmanager
async def streaming(store: Store, options: HubOptions, *, buffer: int | None = None) -> AsyncIterator[tuple[Hub, int]]:
    """A feed and a hub on the store, served."""
    feed = Feed(store)
    await feed.start()
    hub = Hub(feed, options=options)
    await hub.start()
    async with served(hub, buffer=buffer) as port:
        yield hub, port
    await feed.stop()


async def follow(client: Client, next_cut: Callable[[], int]) -> None:
    """Read the whole history over connections that are cut after so many events each; give up at the first mistake."""
    while len(client.events) < HISTORY:
        await client.read(min(next_cut(), HISTORY - len(client.events)))
        check(client)


def number(event: Event) -> int:
    """Rows are numbered as they are written."""
    size: int = event.data["payload"]["size"]
    return size


def check(client: Client) -> None:
    """The newest event is the one that is due."""
    newest = number(client.events[-1])
    assert newest == len(client.events), f"event {newest} came as number {len(client.events)}"


async def write_along(store: Store, clients: list[Client]) -> None:
    """Write the rest of the history just ahead of whoever is first, so that readers are live and replay in turn."""
    news = asyncio.Event()
    for client in clients:
        client.on_event = news.set
    for first in range(OLD + 1, HISTORY + 1, 7):
        while max(client.heard for client in clients) < first - 10:
            news.clear()
            await news.wait()
        await write(store, first, min(first + 6, HISTORY))


async def history(store: Store) -> list[int]:
    changes = await store.read(lambda r: log.page(r, after=0, upto=1 << 60, limit=HISTORY + 100))
    assert len(changes) == HISTORY
    return [change.seq for change in changes]


def cuts(seed: int, count: int) -> Callable[[], int]:
    """The distances between `count` random cuts in the history, then no cut any more."""
    chance = random.Random(seed)
    places = sorted(chance.sample(range(1, HISTORY), count))
    distances = iter([b - a for a, b in zip([0, *places], places, strict=False)])
    return lambda: next(distances, HISTORY)


RESUMES = pytest.mark.guards(
    "A stream resumed by Last-Event-ID brings every event exactly once and in order, wherever it was cut.",
    against="Events lost or doubled at a page's edge, or on a reconnect.",
    breaks=("stream-repeats-the-last-event",),
)
SEAMLESS = pytest.mark.guards(
    "Readers who resume while others write go from replay to live without a seam.",
    against="Events lost, doubled or too early between replay and live.",
    breaks=("stream-goes-live-before-replay", "stream-skips-at-the-ring"),
)


@RESUMES
def test_one_reader_cut_at_every_event_misses_and_repeats_nothing(fresh: Store, loop: asyncio.Runner) -> None:
    async def scenario(store: Store) -> None:
        await write(store, 1, OLD)
        async with streaming(store, HubOptions(page=10)) as (_, port):
            client = Client(port, "?after=0")
            async with asyncio.TaskGroup() as group:
                group.create_task(write_along(store, [client]))
                group.create_task(follow(client, lambda: 1))
            assert client.connections == HISTORY
            assert [event.seq for event in client.events] == await history(store)

    loop.run(asyncio.wait_for(scenario(fresh), SECONDS))


@RESUMES
@SEAMLESS
def test_ten_readers_cut_at_every_twentieth_event_miss_and_repeat_nothing(fresh: Store, loop: asyncio.Runner) -> None:
    async def scenario(store: Store) -> None:
        await write(store, 1, OLD)
        # A ring shorter than the history, so that some go on from memory and some from the store.
        async with streaming(store, HubOptions(page=50, most_changes=300)) as (_, port):
            clients = [Client(port, "?after=0") for _ in range(10)]
            async with asyncio.TaskGroup() as group:
                group.create_task(write_along(store, clients))
                for client in clients:
                    group.create_task(follow(client, lambda: 20))
            expected = await history(store)
            for client in clients:
                assert client.connections >= HISTORY // 20
                assert [event.seq for event in client.events] == expected

    loop.run(asyncio.wait_for(scenario(fresh), SECONDS))


@RESUMES
@SEAMLESS
def test_two_hundred_readers_with_fifty_random_cuts_each_miss_and_repeat_nothing(
    fresh: Store, loop: asyncio.Runner, engine: str
) -> None:
    async def scenario(store: Store) -> None:
        await write(store, 1, OLD)
        readers = 200 if engine == "sqlite" else 20  # past the pages the engine plays no part
        async with streaming(store, HubOptions(page=50, most_changes=1_000)) as (_, port):
            clients = [Client(port, "?after=0") for _ in range(readers)]
            async with asyncio.TaskGroup() as group:
                group.create_task(write_along(store, clients))
                for number, client in enumerate(clients):
                    group.create_task(follow(client, cuts(number, 50)))
            expected = await history(store)
            for client in clients:
                assert client.connections > 50
                assert [event.seq for event in client.events] == expected

    loop.run(asyncio.wait_for(scenario(fresh), SECONDS))


@pytest.mark.guards(
    "A reader that falls behind the bounded buffer is disconnected, and has missed nothing when it has resumed.",
    against="Events dropped silently for slow readers, or a buffer without bounds.",
    breaks=("stream-drops-on-overflow", "stream-repeats-the-last-event"),
)
def test_slow_readers_that_overflow_are_disconnected_and_resume_without_loss(
    fresh: Store, loop: asyncio.Runner
) -> None:
    async def scenario(store: Store) -> None:
        kernel = 16_384  # what sockets may hold, so that a reader who does not read is felt soon
        async with streaming(store, HubOptions(page=20, most_changes=40), buffer=kernel) as (hub, port):
            clients = [Client(port, "?after=0") for _ in range(8)]

            async def slow(client: Client) -> None:
                while len(client.events) < HISTORY:
                    connection = await client.connect(HISTORY - len(client.events), buffer=kernel)
                    while not connection.events:
                        connection.some.clear()
                        await connection.some.wait()
                    assert connection.transport is not None
                    connection.transport.pause_reading()
                    # Until the ring has left behind what sockets and server may hold of it, or no more comes.
                    goal = min(hub.ring.end + 400, HISTORY)
                    await hub.feed.advanced(goal - 1)
                    connection.transport.resume_reading()
                    while not connection.over.done() and number(connection.events[-1]) < HISTORY:
                        connection.some.clear()
                        await connection.some.wait()
                    connection.transport.abort()
                    client.take(connection)
                    check(client)

            async with asyncio.TaskGroup() as group:
                group.create_task(write(store, 1, HISTORY, title="x" * 2_000, each=5))
                for client in clients:
                    group.create_task(slow(client))
            expected = await history(store)
            for client in clients:
                assert [event.seq for event in client.events] == expected
            assert hub.overflows >= len(clients), "nobody fell behind: this proves nothing"
            assert len(hub.ring) <= 40

    loop.run(asyncio.wait_for(scenario(fresh), SECONDS))
