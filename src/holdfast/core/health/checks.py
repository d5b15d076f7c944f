"""The core's own checks: one function each, that returns when all is well and raises what is not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.core.errors import StoreForeign, Unavailable
from holdfast.core.store.sql import load

if TYPE_CHECKING:
    from holdfast.core.changes.feed import Feed
    from holdfast.core.store.port import Store

SQL = load("holdfast.core.health", "probe.sql")
#: How long the feed may take to reach what is committed.
FEED_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Check:
    """Something that must be well. A critical one that fails makes the whole service not ready."""

    name: str
    doc: str
    critical: bool
    run: Callable[[], Awaitable[None]]
    timeout_seconds: float = 5.0


async def check_store(store: Store) -> int:
    """The store answers, its tables are there, and it is the one that was opened; its newest change."""
    row = await store.read(lambda reader: reader.one(SQL.store))
    if row is None or row["value"] != store.uuid:
        message = "The store is not the one that this daemon opened. Restart the daemon."
        raise StoreForeign(message)
    return int(row["newest"] or 0)


async def check_feed(store: Store, feed: Feed) -> None:
    """The feed reaches what is committed."""
    newest = await check_store(store)
    try:
        async with asyncio.timeout(FEED_SECONDS):
            while feed.position < newest:
                await feed.advanced(feed.position)
    except TimeoutError:
        behind = newest - feed.position
        message = f"The feed is {behind} changes behind the store. A long transaction of another program holds it back."
        raise Unavailable(message) from None


def core_checks(store: Store, feed: Feed) -> tuple[Check, ...]:
    """The checks of the core."""

    async def run_store() -> None:
        await check_store(store)

    return (
        Check("store", "The store answers the query that everything else leans on.", critical=True, run=run_store),
        Check(
            "feed",
            "The change feed reaches what is committed; streams are late without it.",
            critical=False,
            run=lambda: check_feed(store, feed),
        ),
    )
