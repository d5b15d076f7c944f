"""The stream under pressure: a ring that lags, a log that is cut meanwhile, readers that take nothing, memory."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from holdfast.core import faults
from holdfast.core.changes.cursors import Cursor, Filter
from holdfast.core.changes.endpoint import serve
from holdfast.core.changes.feed import Feed
from holdfast.core.changes.hub import READ_FOR_RING, Hub, HubOptions
from holdfast.core.changes.log import Change
from holdfast.core.changes.retention import Keep, Retention
from holdfast.core.changes.ring import Ring
from holdfast.core.store.port import Unit
from holdfast.core.web.server import Front, Server
from manual_clock import ManualClock
from sse_reader import Parser
from streams import followed, in_ring, numbers_upto, turns
from testpack import SQL

OPTIONS = HubOptions(page=3, most_changes=8, most_readers=2, last_seconds=0)
TICK = OPTIONS.keep_alive_seconds / 4


@pytest.fixture
def hub_options() -> HubOptions:
    return OPTIONS


async def commit(feed: Feed, kinds: str, *, title: str = "x") -> None:
    """One unit: a thing for each `t`, a part of the first one for each `p`."""
    before = feed.position

    def work(unit: Unit) -> None:
        for number, kind in enumerate(kinds, before + 1):
            if kind == "t":
                unit.run(SQL.add_plain_thing, id=f"t{number}", title=title, size=number)
            else:
                unit.run(SQL.add_part, id=f"p{number}", thing="t1", state="red")

    await followed(feed, work, len(kinds))


async def ticked(hub: Hub, clock: ManualClock, count: int = 1) -> None:
    """Until the streams were looked after so many times."""
    for _ in range(count):
        before = hub.ticks
        async with asyncio.timeout(10):
            while hub.ticks == before:
                if hub.readers == 0:
                    return
                clock.advance(TICK)
                await turns()


@pytest.mark.guards(
    "A filtered reader whose replay went beyond the ring gets nothing a second time when the ring comes along.",
    against="Events that reach a reader twice after one great commit.",
    breaks=("stream-steps-back-to-the-ring",),
)
async def test_a_reader_ahead_of_the_ring_is_not_moved_back(hub: Hub, feed: Feed) -> None:
    await commit(feed, "tt")
    keeps_the_ring_going = await hub.subscribe()
    gate = faults.Gate()
    with faults.armed(READ_FOR_RING, gate):
        await commit(feed, "tttttppttt")
        assert await asyncio.to_thread(gate.reached.wait, 10)
        reader = await hub.subscribe(Cursor(0), Filter.of(events=["part_recorded"]))
        assert await numbers_upto(reader, 9) == [8, 9]
        assert (reader.cursor, hub.ring.end) == (12, 2)
        following = asyncio.ensure_future(numbers_upto(reader, 13))
        await turns()
        gate.open()
        await in_ring(hub)
    await commit(feed, "p")
    assert await following == [13]
    assert keeps_the_ring_going.ended is None


@pytest.mark.guards(
    "What retention removed before the live stream had read it ends who misses it, and their cursor gets a reset.",
    against="A hole in a live stream that nobody is told of.",
    breaks=("stream-leaps-over-the-removed",),
)
async def test_what_is_removed_before_the_ring_has_read_it_is_no_silent_hole(
    hub: Hub, feed: Feed, clock: ManualClock
) -> None:
    reader = await hub.subscribe()
    following = asyncio.ensure_future(numbers_upto(reader, 9))
    gate = faults.Gate()
    with faults.armed(READ_FOR_RING, gate):
        await commit(feed, "t" * 9)
        assert await asyncio.to_thread(gate.reached.wait, 10)
        assert await Retention(feed.store, feed, clock, Keep(count=2)).thin_out() == 7
        gate.open()
    assert await following == [1, 2, 3]
    assert reader.ended == "overflow"
    again = await hub.subscribe(Cursor(3, feed.store.uuid))
    parser = Parser()
    events = [event for _ in range(2) for event in parser.feed(await again.more())]
    assert [(event.name, event.data["reason"]) for event in events] == [("reset", "expired")]


# --- readers that take nothing ----------------------------------------------------------------------------------


class ShutWire:
    """A request whose peer takes the head and so many pieces, then nothing more."""

    def __init__(self, pieces: int) -> None:
        self.scope = {"type": "http", "method": "GET", "query_string": b"", "headers": ()}
        self.stuck = asyncio.Event()
        self._pieces = pieces

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.body":
            self._pieces -= 1
        if self._pieces < 0:
            self.stuck.set()
            await asyncio.Event().wait()

    async def receive(self) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    def serve(self, hub: Hub) -> asyncio.Future[None]:
        return asyncio.ensure_future(serve(hub, self.scope, self.receive, self.send))


@pytest.mark.guards(
    "A reader that takes nothing while the ring passes it by is ended at the next look, and its place is free.",
    against="Peers that shut their window and hold every place for ever.",
    breaks=("stream-waits-for-the-stuck", "stream-ends-without-its-connection"),
)
async def test_a_reader_stuck_behind_the_ring_is_ended(hub: Hub, feed: Feed, clock: ManualClock) -> None:
    wire = ShutWire(pieces=1)
    serving = wire.serve(hub)
    await turns()
    await commit(feed, "t")
    await asyncio.wait_for(wire.stuck.wait(), 10)
    for _ in range(6):
        await commit(feed, "ttt")
        await in_ring(hub)
    assert (hub.readers, hub.overflows) == (1, 0)
    await ticked(hub, clock)
    assert (hub.readers, hub.overflows) == (0, 1)
    await asyncio.wait_for(serving, 10)


@pytest.mark.guards(
    "A reader that does not take what it was sent within two keep-alives is ended, even when nothing else happens.",
    against="Peers that vanished without a word and hold their place for ever.",
    breaks=("stream-waits-for-the-stuck",),
)
async def test_a_reader_that_takes_nothing_for_two_keep_alives_is_ended(hub: Hub, clock: ManualClock) -> None:
    wire = ShutWire(pieces=0)
    serving = wire.serve(hub)
    patient = await hub.subscribe()
    await patient.more()
    following = asyncio.ensure_future(numbers_upto(patient, 1))
    await asyncio.wait_for(wire.stuck.wait(), 10)
    await ticked(hub, clock, 7)
    assert hub.readers == 2
    await ticked(hub, clock)
    assert (hub.readers, hub.overflows) == (1, 1)
    await asyncio.wait_for(serving, 10)
    assert not following.done(), "silence alone ends nobody"
    following.cancel()


@pytest.mark.guards(
    "The end of the daemon does not wait for a reader that takes nothing.",
    against="A shutdown that hangs on a peer's full socket until it is killed.",
    breaks=("stream-ends-without-its-connection",),
)
async def test_stopping_the_hub_frees_a_send_that_is_stuck(hub: Hub) -> None:
    wire = ShutWire(pieces=0)
    serving = wire.serve(hub)
    await asyncio.wait_for(wire.stuck.wait(), 10)
    await hub.stop()
    await asyncio.wait_for(serving, 10)


@asynccontextmanager
async def served(hub: Hub) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """The daemon's server with little room in the kernel: its port, and what is set when a stream is over."""
    over = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await serve(hub, scope, receive, send)
        finally:
            over.set()

    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    listener.setblocking(False)
    front = Front(roles=("test",), version="0")
    front.open(app)
    server = Server(front, listener)
    await server.start()
    yield listener.getsockname()[1], over
    await hub.stop()
    await server.stop()


async def to_the_end(peer: socket.socket) -> None:
    while await asyncio.get_running_loop().sock_recv(peer, 65536):
        pass


@pytest.mark.guards(
    "The connection of a reader that takes nothing is broken off, not flushed.",
    against="Sockets and buffers of ended streams that stay until the peer deigns to read.",
    breaks=("stream-flushes-to-the-stuck",),
)
async def test_the_connection_of_a_stuck_reader_is_reset(hub: Hub, feed: Feed, clock: ManualClock) -> None:
    loop = asyncio.get_running_loop()
    async with served(hub) as (port, over):
        with socket.socket() as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.setblocking(False)
            await loop.sock_connect(peer, ("127.0.0.1", port))
            await loop.sock_sendall(peer, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            async with asyncio.timeout(10):
                while not hub.readers:
                    await asyncio.sleep(0)
            for _ in range(10):
                await commit(feed, "ttt", title="x" * 20_000)
                await in_ring(hub)
            await ticked(hub, clock)
            assert (hub.readers, hub.overflows) == (0, 1)
            await asyncio.wait_for(over.wait(), 10)
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(to_the_end(peer), 10)


# --- memory -----------------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "What was joined for readers of the past is kept within bounds, however many came and however different they ask.",
    against="A client that reconnects with another filter each time until the daemon is out of memory.",
    breaks=("stream-hoards-joined-pieces",),
)
def test_joined_pieces_are_bounded_without_a_new_change() -> None:
    ring = Ring("store", 0, most_changes=10_000, most_bytes=8 << 20)
    payload = '{"title":"' + "x" * 1_000 + '"}'
    ring.append([Change(n, "s", "thing", f"t{n}", "e", payload, "a", "c", "t") for n in range(1, 2_001)], 2_000)
    most = 0
    for number in range(20):
        after, wanted = 0, Filter.of(["s", f"none{number}"])
        while after < ring.end:
            data, after = ring.take(after, wanted)
            assert data
        most = max(most, sum(len(data) for data, _ in ring._taken.values()))
    assert 0 < most < 3 << 20


def test_many_small_joined_pieces_are_bounded_too() -> None:
    ring = Ring("store", 0, most_changes=10_000, most_bytes=8 << 20)
    ring.append([Change(n, "s", "thing", f"t{n}", "e", "{}", "a", "c", "t") for n in range(1, 1_001)], 1_000)
    for after in range(990, 1_001):
        for number in range(100):
            ring.take(after, Filter.of(["s", f"none{number}"]))
    assert 0 < len(ring._taken) <= 256
