"""What a handler is given: the effect that is owed, and units of work that commit only while the lease is held."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from holdfast.core.errors import LeaseLost
from holdfast.core.propagation.claims import SQL
from holdfast.core.store.port import Act

if TYPE_CHECKING:
    from holdfast.core.propagation.claims import Claimed
    from holdfast.core.store.port import Store, Unit

P = TypeVar("P", bound=msgspec.Struct)
T = TypeVar("T")

_encode = msgspec.json.Encoder().encode


class Job(Generic[P]):
    """One effect to do."""

    __slots__ = ("_row", "_store", "act", "payload", "progress")

    def __init__(self, row: Claimed, store: Store) -> None:
        self._row = row
        self._store = store
        self.payload: P = msgspec.json.decode(row.payload, type=row.kind.payload)
        #: How far earlier starts came; see `advance`.
        self.progress: dict[str, Any] | None = None if row.progress is None else msgspec.json.decode(row.progress)
        self.act = Act(f"propagation:{row.id}", f"propagation:{row.id}")

    @property
    def id(self) -> int:
        """The number of the row."""
        return self._row.id

    @property
    def key(self) -> str | None:
        """The key it was enqueued under."""
        return self._row.key

    @property
    def attempt(self) -> int:
        """Which try this is, from 1."""
        return self._row.attempts + 1

    @property
    def effect(self) -> str:
        """What to give an outside service as idempotency key: the same in every try, never that of another effect."""
        return self._row.effect

    @property
    def call_seconds(self) -> float:
        """How long one call of something outside may take."""
        return self._row.kind.timeouts.call

    def hold(self, unit: Unit) -> None:
        """Make sure, inside a unit of work, that the lease is held when it commits."""
        if unit.one(SQL.held, id=self._row.id, claim=self._row.claim) is None:
            message = f"the lease of propagation {self.id} is lost: another process does it now"
            raise LeaseLost(message)

    async def unit(self, work: Callable[[Unit], T]) -> T:
        """A unit of work that commits only while the lease is held."""

        def fenced(unit: Unit) -> T:
            self.hold(unit)
            return work(unit)

        return await self._store.unit(self.act, fenced)

    async def advance(self, progress: Mapping[str, Any], work: Callable[[Unit], object] | None = None) -> None:
        """Do a part of the effect that lies in the store, and note in the same unit how far that came."""
        text = _encode(progress).decode()

        def fenced(unit: Unit) -> None:
            self.hold(unit)
            if work is not None:
                work(unit)
            unit.run(SQL.progress, id=self.id, progress=text)

        await self._store.unit(self.act, fenced)
        self.progress = dict(progress)
