"""The roll of processes that do propagations, and the rows of kinds that none of them knows."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from holdfast.core import logs
from holdfast.core.propagation import rescue
from holdfast.core.propagation.kinds import Timeouts
from holdfast.core.propagation.rescue import SQL
from holdfast.core.propagation.sightings import Sightings, Sign
from holdfast.core.store.port import Act

if TYPE_CHECKING:
    from holdfast.core.clock import Clock
    from holdfast.core.propagation.kinds import Registry
    from holdfast.core.store.port import Reader, Store, Unit

_ACT = Act("daemon", "propagation roll")

_log = logs.get("propagation")


class Strangers:
    """Puts off rows of kinds that no living process knows. One that merely lacks a handler judges nothing."""

    def __init__(self, store: Store, registry: Registry, clock: Clock, owner: str, longest_gap: float) -> None:
        #: Whether there are such rows.
        self.any = False
        self._store = store
        self._registry = registry
        self._clock = clock
        self._owner = owner
        #: On SQLite there is no other process, and the lock of the data folder proves that those before are gone.
        self._alone = store.dialect == "sqlite"
        self._workers: Sightings[str, int] = Sightings(longest_gap)
        self._known_elsewhere: set[str] = set()

    async def begin(self) -> None:
        """Enter this process; let what waited for one that knows its kind be done."""
        if self._alone:
            await self._store.unit(_ACT, lambda unit: unit.run(SQL.leave_all_workers))
        await self._store.unit(_ACT, self._enter)
        for name in self._registry.handlers:
            while await self._store.unit(_ACT, partial(rescue.known_again, name=name)):
                pass
        if self._alone:  # elsewhere others may know them: the first sweep tells
            await self.judge()

    async def end(self) -> None:
        """Take this process off the roll."""
        await self._store.unit(_ACT, partial(_leave, owner=self._owner))

    async def look(self) -> None:
        """Say that this process lives; see who else does, and what they know."""
        await self._store.unit(_ACT, self._enter)
        rows = await self._store.read(lambda reader: reader.all(SQL.workers))
        signs = [Sign(row["owner"], row["beat"], Timeouts().lease) for row in rows if row["owner"] != self._owner]
        gone = {sign.of for sign in self._workers.lapsed(signs, self._clock.monotonic())}
        living = [row for row in rows if row["owner"] not in gone]
        self._known_elsewhere = {name for row in living for name in msgspec.json.decode(row["kinds"])}
        for owner in gone:
            await self._store.unit(_ACT, partial(_leave, owner=owner))

    async def judge(self) -> None:
        """Put off what is due and nobody knows."""
        strangers = await self._store.read(self._unknown)
        self.any = bool(strangers)
        if strangers:
            judging = partial(rescue.judge_unknown, names=strangers, watches=self._registry.watches)
            judged = await self._store.unit(_ACT, judging, guarded=True)
            if judged:
                _log.error("rows of kinds that no process knows", kinds=strangers, rows=judged)

    def _enter(self, unit: Unit) -> None:
        kinds = msgspec.json.encode(sorted(self._registry.kinds)).decode()
        unit.run(SQL.enter_worker, owner=self._owner, kinds=kinds, at=unit.at)

    def _unknown(self, reader: Reader) -> list[str]:
        owed = {row["kind"] for row in reader.all(SQL.kinds_owed)}
        return sorted(owed - self._registry.kinds.keys() - self._known_elsewhere)


def _leave(unit: Unit, owner: str) -> None:
    unit.run(SQL.leave_worker, owner=owner)
