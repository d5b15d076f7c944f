"""The stream without a wire: cursors that are no good, filters, keep-alives, bounds and ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from holdfast.core import faults
from holdfast.core.changes.cursors import Cursor, Filter
from holdfast.core.changes.endpoint import serve
from holdfast.core.changes.feed import Feed
from holdfast.core.changes.hub import REPLAYED, Hub, HubOptions, Subscription
from holdfast.core.changes.retention import Keep, Retention
from holdfast.core.errors import Malformed, Unavailable
from holdfast.core.store.port import Unit
from manual_clock import ManualClock
from sse_reader import Event, Parser
from streams import followed, in_ring, next_events, turns
from testpack import ACT, SQL


@pytest.fixture
def hub_options() -> HubOptions:
    return HubOptions(page=3, most_changes=8, most_readers=3)


async def grow(feed: Feed, first: int, last: int, *, title: str = "x") -> None:
    def work(unit: Unit) -> None:
        for number in range(first, last + 1):
            unit.run(SQL.add_plain_thing, id=f"t{number}", title=title, size=number)

    await followed(feed, work, last - first + 1)


async def only_reset(hub: Hub, cursor: Cursor) -> Event:
    """The reset that a cursor gets, which is followed by what happens from then on."""
    reader = await hub.subscribe(cursor)
    (event,) = await next_events(reader, 1)
    await grow(hub.feed, 90, 90)
    (after,) = await next_events(reader, 1)
    assert after.seq == hub.feed.position
    assert after.name == "thing_created"
    reader.close("left")
    return event


@pytest.mark.guards(
    "A cursor of another store gets a reset with the place to go on from.",
    against="A reader that mixes the numbers of two stores after a restore.",
    breaks=("stream-trusts-any-cursor",),
)
async def test_a_cursor_of_another_store_gets_a_reset(hub: Hub, feed: Feed) -> None:
    await grow(feed, 1, 5)
    event = await only_reset(hub, Cursor(3, "0123456789abcdef"))
    place = f"{feed.store.uuid}:5"
    assert (event.name, event.id, event.data) == ("reset", place, {"reason": "foreign", "position": place})


@pytest.mark.guards(
    "A cursor older than the oldest row gets a reset with the place to go on from.",
    against="A reader that silently misses what retention removed.",
    breaks=("stream-ignores-what-was-removed",),
)
async def test_a_cursor_older_than_the_oldest_row_gets_a_reset(hub: Hub, feed: Feed, clock: ManualClock) -> None:
    await grow(feed, 1, 9)
    await Retention(feed.store, feed, clock, Keep(count=4)).thin_out()
    place = f"{feed.store.uuid}:9"
    event = await only_reset(hub, Cursor(4))
    assert (event.name, event.id, event.data) == ("reset", place, {"reason": "expired", "position": place})
    reader = await hub.subscribe(Cursor(5, feed.store.uuid))
    assert [e.seq for e in await next_events(reader, 5)] == [6, 7, 8, 9, 10], "5 is the last that was removed"


async def test_a_cursor_that_expires_while_it_is_replayed_gets_a_reset(
    hub: Hub, feed: Feed, clock: ManualClock
) -> None:
    await grow(feed, 1, 12)
    reader = await hub.subscribe(Cursor(0))
    assert [e.seq for e in await next_events(reader, 3)] == [1, 2, 3]
    await Retention(feed.store, feed, clock, Keep(count=2)).thin_out()
    (event,) = await next_events(reader, 1)
    assert (event.name, event.data["reason"]) == ("reset", "expired")


async def test_a_cursor_ahead_of_the_log_gets_a_reset(hub: Hub, feed: Feed) -> None:
    await grow(feed, 1, 2)
    event = await only_reset(hub, Cursor(3, feed.store.uuid))
    assert event.data == {"reason": "ahead", "position": f"{feed.store.uuid}:2"}


async def test_a_reader_without_a_cursor_gets_what_happens_from_now_on(hub: Hub, feed: Feed) -> None:
    await grow(feed, 1, 5)
    reader = await hub.subscribe()
    parser = Parser()
    assert list(parser.feed(await reader.more())) == []
    assert parser.comments == [f"{feed.store.uuid}:5"], "the first bytes tell where the reader stands"
    await grow(feed, 6, 7)
    assert [e.seq for e in await next_events(reader, 2)] == [6, 7]


async def test_an_event_carries_the_whole_change(hub: Hub, feed: Feed) -> None:
    reader = await hub.subscribe()
    await grow(feed, 1, 1, title="two\nlines")
    (event,) = await next_events(reader, 1)
    assert event.id == f"{feed.store.uuid}:1"
    assert event.name == event.data["event"] == "thing_created"
    assert {k: event.data[k] for k in ("seq", "scope", "entity", "entity_id", "actor", "cause")} == {
        "seq": 1,
        "scope": "test",
        "entity": "thing",
        "entity_id": "t1",
        "actor": ACT.actor,
        "cause": ACT.cause,
    }
    assert event.data["payload"]["title"] == "two\nlines"


@pytest.mark.parametrize("live", [True, False])
async def test_filters_let_through_what_is_wanted_live_and_replayed(hub: Hub, feed: Feed, live: bool) -> None:
    readers = {}
    wanted = {
        "parts of t1": Filter.of(["t1"]),
        "removed": Filter.of(events=["part_removed", "thing_removed"]),
        "both": Filter.of(["t1", "t2"], ["part_recorded"]),
        "none": Filter.of(["nobody"]),
    }
    hub.options = HubOptions(page=3, most_readers=9)

    async def subscribe() -> None:
        for name, filter in wanted.items():  # noqa: A001 - the word of the interface
            readers[name] = await hub.subscribe(Cursor(0), filter)

    def work(unit: Unit) -> None:
        for number in (1, 2):
            unit.run(SQL.add_plain_thing, id=f"t{number}", title="x", size=1)
            unit.run(SQL.add_part, id=f"p{number}", thing=f"t{number}", state="red")
            unit.run(SQL.remove_part, id=f"p{number}")

    if live:
        await subscribe()
        waiting = [asyncio.ensure_future(next_events(readers["parts of t1"], 2))]
        await asyncio.sleep(0)
    await followed(feed, work, 6)
    if not live:
        await subscribe()
        waiting = [asyncio.ensure_future(next_events(readers["parts of t1"], 2))]
    assert [e.seq for e in await waiting[0]] == [2, 3]
    assert [e.seq for e in await next_events(readers["removed"], 2)] == [3, 6]
    assert [e.seq for e in await next_events(readers["both"], 2)] == [2, 5]
    nothing = asyncio.ensure_future(next_events(readers["none"], 1))
    await grow(feed, 7, 7)
    assert [e.seq for e in await next_events(await hub.subscribe(Cursor(6)), 1)] == [7]
    assert not nothing.done()
    nothing.cancel()


@pytest.mark.guards(
    "A silent stream carries a comment at least every 15 seconds.",
    against="Proxies and clients that take a quiet stream for a dead one.",
    breaks=("stream-falls-silent",),
)
async def test_a_silent_stream_is_kept_alive_and_a_busy_one_is_left_alone(
    hub: Hub, feed: Feed, clock: ManualClock
) -> None:
    assert HubOptions().keep_alive_seconds <= 15
    reader = await hub.subscribe()
    parser = Parser()
    list(parser.feed(await reader.more()))
    passed = await silence(reader, clock, parser)
    assert parser.comments[1:] == ["keep-alive"]
    assert 7.5 <= passed <= 15
    await grow(feed, 1, 1)
    await next_events(reader, 1, parser)
    assert 7.5 <= await silence(reader, clock, parser) <= 15, "an event counts as a sign of life"


async def silence(reader: Subscription, clock: ManualClock, parser: Parser) -> float:
    """Seconds until the reader gets bytes."""
    more = asyncio.ensure_future(reader.more())
    passed = 0.0
    while not more.done():
        assert passed < 60
        await turns(5)
        if not more.done():
            clock.advance(1.25)
            passed += 1.25
    list(parser.feed(more.result()))
    return passed


async def test_a_reader_that_falls_behind_the_ring_is_ended_and_loses_nothing(hub: Hub, feed: Feed) -> None:
    reader = await hub.subscribe(Cursor(0))
    other = await hub.subscribe(Cursor(0))
    await grow(feed, 1, 2)
    assert [e.seq for e in await next_events(reader, 2)] == [1, 2]
    for first in range(3, 30, 3):
        await grow(feed, first, first + 2)
        while hub.ring.end < feed.position:
            await next_events(other, 1)
    assert len(hub.ring) <= 8
    assert await reader.more() == b""
    assert reader.ended == "overflow"
    assert hub.readers == 1
    again = await hub.subscribe(Cursor(2, feed.store.uuid))
    assert [e.seq for e in await next_events(again, 27)] == list(range(3, 30))


async def test_bytes_bound_the_ring_too_but_one_great_change_still_comes_through(hub: Hub, feed: Feed) -> None:
    hub.ring._most_bytes = 2_000
    reader = await hub.subscribe()
    for number in range(1, 7):
        await grow(feed, number, number, title="x" * (10_000 if number == 4 else 400))
        assert [e.seq for e in await next_events(reader, 1)] == [number]
        assert len(hub.ring) == 1 or hub.ring._bytes <= 2_000


async def test_readers_who_ask_alike_are_handed_the_same_bytes(hub: Hub, feed: Feed) -> None:
    readers = [await hub.subscribe() for _ in range(3)]
    for reader in readers:
        await reader.more()
    waiting = [asyncio.ensure_future(reader.more()) for reader in readers]
    await asyncio.sleep(0)
    await grow(feed, 1, 3)
    first, second, third = [await more for more in waiting]
    assert first is second is third


@pytest.mark.guards(
    "Events that are committed while a reader replays reach it once, after what it replayed.",
    against="The seam between replay and live, where events are lost, doubled or come too early.",
    breaks=("stream-loses-the-seam", "stream-goes-live-before-replay"),
)
async def test_events_that_come_while_a_reader_replays_are_neither_lost_nor_doubled(hub: Hub, feed: Feed) -> None:
    await grow(feed, 1, 4)
    gate = faults.Gate()
    reader = await hub.subscribe(Cursor(0))
    with faults.armed(REPLAYED, gate, nth=2):
        reading = asyncio.ensure_future(next_events(reader, 9))
        assert await asyncio.to_thread(gate.reached.wait, 10)
        await grow(feed, 5, 7)
        await in_ring(hub)
        gate.open()
        await grow(feed, 8, 9)
        assert [e.seq for e in await reading] == list(range(1, 10))


async def test_with_nobody_connected_nothing_is_read(hub: Hub, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    read = feed.store.read
    monkeypatch.setattr(feed.store, "read", lambda work: (reads.append(work), read(work))[1])
    await grow(feed, 1, 5)
    assert [work for work in reads if "Hub" in work.__qualname__] == []
    reader = await hub.subscribe()
    await grow(feed, 6, 6)
    assert [e.seq for e in await next_events(reader, 1)] == [6]
    assert [work for work in reads if "Hub" in work.__qualname__]


async def test_one_reader_too_many_is_refused_and_a_place_is_free_when_one_leaves(hub: Hub) -> None:
    readers = [await hub.subscribe() for _ in range(3)]
    with pytest.raises(Unavailable, match="3 streams"):
        await hub.subscribe()
    readers[0].close("left")
    assert (await hub.subscribe()).ended is None


async def test_stopping_the_hub_ends_every_stream_and_refuses_new_ones(hub: Hub) -> None:
    reader = await hub.subscribe()
    await reader.more()
    waiting = asyncio.ensure_future(reader.more())
    await asyncio.sleep(0)
    await hub.stop()
    await hub.stop()
    assert await waiting == b""
    assert reader.ended == "stopped"
    with pytest.raises(Unavailable):
        await hub.subscribe()


@pytest.mark.parametrize("text", ["x", "-1", "a:b", "1.5", "٣", "a:b:1", "1" * 19, "a b:1"])
def test_a_cursor_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match="no position"):
        Cursor.parse(text)


def test_the_header_of_a_reconnect_goes_before_the_address() -> None:
    assert Cursor.wanted("s:7", "3") == Cursor(7, "s")
    assert Cursor.wanted(None, "3") == Cursor(3)
    assert Cursor.wanted("", "") is None


# --- the endpoint, as an ASGI server calls it -------------------------------------------------------------------


class Wire:
    """The two channels of one request."""

    def __init__(self, query: bytes = b"", headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        self.scope = {"type": "http", "method": "GET", "query_string": query, "headers": headers}
        self.sent: list[dict[str, Any]] = []
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.incoming.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        self.came = asyncio.Event()

    async def send(self, message: Any) -> None:
        self.sent.append(message)
        self.came.set()

    async def until(self, count: int) -> None:
        while len(self.sent) < count:
            self.came.clear()
            await self.came.wait()


async def test_the_endpoint_streams_until_the_reader_leaves(hub: Hub, feed: Feed) -> None:
    await grow(feed, 1, 2)
    wire = Wire(b"after=1&event=thing_created", ((b"last-event-id", b""),))
    serving = asyncio.ensure_future(serve(hub, wire.scope, wire.incoming.get, wire.send, [(b"x-more", b"1")]))
    await wire.until(3)
    start, *pieces = wire.sent
    headers = dict(start["headers"])
    assert start["status"] == 200
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert (headers[b"cache-control"], headers[b"x-accel-buffering"], headers[b"x-more"]) == (b"no-store", b"no", b"1")
    assert [e.seq for p in pieces for e in Parser().feed(p["body"])] == [2]
    assert hub.readers == 1
    wire.incoming.put_nowait({"type": "http.disconnect"})
    await serving
    assert hub.readers == 0
    assert all(message["more_body"] for message in wire.sent[1:])


async def test_the_endpoint_ends_the_response_when_the_daemon_goes_down(hub: Hub) -> None:
    wire = Wire()
    serving = asyncio.ensure_future(serve(hub, wire.scope, wire.incoming.get, wire.send))
    await wire.until(2)
    await hub.stop()
    await serving
    assert wire.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


@pytest.mark.parametrize("query", [b"after=x", b"after=1&after=2", b"scope=" + b"a" * 201, b"event=%ff", b"after=\xff"])
async def test_a_request_that_cannot_be_read_is_refused_before_anything_is_sent(hub: Hub, query: bytes) -> None:
    wire = Wire(query)
    with pytest.raises(Malformed):
        await serve(hub, wire.scope, wire.incoming.get, wire.send)
    assert wire.sent == []
    assert hub.readers == 0


async def test_a_request_that_is_cancelled_leaves_no_reader_behind(hub: Hub) -> None:
    wire = Wire()
    serving = asyncio.ensure_future(serve(hub, wire.scope, wire.incoming.get, wire.send))
    await wire.until(2)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert hub.readers == 0
    assert hub._waiting == set()
