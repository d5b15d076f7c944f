"""Topics: who listens is told of a commit that announced, after it and only of it; on PostgreSQL elsewhere too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from holdfast.core import faults
from holdfast.core.clock import SYSTEM
from holdfast.core.errors import DuplicateRow, StoreClosed, StoreLost
from holdfast.core.store import postgres_wire
from holdfast.core.store.port import CHANGES, Store, Unit
from holdfast.core.store.postgres import PostgresStore
from holdfast.core.store.postgres_errors import Conflicted
from holding import HELD, LIMIT, Held, adds, names
from opened import postgres_only
from testpack import ACT, SQL

if TYPE_CHECKING:
    from conftest import StoreMaker

TOPIC = "deliveries"


class Ears:
    """A listener that counts its calls, and lets a test wait for the next one."""

    def __init__(self) -> None:
        self.calls = 0
        self._called = asyncio.Event()

    def __call__(self) -> None:
        self.calls += 1
        self._called.set()

    async def called(self) -> None:
        """Wait until it was called since this was last asked."""
        async with asyncio.timeout(LIMIT):
            await self._called.wait()
        self._called.clear()


async def ears_on(store: Store, topic: str = TOPIC) -> Ears:
    """A listener that has not been called, from which on every call has to do with a commit."""
    ears = Ears()
    fresh = isinstance(store, PostgresStore) and not store.wire.listening.is_set()
    store.on_topic(topic, ears)
    if fresh:
        await ears.called()  # the connection that listens has been made
    ears.calls = 0
    return ears


def tells(*topics: str, then: Callable[[Unit], Any] = lambda _: None) -> Callable[[Unit], Any]:
    """Work that announces topics, then does something else."""

    def work(unit: Unit) -> Any:
        for topic in topics:
            unit.announce(topic)
        return then(unit)

    return work


async def all_is_told(store: Store) -> None:
    """Wait until whatever commits announced up to now has been told in this process."""
    fence = Ears()
    end = store.on_topic("fence", fence)
    fence.calls = 0
    await store.unit(ACT, tells("fence"))
    await fence.called()
    await asyncio.sleep(0)
    end()


def before_commit(store: Store) -> str:
    return f"{store.dialect}.commit.before"


@pytest.mark.guards(
    "Who listens to a topic is told after the commit, when a read already sees it, and never before.",
    against="A listener that is told too early finds nothing, and nobody tells it again.",
    breaks=("topics-tell-before-the-commit",),
)
async def test_a_listener_is_told_after_the_commit_and_sees_it(store: Store) -> None:
    ears, gate = await ears_on(store), faults.Gate(limit=5)
    with faults.armed(before_commit(store), gate):
        writing = asyncio.ensure_future(store.unit(ACT, tells(TOPIC, then=adds("a"))))
        assert await asyncio.to_thread(gate.reached.wait, LIMIT)
        for _ in range(3):
            await asyncio.sleep(0)
        assert ears.calls == 0
        gate.open()
        await ears.called()
    assert await names(store) == ["a"]
    assert await writing == 1


async def test_a_unit_that_writes_nothing_may_announce(store: Store) -> None:
    ears = await ears_on(store)
    await store.unit(ACT, tells(TOPIC))
    await ears.called()
    assert ears.calls == 1


async def test_a_unit_tells_every_topic_it_announced_and_no_other(store: Store) -> None:
    one, two, three = [await ears_on(store, topic) for topic in ("one", "two", "three")]
    await store.unit(ACT, tells("one", "two", "one", then=adds("a")))
    await all_is_told(store)
    assert (one.calls, two.calls, three.calls) == (1, 1, 0)


async def test_every_commit_that_wrote_is_told_under_the_topic_of_changes(store: Store) -> None:
    ears = await ears_on(store, CHANGES)
    await store.unit(ACT, tells(TOPIC))
    await all_is_told(store)
    assert ears.calls == 0
    await store.unit(ACT, adds("a"))
    await ears.called()
    assert await names(store) == ["a"]


def raises(unit: Unit) -> None:
    adds("gone")(unit)
    raise LookupError("my own reason")


def swallows(unit: Unit) -> None:
    adds("gone")(unit)
    try:
        adds("taken")(unit)
    except DuplicateRow:
        return


@pytest.mark.guards(
    "A unit of work that is rolled back tells nobody, whatever else commits beside it.",
    against="Listeners set out for work that is not there; or each failing unit wakes them all for nothing.",
    breaks=("topics-tell-of-a-rolled-back-unit",),
)
@pytest.mark.parametrize(("failing", "kind"), [(raises, LookupError), (swallows, DuplicateRow)])
async def test_a_unit_that_fails_beside_others_tells_nobody(
    make_store: StoreMaker, failing: Callable[[Unit], None], kind: type[Exception]
) -> None:
    store = await make_store(options=HELD)
    await store.unit(ACT, adds("taken"))
    kept, lost = await ears_on(store, "kept"), await ears_on(store, "lost")
    async with Held(store, 1):
        works = [tells("lost", then=failing) if n == 1 else tells("kept", then=adds(f"u{n}")) for n in range(3)]
        asked = [asyncio.ensure_future(store.unit(ACT, work)) for work in works]
        await asyncio.sleep(0)
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(outcomes[1], kind)
    await kept.called()
    await all_is_told(store)
    assert lost.calls == 0
    assert await names(store) == ["taken", "u0", "u2"]


@pytest.mark.guards(
    "A unit of work whose commit fails tells nobody.",
    against="The announcement leaves with the end of the work instead of with the commit.",
    breaks=("topics-tell-of-a-commit-that-failed",),
)
async def test_a_unit_whose_commit_fails_tells_nobody(store: Store) -> None:
    ears = await ears_on(store)
    failing = faults.raising(StoreLost("the disk is gone"))
    with faults.armed(before_commit(store), failing), pytest.raises(StoreLost, match="the disk is gone"):
        await store.unit(ACT, tells(TOPIC, then=adds("gone")))
    await all_is_told(store)
    assert ears.calls == 0
    assert await names(store) == []


@pytest.mark.guards(
    "A unit of work that runs again announces what its committed run did, not what the lost one did.",
    against="Topics gathered by a run whose transaction was lost leave with the next commit.",
    breaks=("topics-tell-of-a-lost-run",),
)
async def test_only_the_run_that_commits_announces(make_store: StoreMaker) -> None:
    store = await make_store(options=HELD)
    first, second = await ears_on(store, "first"), await ears_on(store, "second")
    runs: list[str] = []

    def work(unit: Unit) -> None:
        runs.append(unit.at)
        unit.announce("first" if len(runs) == 1 else "second")
        adds("a")(unit)

    crossed = Conflicted("crossed") if store.dialect == "postgres" else StoreLost("a whole group is lost")
    async with Held(store, 1) as held:
        with faults.armed(before_commit(store), faults.raising(crossed), nth=2):  # the held unit commits first
            asked = [asyncio.ensure_future(store.unit(ACT, each)) for each in (work, adds("b"))]
            await asyncio.sleep(0)
            held.open()
            await asyncio.gather(*asked)
    assert len(runs) == 2
    await second.called()
    await all_is_told(store)
    assert first.calls == 0
    assert await names(store) == ["a", "b"]


async def test_an_announcement_of_a_cancelled_caller_is_told_if_its_unit_commits(make_store: StoreMaker) -> None:
    store = await make_store(options=HELD)
    ears, gate = await ears_on(store), faults.Gate(limit=5)
    with faults.armed(before_commit(store), gate):
        writing = asyncio.ensure_future(store.unit(ACT, tells(TOPIC, then=adds("a"))))
        assert await asyncio.to_thread(gate.reached.wait, LIMIT)
        writing.cancel()
        gate.open()
        await ears.called()
    assert await names(store) == ["a"]


async def test_who_has_ended_is_told_no_more(store: Store) -> None:
    ended, other = Ears(), await ears_on(store)
    end = store.on_topic(TOPIC, ended)
    end()
    end()
    await store.unit(ACT, tells(TOPIC))
    await other.called()
    await all_is_told(store)
    assert ended.calls == 0


async def test_a_listener_that_fails_keeps_no_other_from_being_told(store: Store) -> None:
    troubles: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, said: troubles.append(repr(said.get("exception"))))
    ended: list[Callable[[], None]] = []

    def fails() -> None:
        ended[0]()
        raise LookupError("of this listener")

    ended.append(store.on_topic(TOPIC, fails))
    ears = await ears_on(store)
    ended.append(store.on_topic(TOPIC, fails))
    await store.unit(ACT, tells(TOPIC, then=adds("a")))
    await ears.called()
    await all_is_told(store)
    assert troubles
    assert set(troubles) == {"LookupError('of this listener')"}


async def test_a_unit_cannot_announce_after_its_end(store: Store) -> None:
    units: list[Unit] = []
    await store.unit(ACT, units.append)
    with pytest.raises(StoreClosed, match="after its end"):
        units[0].announce(TOPIC)


# --- between processes ---------------------------------------------------------------------------------------------


@pytest.fixture
def url(make_store: StoreMaker, store: Store) -> str:
    return str(make_store.place_of(store).url)


@pytest.fixture
async def other(store: Store, url: str) -> AsyncIterator[PostgresStore]:
    """A second open store on the same database, as another process would have it."""
    other = PostgresStore(url, uuid=store.uuid, effects_held=False, clock=SYSTEM)
    await other.start()
    yield other
    await other.close()


@postgres_only
async def test_two_processes_hear_each_other(store: Store, other: PostgresStore) -> None:
    here, there = await ears_on(store), await ears_on(other)
    aside = await ears_on(other, "something else")
    await store.unit(ACT, tells(TOPIC, then=adds("a")))
    await there.called()
    assert await names(other) == ["a"]
    assert aside.calls == 0
    here.calls = 0
    await here.called()
    await other.unit(ACT, tells(TOPIC, then=adds("b")))
    await here.called()
    assert await names(store) == ["a", "b"]


@postgres_only
async def test_a_process_that_listens_to_nothing_is_heard(store: Store, other: PostgresStore) -> None:
    there = await ears_on(other)
    await store.unit(ACT, tells(TOPIC, then=adds("a")))
    await there.called()
    assert await names(other) == ["a"]


@postgres_only
async def test_more_topics_than_one_announcement_can_name_reach_everybody(store: Store, other: PostgresStore) -> None:
    there = await ears_on(other)
    await store.unit(ACT, tells(*(f"topic {number}" for number in range(3_000))))
    await there.called()
    assert there.calls == 1


@postgres_only
@pytest.mark.parametrize("said", ["", "nonsense", "[]", "5", '["x", ["y"]]', '["x", 1]', "[" * 5_000])
async def test_an_announcement_that_nobody_understands_reaches_everybody(store: Store, url: str, said: str) -> None:
    ears = await ears_on(store)
    with psycopg.connect(url, autocommit=True) as stranger:
        stranger.execute("SELECT pg_notify('holdfast', %s)", (said,))
        await ears.called()
        stranger.execute("SELECT pg_notify('holdfast', %s)", (f'["stranger", "{TOPIC}"]',))
        await ears.called()


@postgres_only
@pytest.mark.guards(
    "Whoever listens is called again when the connection that listens had been lost and is there again.",
    against="What was announced while nobody could hear it waits for a poll, or for ever.",
    breaks=("topics-deaf-after-a-loss",),
)
async def test_listeners_are_called_when_the_lost_connection_is_back(
    store: Store, other: PostgresStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_wire, "_RECONNECT_SECONDS", 0.01)
    ears = await ears_on(store)
    with psycopg.connect(url, autocommit=True) as admin:
        ours = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE query ILIKE 'listen%'"
        assert admin.execute(ours).rowcount == 1
    await ears.called()
    await other.unit(ACT, tells(TOPIC, then=adds("a")))
    await ears.called()
    assert await names(store) == ["a"]


@postgres_only
async def test_the_wire_is_there_when_somebody_listens_and_ends_with_the_store(store: Store, url: str) -> None:
    def talking() -> set[str]:
        return {name for task in asyncio.all_tasks() if (name := task.get_name()).startswith("store ")}

    await store.unit(ACT, lambda unit: unit.run(SQL.add_plain_thing, id="a", title="a thing", size=1))
    assert talking() == set()
    await ears_on(store)
    assert talking() == {"store listens", "store announces"}
    await store.close()
    assert talking() == set()
