"""Drives the live stream in tests, without a wire: commits that its feed has followed, readers read up to an event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from holdfast.core.changes.feed import Feed
from holdfast.core.changes.hub import Hub, Subscription
from holdfast.core.store.port import Unit
from sse_reader import Event, Parser
from testpack import ACT

LIMIT = 10.0


async def followed(feed: Feed, work: Callable[[Unit], None], changes: int) -> None:
    """Run one unit that makes so many changes, until the feed has come to the last of them."""
    end = feed.position + changes
    await feed.store.unit(ACT, work)
    while feed.position < end:
        await feed.advanced(feed.position)


async def turns(count: int = 10) -> None:
    """Let whoever was woken run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def in_ring(hub: Hub) -> None:
    """Until the ring holds what the feed knows."""
    async with asyncio.timeout(LIMIT):
        while hub.ring.end < hub.feed.position:
            await asyncio.sleep(0)


async def next_events(reader: Subscription, count: int, parser: Parser | None = None) -> list[Event]:
    """So many events; a stream that ends before is a failure."""
    parser = parser or Parser()
    seen: list[Event] = []
    async with asyncio.timeout(LIMIT):
        while len(seen) < count:
            data = await reader.more()
            assert data, f"the stream ended ({reader.ended}) after {seen}"
            seen += parser.feed(data)
    return seen


async def numbers_upto(reader: Subscription, last: int) -> list[int]:
    """The numbers of the events until this one came, or the stream ended."""
    seen: list[Event] = []
    parser = Parser()
    async with asyncio.timeout(LIMIT):
        while (not seen or seen[-1].seq < last) and (data := await reader.more()):
            seen += parser.feed(data)
    return [event.seq for event in seen]
