"""The port of the store: what a unit of work and a reader see, whichever engine is behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from holdfast.core.store.sql import Query

Dialect = Literal["sqlite", "postgres"]
Value = str | int | float | bytes | None
Row = dict[str, Any]
T = TypeVar("T")

#: The topic of every commit that wrote, whatever else its unit announced.
CHANGES = "changes"


@dataclass(frozen=True, slots=True)
class Act:
    """Who does something and why; stands on every change-log row that the unit of work causes."""

    actor: str  # token:<id>, session:<id>, propagation:<id> or daemon
    cause: str  # request, propagation or signal id


class Reader(Protocol):
    """One consistent view of the store."""

    @property
    def dialect(self) -> Dialect:
        """Which engine this is; for the few places that must know."""
        ...

    def all(self, query: Query, /, **params: Value) -> list[Row]:
        """Every row."""
        ...

    def one(self, query: Query, /, **params: Value) -> Row | None:
        """The first row, if there is one."""
        ...


class Unit(Reader, Protocol):
    """A unit of work in progress: sees its own writes, commits or vanishes as a whole."""

    act: Act
    at: str  # the time of the unit (see `instants.stamp`), the same on every row it causes

    def run(self, query: Query, /, **params: Value) -> int:
        """Execute a write; how many rows it touched."""
        ...

    def many(self, query: Query, rows: Iterable[Mapping[str, Value]], /) -> None:
        """Execute one write for each set of parameters."""
        ...

    def announce(self, topic: str) -> None:
        """Once this unit has committed, and only then, tell all who listen to the topic (a short word)."""
        ...


@dataclass(frozen=True, slots=True)
class Position:
    """How far a store has come: it only ever grows, so a smaller one tells of loss."""

    writes: int  # units of work that wrote (SQLite), or change-log numbers handed out (PostgreSQL)
    seq: int  # the newest change-log row


class Store(Protocol):
    """A durable store, open. Units of work run off the event loop and must not touch it.

    `work` may run more than once (a group that failed to commit, a serialisation failure), so it must have no effect
    beyond the unit. A unit whose caller was cancelled may still commit.
    """

    @property
    def dialect(self) -> Dialect:
        """Which engine this is."""
        ...

    @property
    def uuid(self) -> str:
        """The store's own name; leads every cursor."""
        ...

    @property
    def effects_held(self) -> bool:
        """Whether this store was restored and its effects wait to be released."""
        ...

    def effects_released(self) -> None:
        """The removal of `effects_held_at` from the store's own data is committed: its effects are held no longer."""
        ...

    async def unit(self, act: Act, work: Callable[[Unit], T], *, guarded: bool = False) -> T:
        """Run `work` as one unit; returns after its commit is durable, or raises and nothing of it is there.

        A `guarded` unit guards what it writes by itself, with row locks and conditions on the rows: PostgreSQL runs it
        READ COMMITTED instead of SERIALIZABLE, so that it waits for others' rows rather than crossing them.
        """
        ...

    async def read(self, work: Callable[[Reader], T]) -> T:
        """Run `work` on one consistent, read-only view, bounded in time."""
        ...

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` on the event loop after commits that wrote; one call may stand for many commits."""
        ...

    def on_topic(self, topic: str, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` on the event loop after commits that announced the topic; what is returned ends that.

        One call may stand for many commits, and all of them can be read by then. On PostgreSQL other processes' commits
        are told too, but such a call can be lost with a connection: whoever must not miss anything also polls.
        """
        ...

    async def close(self) -> None:
        """Finish what was queued, then close; closing twice is fine."""
        ...


class Topics:
    """Who listens to which topic; the same for both engines. Lives on the event loop."""

    def __init__(self) -> None:
        self._listeners: dict[str, dict[object, Callable[[], None]]] = {}
        #: Who will be called in this turn of the event loop: one call stands for all commits up to then.
        self._due: set[object] = set()

    def add(self, topic: str, listener: Callable[[], None]) -> Callable[[], None]:
        """Listen to a topic; what is returned ends that, and ending it twice is fine."""
        key = object()
        self._listeners.setdefault(topic, {})[key] = listener

        def end() -> None:
            among = self._listeners.get(topic, {})
            among.pop(key, None)
            if not among:
                self._listeners.pop(topic, None)

        return end

    def tell(self, topics: Iterable[str]) -> None:
        """Call the listeners of these topics soon, each on its own: one that fails keeps no other from being told."""
        for topic in topics:
            for key in self._listeners.get(topic, ()):
                if key not in self._due:
                    self._due.add(key)
                    asyncio.get_running_loop().call_soon(self._call, topic, key)

    def tell_all(self) -> None:
        """Call every listener soon."""
        self.tell(tuple(self._listeners))

    def _call(self, topic: str, key: object) -> None:
        self._due.discard(key)  # before the call: what is committed during it calls again
        listener = self._listeners.get(topic, {}).get(key)
        if listener is not None:  # else it has ended since
            listener()
