"""The port of the store: what a unit of work and a reader see, whichever engine is behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from holdfast.core.store.sql import Query

Dialect = Literal["sqlite", "postgres"]
Value = str | int | float | bytes | None
Row = dict[str, Any]
T = TypeVar("T")


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
    at: str  # the time of the unit (see `clock.stamp`), the same on every row it causes

    def run(self, query: Query, /, **params: Value) -> int:
        """Execute a write; how many rows it touched."""
        ...

    def many(self, query: Query, rows: Iterable[Mapping[str, Value]], /) -> None:
        """Execute one write for each set of parameters."""
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

    async def unit(self, act: Act, work: Callable[[Unit], T]) -> T:
        """Run `work` as one unit; returns after its commit is durable, or raises and nothing of it is there."""
        ...

    async def read(self, work: Callable[[Reader], T]) -> T:
        """Run `work` on one consistent, read-only view, bounded in time."""
        ...

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` on the event loop after commits that wrote; one call may stand for many commits."""
        ...

    async def close(self) -> None:
        """Finish what was queued, then close; closing twice is fine."""
        ...
