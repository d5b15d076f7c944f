"""The core's own checks: one function each, that returns when all is well and raises what is not."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.core import lanes
from holdfast.core.errors import StoreForeign, StoreFull, StoreLost, Unavailable
from holdfast.core.propagation import redrive
from holdfast.core.store.sql import load

if TYPE_CHECKING:
    from holdfast.core.changes.feed import Feed
    from holdfast.core.health.writing import Writing
    from holdfast.core.store.port import Store

SQL = load("holdfast.core.health", "probe.sql")
#: How long the feed may take to reach what is committed.
FEED_SECONDS = 2.0
#: Less room than this on the disk of the data folder is told before it is none.
ROOM_BYTES = 64 * 1024 * 1024


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


async def check_disk(store: Store, data: Path) -> None:
    """There is room for what comes, and what the store keeps behind the scenes goes well."""
    trouble: str | None = getattr(store, "trouble", None)  # an engine with a file of its own has it
    if trouble is not None:
        raise StoreLost(trouble)
    # In a thread of its own: a disk in another machine may take its time.
    room = (await asyncio.to_thread(shutil.disk_usage, data)).free
    if room < ROOM_BYTES:
        message = f"{room >> 20} MB are free on the disk of {data}. Make room: without any, writes are refused."
        raise StoreFull(message)


async def check_effects(store: Store) -> None:
    """Effects are not held. Another process may have released them: this is where one without a runner learns of it."""
    await redrive.notice_release(store)
    if store.effects_held:
        message = (
            "The store was restored from a backup, and its effects are held: "
            "look at `holdfast jobs ls`, then `holdfast jobs release`."
        )
        raise Unavailable(message)


async def check_threads() -> None:
    """Nothing waits for a thread."""
    full = [lane for lane in lanes.every() if lane.waiting]
    if full:
        told = ", ".join(f"all {lane.bound} of {lane.name!r}, for which {lane.waiting} wait" for lane in full)
        message = f"Threads are busy: {told}. Look for a disk or a repository that does not answer; `holdfast jobs ls`."
        raise Unavailable(message)


def core_checks(store: Store, feed: Feed, writing: Writing, data: Path) -> tuple[Check, ...]:
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
        # Not critical: what is there can be read and streamed all the same, and who sends readers away from a daemon
        # whose disk is full takes from people the page that tells them so. Writes say 503 by themselves.
        Check(
            "writes",
            "Writes commit; after one that found no room or no disk, they are refused until one goes through.",
            critical=False,
            run=writing.check,
        ),
        Check(
            "disk",
            "The disk of the data folder has room, and the store's file takes in what was written.",
            critical=False,
            run=lambda: check_disk(store, data),
        ),
        Check(
            "effects",
            "Effects happen; those of a store that was restored from a backup wait until somebody releases them.",
            critical=False,
            run=lambda: check_effects(store),
        ),
        Check(
            "threads",
            "Blocking work finds a thread; each kind has its own, so a full one delays nothing else.",
            critical=False,
            run=check_threads,
        ),
    )
