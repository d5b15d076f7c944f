"""Fixtures that every test may use: both engines, open stores, fresh databases, a clock moved by hand."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from manual_clock import ManualClock  # `tests` is on the path (pyproject.toml)

if TYPE_CHECKING:
    from holdfast.core.changes.feed import Feed
    from holdfast.core.changes.hub import Hub, HubOptions
    from holdfast.core.clock import Clock
    from holdfast.core.pack import Pack
    from holdfast.core.store.lock import DataLock
    from holdfast.core.store.port import Store
    from pg import Server

EngineName = Literal["sqlite", "postgres"]


@pytest.fixture(scope="session")
def pg_server() -> Iterator[Server]:
    """The PostgreSQL server of this test process, started when first asked for."""
    from pg import Server

    server = Server()
    yield server
    server.stop()


@pytest.fixture
def new_database(request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """Makes fresh, empty PostgreSQL databases and gives their URLs; they are gone after the test."""
    made: list[str] = []

    def make() -> str:
        server: Server = request.getfixturevalue("pg_server")
        made.append(server.new_database())
        return made[-1]

    yield make
    for url in made:
        request.getfixturevalue("pg_server").drop(url)


@pytest.fixture
def pg_url(new_database: Callable[[], str]) -> str:
    """One fresh, empty PostgreSQL database."""
    return new_database()


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest) -> EngineName:
    """Both engines, one after the other."""
    name: EngineName = request.param
    return name


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still until the test moves it."""
    return ManualClock()


@dataclass(frozen=True)
class Place:
    """Where a store lives: its data folder, and its database if it is a PostgreSQL one."""

    data: Path
    url: str | None


@dataclass
class StoreMaker:
    """Opens stores of one engine as the daemon does; everything it opened is closed after the test.

    `await make_store()` opens a fresh store. `place = make_store.place()` names a fresh place and
    `await make_store(at=place)` opens the store there, again after a `close()`. `make_store.place_of(store)` tells
    where a store lives.
    """

    engine: EngineName
    folder: Path
    new_database: Callable[[], str]
    stack: ExitStack = field(default_factory=ExitStack)
    _locks: dict[Path, DataLock] = field(default_factory=dict)
    _opened: list[tuple[Store, Place]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def place(self) -> Place:
        """A fresh place, with nothing in it."""
        data = self.folder / f"data{next(self._numbers)}"
        data.mkdir()
        return Place(data, self.new_database() if self.engine == "postgres" else None)

    def place_of(self, store: Store) -> Place:
        """Where a store opened here lives."""
        return next(place for opened, place in self._opened if opened is store)

    def lock(self, place: Place) -> DataLock:
        """The lock of the place, held until the end of the test."""
        from holdfast.core.store.lock import hold_data

        if place.data not in self._locks:
            self._locks[place.data] = self.stack.enter_context(hold_data(place.data))
        return self._locks[place.data]

    async def __call__(
        self,
        *,
        at: Place | None = None,
        packs: tuple[Pack, ...] | None = None,
        clock: Clock | None = None,
        **config: Any,
    ) -> Store:
        """Open a store; `config` is what else `StoreConfig` takes (`options`, `accept_loss`)."""
        from holdfast.core.clock import SYSTEM
        from holdfast.core.store.opening import StoreConfig, open_store
        from holdfast.core.store.pack import CORE
        from testpack import PACK

        place = at or self.place()
        chosen = (CORE, PACK) if packs is None else packs
        full = StoreConfig(data=place.data, packs=chosen, url=place.url, clock=clock or SYSTEM, **config)
        store = await open_store(full, self.lock(place))
        self._opened.append((store, place))
        return store

    async def close(self) -> None:
        """Close what is open, newest first, then give the locks back."""
        for store, _ in reversed(self._opened):
            await store.close()
        self.stack.close()


@pytest.fixture
async def make_store(engine: EngineName, tmp_path: Path, new_database: Callable[[], str]) -> AsyncIterator[StoreMaker]:
    """Opens stores of the engine under test; see `StoreMaker`."""
    maker = StoreMaker(engine, tmp_path, new_database)
    yield maker
    await maker.close()


@pytest.fixture
async def store(make_store: Callable[[], Awaitable[Store]]) -> Store:
    """An open store with the core's tables and the test pack's (see `testpack`)."""
    return await make_store()


@pytest.fixture
async def feed(store: Store) -> AsyncIterator[Feed]:
    """What follows the change log of `store`."""
    from holdfast.core.changes.feed import Feed

    feed = Feed(store)
    await feed.start()
    yield feed
    await feed.stop()


@pytest.fixture
def hub_options() -> HubOptions:
    """The bounds of `hub`, for a module to set."""
    from holdfast.core.changes.hub import HubOptions

    return HubOptions()


@pytest.fixture
async def hub(feed: Feed, clock: ManualClock, hub_options: HubOptions) -> AsyncIterator[Hub]:
    """The live stream of `feed`; the test moves its time."""
    from holdfast.core.changes.hub import Hub

    hub = Hub(feed, clock, hub_options)
    await hub.start()
    yield hub
    await hub.stop()
