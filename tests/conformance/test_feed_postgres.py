"""The feed where numbers are handed out before commits: gaps that fill late, never, or under a long transaction."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import psycopg
import pytest

from conftest import StoreMaker
from holdfast.core import faults
from holdfast.core.changes import feed_postgres, log
from holdfast.core.changes.feed import Feed
from holdfast.core.changes.feed_postgres import STANDS_AT_GAP, Note, look
from holdfast.core.changes.hub import Hub
from holdfast.core.clock import SYSTEM
from holdfast.core.store.port import Store
from holdfast.core.store.postgres import PostgresStore
from sse_reader import events_of
from testpack import ACT, SQL

ADD = "INSERT INTO things (id, title, size) VALUES (%s, 'x', 0)"


@pytest.fixture
def engine() -> str:
    return "postgres"


@pytest.fixture
def url(make_store: StoreMaker, store: Store) -> str:
    found = make_store.place_of(store).url
    assert found is not None
    return found


class Others:
    """Transactions of other programs, begun and ended by the test."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.stack = ExitStack()

    def begin(self, *keys: str) -> psycopg.Connection:
        """An open transaction that has a place in line, and wrote these rows."""
        connection = self.stack.enter_context(psycopg.connect(self.url))
        connection.execute("SELECT pg_current_xact_id()")
        for key in keys:
            connection.execute(ADD, (key,))
        return connection

    def add(self, *keys: str) -> None:
        """Write these rows and commit."""
        self.begin(*keys).commit()


@pytest.fixture
def others(url: str) -> Iterator[Others]:
    made = Others(url)
    yield made
    made.stack.close()


class Eyes:
    """A feed that looks when the test tells it to."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.mark = 0
        self.note: Note | None = None
        self.seen: list[str] = []

    async def look(self, times: int = 1) -> list[str]:
        """Look, then read what the mark allows, as a reader does; the ids so far."""
        for _ in range(times):
            before = self.mark
            sight = await self.store.read(lambda r: look(r, self.mark, self.note))
            self.mark, self.note = sight.mark, sight.note
            page = await self.store.read(lambda r, b=before: log.page(r, after=b, upto=self.mark, limit=100))
            self.seen += [change.entity_id for change in page]
        return self.seen


@pytest.fixture
def eyes(store: Store) -> Eyes:
    return Eyes(store)


@pytest.mark.guards(
    "A change whose transaction took its number early and commits last is not lost.",
    against="The cursor `seq > last`, which has gone past a number when its row appears.",
    breaks=("feed-highest-number-seen",),
)
async def test_an_early_number_that_is_committed_last_is_waited_for(eyes: Eyes, others: Others) -> None:
    others.add("first")
    early = others.begin("early")
    others.add("late")
    assert await eyes.look(3) == ["first"]
    early.commit()
    assert await eyes.look(2) == ["first", "early", "late"]


@pytest.mark.guards(
    "A number taken by a transaction that stands above the snapshot's xmax is waited for like any other.",
    against="A horizon at `pg_snapshot_xmax`: 13 % of the changes lost here.",
    breaks=("feed-horizon-at-xmax", "feed-highest-number-seen"),
)
async def test_a_number_of_the_youngest_transaction_is_waited_for(eyes: Eyes, others: Others) -> None:
    older = others.begin()
    younger = others.begin("early")  # a later transaction with an earlier number
    older.execute(ADD, ("late",))
    older.commit()
    assert await eyes.look(3) == []
    younger.commit()
    assert await eyes.look(2) == ["early", "late"]


@pytest.mark.guards(
    "The changes of one row stay in the order in which they were made, whichever transaction began first.",
    against="A cursor on (transaction id, seq): 5 % of the changes of one row changed places here.",
    breaks=("feed-orders-by-transaction",),
)
async def test_changes_of_one_row_keep_their_order_though_the_older_transaction_wrote_last(
    eyes: Eyes, others: Others, store: Store
) -> None:
    older = others.begin()
    others.add("row")
    older.execute("UPDATE things SET size = 1 WHERE id = 'row'")
    older.commit()
    await eyes.look()
    changes = await store.read(lambda r: log.page(r, after=0, upto=eyes.mark, limit=9))
    assert [change.event for change in changes] == ["thing_created", "thing_updated"]


async def test_numbers_that_were_rolled_back_are_passed(eyes: Eyes, others: Others) -> None:
    for number in range(4):
        others.begin(f"gone{number}").rollback()
        others.add(f"kept{number}")
    assert await eyes.look(1) == []
    assert await eyes.look(1) == ["kept0", "kept1", "kept2", "kept3"], "one note serves every gap in sight"


async def test_a_gap_at_the_end_holds_nothing_back_and_later_rows_are_found(eyes: Eyes, others: Others) -> None:
    others.add("first")
    others.begin("gone").rollback()
    assert await eyes.look() == ["first"]
    others.add("second")
    assert await eyes.look(2) == ["first", "second"]


async def test_a_long_transaction_holds_back_gaps_but_not_what_follows_without_one(eyes: Eyes, others: Others) -> None:
    long = others.begin()
    others.add("first")
    assert await eyes.look() == ["first"]
    others.begin("gone").rollback()
    others.add("second")
    assert await eyes.look(3) == ["first"], "for all we know the open transaction holds the missing number"
    long.rollback()
    assert await eyes.look() == ["first", "second"]


async def test_a_transaction_begun_after_the_gap_does_not_hold_it_back(eyes: Eyes, others: Others) -> None:
    others.begin("gone").rollback()
    others.add("kept")
    assert await eyes.look() == []
    others.begin("open")
    assert await eyes.look() == ["kept"]


async def test_a_log_longer_than_one_look_is_followed_to_its_end(
    eyes: Eyes, others: Others, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_postgres, "_BATCH", 3)
    for number in range(3):
        others.begin("gone").rollback()
        others.add(f"a{number}", f"b{number}")
    looks = 0
    while len(eyes.seen) < 6:
        await eyes.look()
        looks += 1
        assert looks < 12
    assert eyes.seen == ["a0", "b0", "a1", "b1", "a2", "b2"]


@pytest.fixture
async def feed(store: Store) -> AsyncIterator[Feed]:
    feed = Feed(store)
    await feed.start()
    yield feed
    await feed.stop()


async def test_readers_stand_before_a_gap_until_it_is_filled(feed: Feed, others: Others, store: Store) -> None:
    hub = Hub(feed)
    await hub.start()
    stands = threading.Event()
    live = events_of(hub.stream())
    early = others.begin("early")
    with faults.armed(STANDS_AT_GAP, stands.set):
        reading = asyncio.ensure_future(anext(live))
        await store.unit(ACT, lambda u: u.run(SQL.add_plain_thing, id="late", title="x", size=0))
        assert await asyncio.to_thread(stands.wait, 10)
    assert feed.position == 0
    assert not reading.done()
    early.commit()
    assert [(await reading).data["entity_id"], (await anext(live)).data["entity_id"]] == ["early", "late"]
    await hub.stop()


@pytest.mark.guards(
    "A feed that starts while an older transaction is open does not begin behind that transaction's number.",
    against="A restart that loses what the dying daemon's last transactions commit.",
    breaks=("feed-begins-at-the-newest",),
)
async def test_a_feed_that_starts_at_a_gap_still_brings_what_fills_it(
    store: Store, others: Others, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_postgres, "_SETTLE_SECONDS", 0.05)
    others.add("first")
    early = others.begin("early")
    others.add("late")
    feed = Feed(store)
    await feed.start()
    assert feed.position == 1
    early.commit()
    assert await feed.advanced(2) == 3
    await feed.stop()


async def test_a_feed_that_starts_after_roll_backs_begins_at_the_newest_row(store: Store, others: Others) -> None:
    others.begin("gone").rollback()
    others.add("kept")
    feed = Feed(store)
    await feed.start()
    assert feed.position == 2
    await feed.stop()


async def test_a_commit_of_another_process_is_announced(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_postgres, "POLL_SECONDS", 3600.0)
    other = PostgresStore(url, uuid=store.uuid, effects_held=False, clock=SYSTEM)
    await other.start()
    feeds = Feed(store), Feed(other)
    for each in feeds:
        await each.start()
    await feeds[1]._follower._wire.listening.wait()  # type: ignore[union-attr]
    await store.unit(ACT, lambda u: u.run(SQL.add_plain_thing, id="a", title="x", size=0))
    async with asyncio.timeout(10):
        assert await feeds[1].advanced(0) == 1
    for each in feeds:
        await each.stop()
    await other.close()


async def test_a_commit_that_nobody_announces_is_found_by_the_poll(
    store: Store, others: Others, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert feed_postgres.POLL_SECONDS <= 1
    monkeypatch.setattr(feed_postgres, "POLL_SECONDS", 0.02)
    feed = Feed(store)
    await feed.start()
    others.add("a")
    async with asyncio.timeout(10):
        assert await feed.advanced(0) == 1
    await feed.stop()


async def test_a_feed_that_lost_its_connections_goes_on(feed: Feed, store: Store, url: str) -> None:
    await feed._follower._wire.listening.wait()  # type: ignore[union-attr]
    with psycopg.connect(url, autocommit=True) as admin:
        ours = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ILIKE 'listen%'"
        assert admin.execute(ours).rowcount == 1
    await store.unit(ACT, lambda u: u.run(SQL.add_plain_thing, id="a", title="x", size=0))
    async with asyncio.timeout(10):
        assert await feed.advanced(0) == 1
