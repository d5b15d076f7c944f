"""The upkeep of the fleet: of what agents have said, only so much is kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.core.propagation.kinds import Kind
from holdfast.core.propagation.outcome import Done, Outcome
from holdfast.core.propagation.recurring import Recurring
from holdfast.core.propagation.schedule import STANDARD
from holdfast.fleet.sessions.rows import SQL

if TYPE_CHECKING:
    from holdfast.core.propagation.job import Job
    from holdfast.core.store.port import Reader, Store, Unit


class Pruning(msgspec.Struct, frozen=True):
    """Nothing to say: the settings tell how much is kept."""


PRUNE = Kind(
    name="fleet.prune",
    doc="Removes the oldest signals of sessions that have given very many.",
    payload=Pruning,
    schedule=STANDARD,
    unique="pending",
    concurrency=1,
    held_after_restore=False,
)
HOURLY = Recurring("fleet.prune", "Signals beyond those that are kept are removed.", 3_600, PRUNE, Pruning())


def pruner(store: Store, keep: int) -> Callable[[Job[Any]], Awaitable[Outcome]]:
    """The handler; one session at a time, so that nobody waits for it."""

    async def prune(job: Job[Pruning]) -> Outcome:
        def crowded(reader: Reader) -> list[str]:
            return [row["session"] for row in reader.all(SQL.crowded, keep=keep)]

        for session in await store.read(crowded):

            def work(unit: Unit, session: str = session) -> None:
                unit.run(SQL.prune_signals, session=session, keep=keep)

            await job.unit(work)
        return Done()

    return prune
