"""Keeps leases: lets those of this process go on, takes over those of processes that are gone.

On SQLite there is one process, and the lock of its data folder proves that any other is gone: at its start every lease
that it finds has run out, and nothing has to be watched while it is idle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from holdfast.core import logs
from holdfast.core.errors import HoldfastError, StoreClosed, StoreError, StoreInDoubt, UnitTooLong
from holdfast.core.propagation import claims, rescue
from holdfast.core.propagation.foreign import FactsRefusedError
from holdfast.core.propagation.kinds import RESCUE_SECONDS, Kind, Timeouts
from holdfast.core.propagation.rescue import CHUNK, Seen
from holdfast.core.propagation.sightings import Sightings, Sign
from holdfast.core.store.port import Act

if TYPE_CHECKING:
    from holdfast.core.clock import Clock
    from holdfast.core.propagation.claims import Claimed
    from holdfast.core.propagation.execution import Execution
    from holdfast.core.propagation.kinds import Registry
    from holdfast.core.propagation.strangers import Strangers
    from holdfast.core.propagation.under_way import UnderWay
    from holdfast.core.store.port import Row, Store, Unit

#: Seconds between two looks at the leases; a lease and two looks fit into the time of a rescue.
SWEEP_SECONDS = (RESCUE_SECONDS - Timeouts().lease) / 2
#: After so many sweeps without a look, nobody is known to be gone: nobody could be seen, or say that he lives.
LONGEST_GAP = 2.5
_ACT = Act("daemon", "propagation leases")

_log = logs.get("propagation")


@dataclass(frozen=True, slots=True)
class Own:
    """What the keeper keeps for."""

    owner: str
    under_way: UnderWay
    execution: Execution
    strangers: Strangers


class Keeper:
    """One loop beside the runner's."""

    def __init__(self, store: Store, registry: Registry, clock: Clock, own: Own, sweep_seconds: float) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._own = own
        self._sweep_seconds = sweep_seconds
        self._alone = store.dialect == "sqlite"
        self._stirred = asyncio.Event()
        self._leases: Sightings[int, Seen] = Sightings(LONGEST_GAP * sweep_seconds)
        self._in_doubt = False

    async def begin(self) -> None:
        """Take over what is left of a process that is gone."""
        if self._alone:
            after = 0
            while rows := await self._store.read(partial(rescue.stretch, after=after)):
                after = rows[-1]["id"]
                left = [row for row in rows if row["claim"] is not None]
                await self._take_over([rescue.seen(row) for row in left], {row["id"]: row for row in left})

    # --- the loop ----------------------------------------------------------------------------------------------

    def stir(self) -> None:
        """Something is under way."""
        self._stirred.set()

    def doubt(self) -> None:
        """A unit of ours may have claimed rows without our being told."""
        self._in_doubt = True
        self._stirred.set()

    async def run(self) -> None:
        """Look after the leases for as long as the process lives."""
        while True:
            if self._alone and not (self._own.under_way or self._in_doubt or self._own.strangers.any):
                self._stirred.clear()
                await self._stirred.wait()
            await self._clock.sleep(self._sweep_seconds)
            try:
                await self.sweep()
            except StoreClosed:
                await asyncio.Event().wait()  # the daemon is on its way down and will cancel us
            except HoldfastError as error:
                if not (error.retryable or isinstance(error, StoreInDoubt)):  # in doubt: looked at again
                    raise
                _log.warning("leases could not be looked after just now", error=error.message)

    async def sweep(self) -> None:
        """Look once."""
        self._leave_behind()
        await self._beat()
        if not self._alone:
            await self._own.strangers.look()
        if not self._alone or self._in_doubt:
            self._in_doubt = False  # before looking: a doubt that comes meanwhile is looked into the next time
            try:
                await self._look_at_leases()
            except HoldfastError:
                self._in_doubt = True
                raise
        if not self._alone or self._own.strangers.any:
            await self._own.strangers.judge()

    def _leave_behind(self) -> None:
        """Give up tries that did not end when their time was over."""
        now = self._clock.monotonic()
        for driver in list(self._own.under_way.drivers()):
            row = driver.trying
            if row is not None and now - driver.since > row.kind.timeouts.lease:
                self._own.execution.abandon(driver)

    async def _beat(self) -> None:
        """Let the leases of what is under way go on; what is lost is broken off."""
        for kind, rows in self._own.under_way.by_kind():
            for lost in await self._store.unit(_ACT, _beating(kind, rows), guarded=True):
                self._own.under_way.break_off(lost)

    async def _look_at_leases(self) -> None:
        """Take over leases that have not moved for their length, and give back those of ours that nobody here knows."""
        held = {(row.id, row.claim) for _, rows in self._own.under_way.by_kind() for row in rows}
        # Read after what is held was noted: what is claimed in between is only noticed, and held at the next look.
        found = [row for row in await self._store.read(rescue.claimed) if (row["id"], row["claim"]) not in held]
        mine = {row["id"] for row in found if row["claim"].partition(".")[0] == self._own.owner}
        signs = [Sign(row["id"], rescue.seen(row), self._lasts(row, mine)) for row in found]
        lapsed = {sign.of: sign.mark for sign in self._leases.lapsed(signs, self._clock.monotonic())}
        forgotten = [seen for row_id, seen in lapsed.items() if row_id in mine]
        if forgotten:
            await self._store.unit(
                _ACT, lambda unit: rescue.give_back(unit, self._registry.kinds, forgotten), guarded=True
            )
        others = {row["id"]: row for row in found if row["id"] in lapsed and row["id"] not in mine}
        await self._take_over([lapsed[row_id] for row_id in others], others)
        self._in_doubt = self._in_doubt or len(forgotten) < len(mine)

    def _lasts(self, row: Row, mine: set[int]) -> float:
        if row["id"] in mine:
            return self._sweep_seconds
        kind = self._registry.kinds.get(row["kind"])
        return (kind.timeouts if kind is not None else Timeouts()).lease

    async def _take_over(self, leases: list[Seen], rows: Mapping[int, Row]) -> None:
        """Mend rows whose holders are gone: those whose death brings facts one by one, the others together."""
        loud = [seen for seen in leases if self._is_loud(rows[seen[0]])]
        quiet = [seen for seen in leases if not self._is_loud(rows[seen[0]])]
        for start in range(0, len(quiet), CHUNK):
            await self._rescue(quiet[start : start + CHUNK])
        for seen in loud:
            try:
                await self._store.unit(_ACT, partial(rescue.rescue, kinds=self._registry.kinds, leases=[seen]))
            except (FactsRefusedError, StoreError) as error:
                if isinstance(error, StoreError) and error.retryable and not isinstance(error, UnitTooLong):
                    raise
                _log.critical("what comes with a death was refused", propagation=seen[0], exc_info=error)
                await self._rescue([seen], bare=True)

    async def _rescue(self, leases: list[Seen], *, bare: bool = False) -> None:
        work = partial(rescue.rescue, kinds=self._registry.kinds, leases=leases, bare=bare)
        rows = await self._store.unit(_ACT, work, guarded=True)
        if rows:
            _log.warning("took over from a process that is gone", rows=rows)

    def _is_loud(self, row: Row) -> bool:
        """Whether it dies, and its death brings facts."""
        kind = self._registry.kinds.get(row["kind"])
        return kind is not None and kind.buried is not None and row["starts"] >= kind.max_starts


def _beating(kind: Kind[Any], rows: list[Claimed]) -> Callable[[Unit], list[Claimed]]:
    return lambda unit: claims.beat(unit, kind, rows)
