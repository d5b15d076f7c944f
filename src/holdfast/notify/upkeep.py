"""The upkeep of notices: those that are over are kept for a time, those that are open for ever."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from holdfast.core.instants import stamp
from holdfast.core.propagation.outcome import Done, Outcome, Wait
from holdfast.notify import letters
from holdfast.notify.effects import PRUNE, Prune
from holdfast.notify.notices import SQL

if TYPE_CHECKING:
    from holdfast.core.clock import Clock
    from holdfast.core.propagation.job import Job
    from holdfast.core.propagation.kinds import Handler
    from holdfast.core.store.port import Reader, Store, Unit


@dataclass(frozen=True, slots=True)
class Keep:
    """How many of the notices that are over are kept: what is older, or beyond the count, goes."""

    age: timedelta
    rows: int
    #: Rows removed in one unit of work, so that no other unit waits long.
    chunk: int = 500


def pruner(keep: Keep, store: Store, clock: Clock) -> Handler:
    """The handler: removes chunks until half of its time is over, and is called again for the rest."""

    async def prune(job: Job[Prune]) -> Outcome:
        until = clock.monotonic() + PRUNE.timeouts.item / 2
        await job.unit(letters.set_right)
        since = stamp(clock.now() - keep.age)
        beyond = await store.read(lambda reader: _beyond(reader, keep.rows))
        while ids := await store.read(lambda reader: _expired(reader, since, beyond, keep.chunk)):
            await job.unit(partial(_remove, ids=ids))
            if clock.monotonic() >= until:
                return Wait("more", after=0)
        return Done()

    return prune


def _beyond(reader: Reader, rows: int) -> int:
    row = reader.one(SQL.nth_newest_over, n=rows)
    return 0 if row is None else int(row["id"])


def _expired(reader: Reader, since: str, beyond: int, limit: int) -> list[int]:
    return [row["id"] for row in reader.all(SQL.expired, since=since, beyond=beyond, limit=limit)]


def _remove(unit: Unit, ids: list[int]) -> None:
    unit.run(SQL.remove, ids=msgspec.json.encode(ids).decode())
