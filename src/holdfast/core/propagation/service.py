"""All of propagation in one process: the kinds that there are, and, where it does them, the runner and what recurs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from holdfast.core.propagation.backfill import owe_backfills
from holdfast.core.propagation.kinds import Registry
from holdfast.core.propagation.recurring import Recurrences
from holdfast.core.propagation.runner import Runner
from holdfast.core.store.port import Act

if TYPE_CHECKING:
    from holdfast.core.pack import Means, Pack
    from holdfast.core.propagation.kinds import Handler, Kind

_ACT = Act("daemon", "backfills")


def registry_of(packs: Iterable[Pack], means: Means | None = None) -> Registry:
    """The kinds of these packs; with their handlers where the means for them are given."""
    known = tuple(packs)
    handlers: dict[Kind[Any], Handler] = {}
    for pack in known:
        if means is not None and pack.handlers is not None:
            handlers |= pack.handlers(means)
    watches = [watch for pack in known for watch in pack.deaths]
    return Registry([kind for pack in known for kind in pack.kinds], handlers, watches)


class Propagations:
    """A service. A process of another role knows the kinds, so that it can owe them and tell of them, and does none."""

    name = "propagation"

    def __init__(self, means: Means, *, does: bool, drain_seconds: float) -> None:
        self.registry = registry_of(means.packs, means if does else None)
        #: None where this process has another role.
        self.runner: Runner | None = None
        self._means = means
        self._recurrences: Recurrences | None = None
        if does:
            self.registry.require_whole()
            recurring = [each for pack in means.packs for each in pack.recurring]
            self.runner = Runner(means.store, self.registry, means.clock, drain_seconds=drain_seconds)
            self._recurrences = Recurrences(means.store, recurring, means.clock)

    async def start(self) -> None:
        """Do what is owed, and owe what recurs and what is to be brought up to date."""
        if self.runner is None or self._recurrences is None:
            return
        await self._means.store.unit(_ACT, lambda unit: owe_backfills(unit, self._means.packs))
        await self.runner.start()
        await self._recurrences.start()

    async def stop(self) -> None:
        """Owe and claim no more; what is under way comes to its outcome, within the drain."""
        if self.runner is None or self._recurrences is None:
            return
        await self._recurrences.stop()
        await self.runner.stop()
