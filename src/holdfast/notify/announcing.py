"""Looks after notices that stand: owes a send to every channel that takes one, at the time that its kind declares."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from holdfast.core import faults
from holdfast.core.instants import parse_stamp, seconds, stamp
from holdfast.core.propagation import queue
from holdfast.core.propagation.outcome import Cancel, Done, Outcome, Wait
from holdfast.notify.decider import UNDECLARED, Over, Rest, decide
from holdfast.notify.effects import SEND, Send, Stage, Standing
from holdfast.notify.notices import SQL

if TYPE_CHECKING:
    from holdfast.core.pack import NoticeKind, Pack
    from holdfast.core.propagation.job import Job
    from holdfast.core.store.port import Row, Unit
    from holdfast.notify.channels.registry import Channels

TELLING = faults.point("notice.telling", "a notice's sends are owed in a unit of work that has not committed")
COOLING = "cool-down"


def declared(packs: Iterable[Pack]) -> dict[str, NoticeKind]:
    """Every kind of notice there is, by name."""
    return {kind.name: kind for pack in packs for kind in pack.notices}


class Announcing:
    """The handler of `notify.notice`."""

    def __init__(self, kinds: dict[str, NoticeKind], channels: Channels) -> None:
        self._kinds = kinds
        self._channels = channels

    async def __call__(self, job: Job[Standing]) -> Outcome:
        """Do what is due about the notice, and wait for what is due next."""
        step = await job.unit(lambda unit: self._go_on(unit, job.payload.notice))
        match step:
            case Rest():
                return Wait(step.why, after=step.seconds)
            case Over():
                return Done()
            case None:
                return Cancel("the notice was removed")

    def _go_on(self, unit: Unit, notice: int) -> Rest | Over | None:
        while (row := unit.one(SQL.held, id=notice)) is not None:
            kind = self._kinds.get(row["kind"], UNDECLARED)
            step = decide(row, kind, unit.at)
            if isinstance(step, Rest | Over):
                return step
            self._tell(unit, row, kind, step.stage)
        return None

    def _tell(self, unit: Unit, row: Row, kind: NoticeKind, stage: Stage) -> None:
        untold = COOLING if stage == "raised" and self._cools(unit, row, kind) else None
        if stage == "escalated":
            unit.run(SQL.escalated, id=row["id"], at=unit.at)
        else:
            unit.run(SQL.told, id=row["id"], at=unit.at, untold=untold)
        if untold is None:
            for name in self._channels.taking(row["kind"], stage):
                queue.enqueue(unit, SEND, Send(row["id"], name, stage), key=f"{row['id']}:{stage}:{name}")
        TELLING()

    def _cools(self, unit: Unit, row: Row, kind: NoticeKind) -> bool:
        """Whether one of the same kind and subject was sent so short a time ago that this one is only kept."""
        if not kind.cool_down:
            return False
        since = stamp(parse_stamp(unit.at) - seconds(kind.cool_down))
        other = unit.one(SQL.told_since, kind=row["kind"], subject=row["subject"], since=since, id=row["id"])
        return other is not None
