"""Owns the removal of finished propagations from the ledger: by age and by count, a bounded chunk at a time.

Neither keys that are unique for ever nor dead rows are in the ledger, so no chunk can reach them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from holdfast.core import logs
from holdfast.core.instants import stamp
from holdfast.core.propagation.kinds import Kind
from holdfast.core.propagation.outcome import Done, Outcome, Wait
from holdfast.core.propagation.recurring import Recurring
from holdfast.core.propagation.schedule import STANDARD
from holdfast.core.store.sql import load

if TYPE_CHECKING:
    from holdfast.core.clock import Clock
    from holdfast.core.propagation.job import Job
    from holdfast.core.propagation.kinds import Handler
    from holdfast.core.store.port import Reader, Store, Unit

SQL = load("holdfast.core.propagation", "ledger.sql")

_log = logs.get("propagation")


@dataclass(frozen=True, slots=True)
class Keep:
    """How much of the ledger is kept: what is older, or beyond the count, goes."""

    age: timedelta = timedelta(days=30)
    rows: int = 200_000
    #: Rows removed in one unit of work, so that no other unit waits long.
    chunk: int = 500


class Prune(msgspec.Struct, frozen=True):
    """Nothing more to say: the settings say how much is kept."""


PRUNE = Kind(
    name="core.prune",
    doc="Removes finished propagations that are older than is kept, or beyond the count.",
    payload=Prune,
    schedule=STANDARD,
    concurrency=1,
    unique="pending",
    held_after_restore=False,
)
HOURLY = Recurring("core.prune", "Thins out the ledger of finished propagations.", 3_600, PRUNE, Prune())


@dataclass(frozen=True, slots=True)
class _Goal:
    """The last row that goes, in the order in which they finished."""

    at: str
    id: int


def pruner(keep: Keep, store: Store, clock: Clock) -> Handler:
    """The handler: removes chunks until half of its time is over, and is called again for the rest."""

    async def prune(job: Job[Prune]) -> Outcome:
        until = clock.monotonic() + PRUNE.timeouts.item / 2
        goal = await store.read(lambda reader: _goal(reader, keep, stamp(clock.now() - keep.age)))

        removed = 0
        # They are looked for beside the writer: what is in the ledger does not change any more.
        while ids := await store.read(lambda reader: _expired(reader, goal, keep.chunk)):
            removed += await job.unit(partial(_remove, ids=ids))
            if clock.monotonic() >= until:
                return Wait("more", after=0)
        if removed:
            _log.info("finished propagations removed", rows=removed)
        return Done()

    return prune


def _expired(reader: Reader, goal: _Goal, limit: int) -> list[int]:
    return [row["id"] for row in reader.all(SQL.expired, at=goal.at, id=goal.id, limit=limit)]


def _remove(unit: Unit, ids: list[int]) -> int:
    return unit.run(SQL.remove, ids=msgspec.json.encode(ids).decode())


def _goal(reader: Reader, keep: Keep, since: str) -> _Goal:
    """The further of the two: the last row that is too old, and the last one beyond the count."""
    beyond = reader.one(SQL.nth_newest, n=keep.rows)
    by_age = since, 0  # no id is 0: what finished at this very moment stays
    at, last = by_age if beyond is None else max(by_age, (beyond["finished_at"], beyond["id"]))
    return _Goal(at, last)
