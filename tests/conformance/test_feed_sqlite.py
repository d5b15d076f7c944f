"""The feed on SQLite: pushed by commits, and silent when there are none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import apsw
import pytest

from conftest import StoreMaker
from holdfast.core.changes.feed import Feed
from holdfast.core.changes.hub import Hub
from holdfast.core.changes.retention import Retention
from sse_reader import events_of
from testpack import ACT, SQL

IDLE_SECONDS = 5.0


class Watch:
    """Sees every statement of every connection opened while it is on."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.executed = asyncio.Event()
        self.statements: list[str] = []

    def __call__(self, connection: apsw.Connection) -> None:
        connection.trace_v2(apsw.SQLITE_TRACE_STMT, self.traced)

    def traced(self, event: dict[str, str]) -> None:
        self.statements.append(event["sql"])
        self.loop.call_soon_threadsafe(self.executed.set)


@pytest.fixture
def engine() -> str:
    return "sqlite"


@pytest.fixture
async def watch() -> Iterator[Watch]:
    watch = Watch(asyncio.get_running_loop())
    apsw.connection_hooks.append(watch)
    yield watch
    apsw.connection_hooks.remove(watch)


@pytest.mark.slow
@pytest.mark.guards(
    "An idle daemon on SQLite executes no statement.",
    against="Polling that keeps a core and a disk awake, and grows with every service.",
    breaks=("stream-polls-the-store",),
)
async def test_an_idle_store_feed_and_stream_execute_no_statement(watch: Watch, make_store: StoreMaker) -> None:
    store = await make_store()
    feed = Feed(store)
    services = [feed, Hub(feed), Retention(store, feed)]
    for service in services:
        await service.start()
    hub = services[1]
    assert isinstance(hub, Hub)
    live = events_of(hub.stream())
    reading = asyncio.ensure_future(anext(live))
    await store.unit(ACT, lambda u: u.run(SQL.add_plain_thing, id="a", title="x", size=0))
    assert (await reading).seq == 1
    reading = asyncio.ensure_future(anext(live))
    assert await store.read(lambda r: r.one(SQL.count_things)) == {"count": 1}
    assert any("INSERT INTO things" in statement for statement in watch.statements), "the watch sees what is executed"
    await settled(watch)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(watch.executed.wait(), IDLE_SECONDS)
    assert watch.statements == []
    reading.cancel()
    for service in reversed(services):
        await service.stop()


async def settled(watch: Watch) -> None:
    """Let what the last write set off (a checkpoint, the first thinning out) end: half a second without a statement."""
    quiet = False
    while not quiet:
        watch.executed.clear()
        watch.statements.clear()
        try:
            await asyncio.wait_for(watch.executed.wait(), 0.5)
        except TimeoutError:
            quiet = True


async def test_following_commits_costs_no_statement(watch: Watch, make_store: StoreMaker) -> None:
    store = await make_store()
    feed = Feed(store)
    await feed.start()
    await settled(watch)
    await store.unit(ACT, lambda u: u.run(SQL.add_plain_thing, id="a", title="x", size=0))
    assert await feed.advanced(0) == 1
    assert not [s for s in watch.statements if s.lstrip().upper().startswith("SELECT")]
    await feed.stop()
