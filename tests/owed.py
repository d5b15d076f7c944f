"""Effects in every state, made by the same units of work as the runner's, and the kinds that they are of."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.core.propagation import claims, queue, rescue
from holdfast.core.propagation.claims import Claimed, Settled
from holdfast.core.propagation.kinds import Kind
from holdfast.core.propagation.pack import PROPAGATION
from holdfast.core.propagation.schedule import INTERACTIVE, STANDARD
from holdfast.core.propagation.verdict import MAX_ATTEMPTS, Verdict
from holdfast.core.store.pack import CORE
from holdfast.core.store.port import Act

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.core.store.port import Row, Store, Unit

ACT = Act("token:test", "request:test")
PACKS = (CORE, PROPAGATION)
OWNER = "run_elsewhere"
_tokens = itertools.count(1)


class Note(msgspec.Struct):
    """What the effects of these kinds are about."""

    text: str = ""
    lane: str = ""
    password: str | None = None


def _lane(note: Note) -> str:
    return note.lane


#: No rule, and a ceiling of two.
LOOSE = Kind(name="test.loose", doc="An effect without rules.", payload=Note, schedule=INTERACTIVE, max_attempts=2)
OTHER = Kind(name="test.other", doc="Another effect without rules.", payload=Note, schedule=STANDARD)
LANED = Kind(name="test.laned", doc="Effects in order.", payload=Note, schedule=INTERACTIVE, lane=_lane)
BLOCKING = Kind(
    name="test.blocking", doc="Nothing passes its dead.", payload=Note, schedule=STANDARD, lane=_lane, dead_blocks=True
)
SINGLE = Kind(name="test.single", doc="One of a key.", payload=Note, schedule=STANDARD, unique="pending")
KINDS: dict[str, Kind[Any]] = {kind.name: kind for kind in (LOOSE, OTHER, LANED, BLOCKING, SINGLE)}


async def owe(store: Store, kind: Kind[Any], note: Note | None = None, **more: Any) -> int:
    """Owe one; `more` is what `enqueue` takes (`key`, `at`)."""
    return (await store.unit(ACT, lambda unit: queue.enqueue(unit, kind, note or Note(), **more))).id


async def lease(store: Store, kind: Kind[Any], row_id: int) -> Claimed:
    """Claim this one and no other, for a process that is not this one."""
    token = f"{OWNER}.{next(_tokens)}"

    def work(unit: Unit) -> Claimed:
        rows = claims.claim(unit, kind, token, 10_000)
        rescue.give_back(unit, KINDS, [(row.id, row.claim, "") for row in rows if row.id != row_id])
        return next(row for row in rows if row.id == row_id)

    return await store.unit(ACT, work)


async def settle(store: Store, row: Claimed, verdict: Verdict | None = None) -> None:
    """Write what became of it; done unless told."""
    late = await store.unit(ACT, lambda unit: claims.settle(unit, [Settled(row, verdict)]))
    assert late == 0


async def bury(
    store: Store, kind: Kind[Any], row_id: int, *, reason: str = MAX_ATTEMPTS, error: str | None = "no answer"
) -> None:
    """It died."""
    row = await lease(store, kind, row_id)
    await settle(store, row, Verdict("dead", kind.max_attempts, 0, reason, error))


async def dead(store: Store, kind: Kind[Any], note: Note | None = None, **more: Any) -> int:
    """Owe one that died."""
    row_id = await owe(store, kind, note, **more)
    await bury(store, kind, row_id)
    return row_id


async def waiting(store: Store, kind: Kind[Any], until: str) -> int:
    """Owe one that waits until then."""
    row_id = await owe(store, kind)
    row = await lease(store, kind, row_id)
    await settle(store, row, Verdict("waiting", 0, 0, "for the moon", None, until))
    return row_id


async def in_every_state(store: Store, kind: Kind[Any], later: datetime) -> dict[str, int]:
    """One in each state, by it."""
    made = {
        "waiting": await waiting(store, kind, f"{later:%Y-%m-%dT%H:%M:%S}.000000Z"),
        "dead": await dead(store, kind),
    }
    for state, verdict in (("done", None), ("cancelled", Verdict("cancelled", 0, 0, "no need"))):
        made[state] = await owe(store, kind)
        await settle(store, await lease(store, kind, made[state]), verdict)
    made["leased"] = await owe(store, kind)
    await lease(store, kind, made["leased"])
    made["pending"] = await owe(store, kind)
    return made


async def row_of(store: Store, row_id: int) -> Row:
    """A row of the queue as it is."""
    from holdfast.core.store.sql import query

    found = await store.read(
        lambda reader: reader.one(query("row", sqlite="SELECT * FROM propagations WHERE id = :id"), id=row_id)
    )
    assert found is not None, f"{row_id} is not in the queue"
    return found
