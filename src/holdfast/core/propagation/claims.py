"""The statements of the runner: claims rows, and writes what became of them while the lease is still its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.core import faults
from holdfast.core.instants import later, seconds
from holdfast.core.propagation import queue
from holdfast.core.propagation.foreign import write_facts
from holdfast.core.propagation.kinds import Buried, Kind
from holdfast.core.propagation.verdict import SUPERSEDED, Counts, Verdict
from holdfast.core.store.sql import load

if TYPE_CHECKING:
    from holdfast.core.propagation.outcome import Then
    from holdfast.core.store.port import Reader, Row, Unit

SQL = load("holdfast.core.propagation", "claims.sql")

CLAIMING = faults.point("propagation.claiming", "rows are claimed in a unit that has not committed")
SETTLING = faults.point("propagation.settling", "outcomes are written in a unit that has not committed")

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Claimed:
    """A row that is ours for as long as its lease is."""

    kind: Kind[Any]
    claim: str
    id: int
    key: str | None
    lane: str | None
    payload: str
    effect: str
    progress: str | None
    attempts: int
    starts: int

    @property
    def counts(self) -> Counts:
        """What it has been through, this start among it."""
        return Counts(self.attempts, self.starts)

    @property
    def suspect(self) -> bool:
        """Whether an earlier start came to no outcome."""
        return self.starts > 1


@dataclass(frozen=True, slots=True)
class Due:
    """When the earliest rows of a kind are due: those never started in vain, and the suspects."""

    fresh: str | None
    suspect: str | None


@dataclass(frozen=True, slots=True)
class Settled:
    """A try that is over and is to be written; a `verdict` of none is a plain `done`."""

    row: Claimed
    verdict: Verdict | None = None


def effects_held_at(reader: Reader) -> str | None:
    """Since when effects wait to be released, as the store itself says."""
    row = reader.one(SQL.effects_held_at)
    return None if row is None else str(row["value"])


def due(reader: Reader, kinds: Iterable[str]) -> dict[str, Due]:
    """When the earliest row of each kind is due."""
    rows = reader.all(SQL.due, kinds=_encode(list(kinds)).decode())
    return {row["kind"]: Due(row["fresh"], row["suspect"]) for row in rows}


def claim(unit: Unit, kind: Kind[Any], token: str, limit: int) -> list[Claimed]:
    """Take up to `limit` rows that are due, the longest due first."""
    until = later(unit.at, seconds(kind.timeouts.lease))
    rows = unit.all(SQL.claim, kind=kind.name, claim=token, until=until, now=unit.at, limit=limit)
    return _claimed(unit, kind, token, until, rows)


def claim_suspect(unit: Unit, kind: Kind[Any], token: str) -> list[Claimed]:
    """Take one row of which an earlier start came to no outcome."""
    until = later(unit.at, seconds(kind.timeouts.lease))
    rows = unit.all(SQL.claim_suspect, kind=kind.name, claim=token, until=until, now=unit.at)
    return _claimed(unit, kind, token, until, rows)


def _claimed(unit: Unit, kind: Kind[Any], token: str, until: str, rows: list[Row]) -> list[Claimed]:
    if rows and unit.dialect == "sqlite":  # PostgreSQL has taken them where it found them
        unit.run(SQL.take, claim=token, until=until, ids=_encode([row["id"] for row in rows]).decode())
    CLAIMING()
    return [
        Claimed(
            kind,
            token,
            row["id"],
            row["key"],
            row["lane"],
            row["payload"],
            row["effect"],
            row["progress"],
            row["attempts"],
            row["starts"],
        )
        for row in rows
    ]


def settle(unit: Unit, settled: Sequence[Settled]) -> int:
    """Write outcomes that bring no facts of their own; how many came too late, their lease lost."""
    plain = [each.row for each in settled if each.verdict is None]
    late = _settle_done(unit, plain) if plain else 0
    for each in settled:
        if each.verdict is not None and not settle_one(unit, each.row, each.verdict):
            late += 1
    SETTLING()
    return late


def _settle_done(unit: Unit, rows: list[Claimed]) -> int:
    ours = [found["id"] for found in unit.all(SQL.enter_done, rows=_fences(rows), now=unit.at)]
    if unit.dialect == "sqlite":
        unit.run(SQL.remove_done, ids=_encode(ours).decode())
    lanes = dict.fromkeys((row.kind, row.lane) for row in rows if row.lane is not None)
    for kind, lane in lanes:
        queue.give_turn(unit, kind.name, lane, dead_blocks=kind.dead_blocks)
    return len(rows) - len(ours)


def settle_one(unit: Unit, row: Claimed, verdict: Verdict, then: Then | None = None) -> bool:
    """Write what became of a row, and the facts that come with it; nothing of it if the lease is lost."""
    held = unit.one(SQL.held, id=row.id, claim=row.claim)
    if held is None:
        return False
    apply(unit, row.kind, held, verdict)
    if then is not None:
        write_facts(then, unit)
    return True


def apply(unit: Unit, kind: Kind[Any] | None, held: Row, verdict: Verdict) -> None:
    """Write a verdict on a row that this unit holds; of a kind that is not known here only the row itself is."""
    dead_blocks = kind is not None and kind.dead_blocks
    if verdict.state in {"pending", "waiting"} and _has_successor(unit, held):
        # What came under its key meanwhile does what it would do.
        verdict = Verdict("cancelled", verdict.attempts, verdict.starts, SUPERSEDED, verdict.error)
    counts = {"attempts": verdict.attempts, "starts": verdict.starts}
    if verdict.over:
        told = held | counts | {"error": verdict.error or held["error"]}
        queue.close(unit, told, verdict.state, verdict.reason, dead_blocks=dead_blocks)
        return
    if verdict.state == "waiting" and held["resumed_at"] is not None:
        verdict = replace(verdict, next_attempt_at=unit.at)  # what it waits for may have come while it looked
    unit.run(
        SQL.put_back,
        id=held["id"],
        state=verdict.state,
        reason=verdict.reason,
        error=verdict.error,
        next_attempt_at=verdict.next_attempt_at,
        now=unit.at,
        **counts,
    )
    if verdict.state != "dead":
        return
    if held["lane"] is not None and not dead_blocks:
        queue.give_turn(unit, held["kind"], held["lane"], dead_blocks=False)
    if kind is not None and kind.buried is not None and not verdict.bare:
        error = verdict.error or held["error"]
        buried = Buried(held["id"], held["key"], _payload(kind, held), verdict.reason or "", error)
        write_facts(lambda unit: kind.buried(unit, buried) if kind.buried else None, unit)


def _has_successor(unit: Unit, held: Row) -> bool:
    if held["pending_key"] is None:
        return False
    found = unit.one(queue.SQL.pending_of_key, kind=held["kind"], key=held["pending_key"])
    return found is not None and found["id"] != held["id"]


def _payload(kind: Kind[Any], held: Row) -> Any:
    """What was owed; none where this version cannot read it, which may be what the row died of."""
    try:
        return msgspec.json.decode(held["payload"], type=kind.payload)
    except msgspec.DecodeError:
        return None


def beat(unit: Unit, kind: Kind[Any], rows: Sequence[Claimed]) -> list[Claimed]:
    """Let leases of a kind go on; those that are lost."""
    until = later(unit.at, seconds(kind.timeouts.lease))
    ours = {found["id"] for found in unit.all(SQL.beat, until=until, rows=_fences(rows))}
    return [row for row in rows if row.id not in ours]


def _fences(rows: Iterable[Claimed]) -> str:
    return _encode({row.id: row.claim for row in rows}).decode()
