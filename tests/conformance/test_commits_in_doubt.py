"""Commits to PostgreSQL whose answer was lost on the way: done exactly once, and never misreported."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

import psycopg
import pytest

from holdfast.core.errors import StoreInDoubt, StoreLost
from holdfast.core.store.options import StoreOptions
from holdfast.core.store.port import Row, Store
from holdfast.core.store.postgres_session import Session
from holding import ONE_WRITER, adds, changes_in, grows, size_of
from pg_proxy import Cut, Wire
from testpack import ACT

if TYPE_CHECKING:
    from conftest import StoreMaker


@pytest.fixture
def engine() -> str:
    return "postgres"


@pytest.fixture
async def wired(
    make_store: StoreMaker, place_on_wire: tuple[Wire, Callable[[], Awaitable[Store]]]
) -> tuple[Wire, Store]:
    wire, opened = place_on_wire
    return wire, await opened()


@pytest.fixture
def place_on_wire(make_store: StoreMaker) -> Iterator[tuple[Wire, Callable[[], Awaitable[Store]]]]:
    place = make_store.place()
    wire = Wire(str(place.url))

    async def opened() -> Store:
        return await make_store(at=type(place)(place.data, wire.url), options=ONE_WRITER)

    yield wire, opened
    wire.close()


@pytest.mark.guards(
    "When the connection breaks during a commit, the unit is done exactly once, and its caller is told the truth.",
    against="A unit that was committed and runs again, or one that was not and is reported as done.",
    breaks=("postgres-rerun-in-doubt",),
)
@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.AFTER])
async def test_a_commit_cut_on_its_way_is_done_exactly_once(wired: tuple[Wire, Store], cut: Cut) -> None:
    wire, store = wired
    heard = asyncio.Event()
    await store.unit(ACT, adds("a", size=10))
    store.on_commit(heard.set)
    wire.cut = cut
    assert await store.unit(ACT, grows()) == 1
    assert wire.cuts == 1
    assert heard.is_set()
    assert await size_of(store) == 11
    assert await changes_in(store) == 2


def restarting(monkeypatch: pytest.MonkeyPatch, *, attempts: int) -> list[int]:
    """From now on the server turns so many new connections away, as one does that starts; the numbers of those."""
    connected, turned_away = Session._connected, []

    def refusing(session: Session) -> psycopg.Connection[Row]:
        if len(turned_away) < attempts:
            turned_away.append(len(turned_away))
            raise StoreLost("cannot be reached: the database system is starting up")
        return connected(session)

    monkeypatch.setattr(Session, "_connected", refusing)
    return turned_away


@pytest.mark.guards(
    "A server that restarts while a commit is in doubt is asked until it answers, and the caller is told the truth.",
    against="A unit that was committed and whose caller is told to try again, and does it twice.",
    breaks=("postgres-in-doubt-is-only-lost",),
)
@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.AFTER])
async def test_a_commit_in_doubt_is_settled_when_the_server_is_back(
    wired: tuple[Wire, Store], cut: Cut, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire, store = wired
    await store.unit(ACT, adds("a", size=10))
    turned_away = restarting(monkeypatch, attempts=3)
    wire.cut = cut
    assert await store.unit(ACT, grows()) == 1
    assert len(turned_away) == 3
    assert await size_of(store) == 11


@pytest.mark.guards(
    "A commit whose end cannot be found out is an error of its own, which does not claim that trying again is safe.",
    against="A client that repeats a write because the error said that it may.",
    breaks=("postgres-in-doubt-is-retryable",),
)
async def test_a_commit_that_stays_in_doubt_is_not_called_retryable(
    make_store: StoreMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make_store.place()
    wire = Wire(str(place.url))
    options = StoreOptions(writers=1, readers=1, unit_seconds=0.3)
    store = await make_store(at=type(place)(place.data, wire.url), options=options)
    try:
        await store.unit(ACT, adds("a", size=10))
        restarting(monkeypatch, attempts=1_000_000)
        wire.cut = Cut.AFTER
        with pytest.raises(StoreInDoubt, match="Idempotency-Key") as caught:
            await store.unit(ACT, grows())
        assert (caught.value.code, caught.value.retryable) == ("store_in_doubt", False)
    finally:
        await store.close()
        wire.close()
