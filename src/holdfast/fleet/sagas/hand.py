"""A saga's hand on its session: one saga at a time has it, and each step that is done is a committed row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from holdfast.core.propagation import queue
from holdfast.core.propagation.outcome import Wait
from holdfast.fleet.sagas.kinds import KINDS
from holdfast.fleet.sessions.rows import SQL

if TYPE_CHECKING:
    from holdfast.core.propagation.job import Job
    from holdfast.core.store.port import Unit

T = TypeVar("T")
Saga = Literal["spawn", "restore", "kill", "cleanup"]
#: Seconds between two looks of a saga that waits for another one; it is told when that ends.
_AGAIN_SECONDS = 2.0

_encode = msgspec.json.Encoder().encode


class UnwantedError(Exception):
    """The end of the session was asked for while it was being started."""


def take(unit: Unit, session: str, saga: str, row_id: int) -> Wait | None:
    """Take the session in hand for this saga; what there is to wait for, if another one has it."""
    other = unit.one(SQL.live_saga, id=session, row=row_id)
    if other is not None:
        return Wait(f"{other['saga']} has the session in hand", _AGAIN_SECONDS)
    unit.run(SQL.take_in_hand, id=session, saga=saga, row=row_id)
    return None


def let_go(unit: Unit, session: str, row_id: int) -> None:
    """The saga has come to its end, or to a pause: another one may go on."""
    if unit.run(SQL.let_go, id=session, row=row_id):
        for kind in KINDS:
            queue.resume(unit, kind, session)


class Hand:
    """What a saga does to its session in the store, under its lease."""

    def __init__(self, job: Job[Any], saga: Saga, session: str, launch: int) -> None:
        self.job = job
        self.saga = saga
        self.session = session
        self.launch = launch

    async def step(self, name: str, detail: Mapping[str, Any], work: Callable[[Unit], T], *, wanted: bool = True) -> T:
        """Commit a step together with what it brings; a session whose end was asked for goes no further."""

        def noted(unit: Unit) -> T:
            if wanted:
                self.require_wanted(unit)
            self.note(unit, name, detail)
            return work(unit)

        return await self.job.unit(noted)

    def note(self, unit: Unit, name: str, detail: Mapping[str, Any]) -> None:
        """Write the step."""
        unit.run(
            SQL.add_step,
            session=self.session,
            launch=self.launch,
            saga=self.saga,
            step=name,
            detail=_encode(detail).decode(),
            at=unit.at,
        )

    def require_wanted(self, unit: Unit) -> None:
        """Go no further when somebody has asked for the end."""
        row = unit.one(SQL.by_id, id=self.session)
        if row is None or row["kill_asked_at"] is not None:
            raise UnwantedError

    def let_go(self, unit: Unit) -> None:
        """Give the session out of hand."""
        let_go(unit, self.session, self.job.id)
