"""Backfills: bring what is stored up to date a chunk at a time, beside the daemon's work, instead of by a migration.

Each is owed once in the life of a store. A chunk and the note of how far it came are one unit of work, so none is done
twice and a process that dies goes on where the last commit was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.core import faults, logs
from holdfast.core.errors import UnitTooLong
from holdfast.core.propagation import claims
from holdfast.core.propagation.kinds import Kind
from holdfast.core.propagation.outcome import Done, Outcome, Wait
from holdfast.core.propagation.queue import enqueue, resume
from holdfast.core.propagation.schedule import PATIENT

if TYPE_CHECKING:
    from holdfast.core.clock import Clock
    from holdfast.core.pack import Pack
    from holdfast.core.propagation.job import Job
    from holdfast.core.propagation.kinds import Handler
    from holdfast.core.store.port import Reader, Store, Unit

FILLED = faults.point("propagation.filled", "a chunk of a backfill is committed, the next one has not begun")

#: How often a process that lacks a backfill looks again, in seconds; one that has it starts with it when it starts.
_STRANGE = 3_600.0
_NAME = re.compile(r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$")
_LONGEST_NAME = 150

_log = logs.get("propagation")
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one chunk came to: where the next one begins (none when this was the last), and how many rows it did."""

    cursor: str | None
    done: int


@dataclass(frozen=True, slots=True)
class Backfill:
    """Work on many stored rows, done once in the life of a store."""

    name: str
    doc: str
    #: Does the rows after the cursor (none: from the first), so many at most; may run more than once, as any unit.
    chunk: Callable[[Unit, str | None, int], Chunk]
    #: How many rows there are to do, for those who watch; counted once, before the first chunk.
    total: Callable[[Reader], int] | None = None
    rows_per_chunk: int = 500

    def __post_init__(self) -> None:
        """Refuse what could not be kept."""
        if not _NAME.match(self.name) or len(self.name) > _LONGEST_NAME:
            message = f"the backfill {self.name!r} needs a name of words in lower case, with dots between"
            raise ValueError(message)
        if self.rows_per_chunk < 1:
            message = f"the backfill {self.name!r} does {self.rows_per_chunk} rows in a chunk and must do 1 at least"
            raise ValueError(message)


class Owed(msgspec.Struct, frozen=True):
    """Which backfill."""

    name: str


BACKFILL = Kind(
    name="core.backfill",
    doc="Brings stored rows up to date, a chunk at a time, once in the life of a store.",
    payload=Owed,
    schedule=PATIENT,
    concurrency=1,
    unique="forever",
    held_after_restore=False,
)


@dataclass(frozen=True, slots=True)
class Far:
    """How far it came; people see it as the row's progress."""

    cursor: str | None = None
    done: int = 0
    total: int | None = None
    #: Whether a chunk has been done: only then does a missing cursor mean that nothing is left.
    begun: bool = False

    @classmethod
    def noted(cls, progress: Mapping[str, Any]) -> Far:
        """As it was noted with the last chunk."""
        return cls(progress["cursor"], progress["done"], progress["total"], begun=True)

    @property
    def over(self) -> bool:
        """Whether nothing is left."""
        return self.begun and self.cursor is None

    def text(self) -> str:
        """What is noted."""
        return _encode({"cursor": self.cursor, "done": self.done, "total": self.total}).decode()


def by_name(packs: Iterable[Pack]) -> dict[str, Backfill]:
    """Every backfill of these packs."""
    found: dict[str, Backfill] = {}
    for backfill in (each for pack in packs for each in pack.backfills):
        if backfill.name in found:
            message = f"the backfill {backfill.name!r} is registered twice"
            raise ValueError(message)
        found[backfill.name] = backfill
    return found


def owe_backfills(unit: Unit, packs: Iterable[Pack]) -> None:
    """Owe every backfill that this store has not been owed; let those that waited for us go on."""
    for name in by_name(packs):
        if not enqueue(unit, BACKFILL, Owed(name), key=name).new:
            resume(unit, BACKFILL, name)


def filler(backfills: Mapping[str, Backfill], store: Store, clock: Clock) -> Handler:
    """The handler: does chunks until half of its time is over, and is called again for the rest."""

    async def fill(job: Job[Owed]) -> Outcome:
        until = clock.monotonic() + BACKFILL.timeouts.item / 2
        backfill = backfills.get(job.payload.name)
        if backfill is None:
            return Wait(f"this version has no backfill {job.payload.name!r}; one that has it goes on", after=_STRANGE)
        far = Far(total=await _total(backfill, store)) if job.progress is None else Far.noted(job.progress)
        while not far.over:
            far = await job.unit(_step(job, backfill, far))
            FILLED()
            if not far.over and clock.monotonic() >= until:
                return Wait("more", after=0)
        return Done()

    return fill


def _step(job: Job[Owed], backfill: Backfill, far: Far) -> Callable[[Unit], Far]:
    """One chunk and the note of it."""

    def work(unit: Unit) -> Far:
        chunk = backfill.chunk(unit, far.cursor, backfill.rows_per_chunk)
        if chunk.cursor is not None and chunk.cursor == far.cursor:
            message = f"the backfill {backfill.name!r} did not get past {far.cursor!r}: each chunk must end further on"
            raise ValueError(message)
        after = replace(far, cursor=chunk.cursor, done=far.done + chunk.done, begun=True)
        unit.run(claims.SQL.progress, id=job.id, progress=after.text())
        return after

    return work


async def _total(backfill: Backfill, store: Store) -> int | None:
    """How many there are to do; none where nobody says, or counting takes too long: it must not keep us from them."""
    if backfill.total is None:
        return None
    try:
        return await store.read(backfill.total)
    except UnitTooLong:
        _log.warning("what a backfill has to do is too much to count", backfill=backfill.name)
        return None
