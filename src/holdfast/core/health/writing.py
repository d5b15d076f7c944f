"""Whether writes go through: remembers one that found no room or no disk, until one commits again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.core.errors import HoldfastError, StoreFull, StoreLost
from holdfast.core.store.port import Act
from holdfast.core.store.sql import load

if TYPE_CHECKING:
    from holdfast.core.store.port import Store, Unit

SQL = load("holdfast.core.health", "probe.sql")
_ACT = Act("daemon", "health")


class Writing:
    """Told by the door of writes what was refused, and by the store what was committed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._refused: HoldfastError | None = None
        store.on_commit(self._committed)

    def refused(self, error: HoldfastError) -> None:
        """A write came to nothing; what is the client's own fault, or only a matter of load, is no trouble of ours."""
        if isinstance(error, StoreFull | StoreLost):
            self._refused = error

    async def check(self) -> None:
        """Nothing was refused, or a write is possible again. Writes only after a refusal, and only when asked."""
        if self._refused is None:
            return
        await self._store.unit(_ACT, _try)
        self._refused = None

    def _committed(self) -> None:
        self._refused = None


def _try(unit: Unit) -> None:
    """The smallest write there is: it changes nothing, and needs the disk as any other."""
    unit.run(SQL.try_to_write)
