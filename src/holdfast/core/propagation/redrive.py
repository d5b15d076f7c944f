"""What people do with propagations: start the dead afresh, take back what is owed, release what is held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.core.errors import Conflict
from holdfast.core.propagation import claims, queue, view
from holdfast.core.propagation.deaths import Deathwatch, tell_undone
from holdfast.core.propagation.kinds import Buried
from holdfast.core.redact import redact
from holdfast.core.store.sql import load

if TYPE_CHECKING:
    from holdfast.core.propagation.kinds import Kind
    from holdfast.core.store.port import Row, Store, Unit

SQL = load("holdfast.core.propagation", "redrive.sql")

#: Acts on record.
REDRIVEN, CANCELLED, RELEASED = "propagation.redriven", "propagation.cancelled", "effects.released"
#: Typed reasons of rows that a person has put back, or taken away.
AFRESH, BY_HAND = "redriven", "by_hand"
#: Rows started afresh in one unit of work, so that no other unit waits long.
CHUNK = 100
_LONGEST_ERROR = 500


@dataclass(frozen=True, slots=True)
class Which:
    """Dead rows of a kind, of a typed reason, that died before a moment; all of them where nothing is said."""

    kind: str | None = None
    reason: str | None = None
    before: str | None = None


@dataclass(frozen=True, slots=True)
class Redriven:
    """What one unit of work came to: who was started afresh, who could not be and why, and where to go on."""

    ids: list[int]
    refused: list[tuple[int, str]]
    #: The rows behind this id have not been looked at; none when there are no more.
    following: int | None


# --- again -----------------------------------------------------------------------------------------------------


def redrive(unit: Unit, kinds: Mapping[str, Kind[Any]], row_id: int, watches: Sequence[Deathwatch] = ()) -> Row:
    """Start a dead row afresh: its counts begin anew, it is due now; what it died of stays visible in its error."""
    row = _row(unit, row_id, "redriven")
    if row["state"] != "dead":
        message = (
            f"Propagation {row_id} is {row['state']}, not dead: it is tried by itself, at {row['next_attempt_at']}. "
            "Only what is dead is redriven."
        )
        raise Conflict(message, state=row["state"])
    _revive(unit, kinds, row)
    tell_undone(watches, unit, row_id)
    unit.announce(queue.TOPIC)
    return view.whole(unit, row_id)


def redrive_all(
    unit: Unit, kinds: Mapping[str, Kind[Any]], which: Which, after: int = 0, watches: Sequence[Deathwatch] = ()
) -> Redriven:
    """Start a bounded number of dead rows afresh, oldest first; what cannot be is left dead and named."""
    rows = unit.all(SQL.dead, kind=which.kind, reason=which.reason, before=which.before, after=after, limit=CHUNK + 1)
    ids: list[int] = []
    refused: list[tuple[int, str]] = []
    for row in rows[:CHUNK]:
        try:
            _revive(unit, kinds, row)
        except Conflict as conflict:
            refused.append((row["id"], conflict.message))
        else:
            tell_undone(watches, unit, row["id"])
            ids.append(row["id"])
    if ids:
        unit.announce(queue.TOPIC)
    return Redriven(ids, refused, rows[CHUNK - 1]["id"] if len(rows) > CHUNK else None)


def _revive(unit: Unit, kinds: Mapping[str, Kind[Any]], row: Row) -> None:
    _refuse_twin(unit, row)
    unit.run(
        SQL.revive,
        id=row["id"],
        reason=AFRESH,
        error=_history(row, unit.at),
        behind=_in_front(unit, kinds, row),
        now=unit.at,
    )


def _refuse_twin(unit: Unit, row: Row) -> None:
    """Two rows of a key that is unique while pending would be one too many; what came later does what it would do."""
    if row["pending_key"] is None:
        return
    twin = unit.one(SQL.twin, kind=row["kind"], key=row["pending_key"], id=row["id"])
    if twin is None:
        return
    live = "is under way" if twin["claim"] is not None else "is owed"
    message = (
        f"Propagation {row['id']} stays dead: propagation {twin['id']} {live} under the same key "
        f"{row['pending_key']!r} and does what it would do. "
        f"Cancel {row['id']}, or redrive it when {twin['id']} is over."
    )
    raise Conflict(message, twin=twin["id"])


def _in_front(unit: Unit, kinds: Mapping[str, Kind[Any]], row: Row) -> int | None:
    """Whom it stands behind: in a lane, whoever has the turn."""
    if row["lane"] is None:
        return None
    blocks = int(_dead_blocks(kinds, row))
    found = unit.one(SQL.in_front, kind=row["kind"], lane=row["lane"], id=row["id"], dead_blocks=blocks)
    return None if found is None else int(found["id"])


def _history(row: Row, now: str) -> str:
    told = f"redriven at {now}; had died of {row['reason']} after {row['attempts']} failures"
    if row["starts"]:
        told += f" and {row['starts']} starts without an outcome"
    return redact(f"{told}: {row['error']}" if row["error"] else told, limit=_LONGEST_ERROR)


# --- not any more ----------------------------------------------------------------------------------------------


def cancel(unit: Unit, kinds: Mapping[str, Kind[Any]], row_id: int, watches: Sequence[Deathwatch] = ()) -> Row:
    """Take back what is owed and not under way, or what is dead; it goes to the ledger, with its kind's facts."""
    row = _row(unit, row_id, "cancelled")
    queue.close(unit, row, "cancelled", BY_HAND, dead_blocks=_dead_blocks(kinds, row))
    if row["state"] == "dead":
        tell_undone(watches, unit, row_id)
    kind = kinds.get(row["kind"])
    if kind is not None and kind.cancelled is not None:
        kind.cancelled(unit, Buried(row_id, row["key"], _payload(kind, row), BY_HAND, row["error"]))
    return view.whole(unit, row_id)


def _payload(kind: Kind[Any], row: Row) -> Any:
    """What was owed; none where this version cannot read it."""
    try:
        return msgspec.json.decode(row["payload"], type=kind.payload)
    except msgspec.DecodeError:
        return None


# --- both ------------------------------------------------------------------------------------------------------


def _row(unit: Unit, row_id: int, done: str) -> Row:
    """A row of the queue that nobody works on."""
    row = unit.one(SQL.row, id=row_id)
    if row is None:
        over = unit.one(SQL.over, id=row_id)
        if over is None:
            raise view.missing(str(row_id))
        message = f"Propagation {row_id} is {over['state']} since {over['finished_at']}: it cannot be {done} any more."
        raise Conflict(message, state=over["state"])
    if row["claim"] is not None:
        message = (
            f"Propagation {row_id} is under way, in process {row['claim'].partition('.')[0]}, whose lease runs until "
            f"{row['lease_until']} and goes on while that process lives. What is under way cannot be {done}: "
            "look at it again when its try is over."
        )
        raise Conflict(message, state="leased", lease_until=row["lease_until"])
    return row


def _dead_blocks(kinds: Mapping[str, Kind[Any]], row: Row) -> bool:
    kind = kinds.get(row["kind"])
    return kind is not None and kind.dead_blocks


# --- effects that are held -------------------------------------------------------------------------------------


def release(unit: Unit) -> bool:
    """Hold effects no longer; whether they were held. Every process learns of it: its runner is woken."""
    unit.announce(queue.TOPIC)
    return unit.run(SQL.release) > 0


async def notice_release(store: Store) -> bool:
    """Learn of a release that is committed, by whichever process; whether it is news. A runner does so turn by turn."""
    released = store.effects_held and await store.read(claims.effects_held_at) is None
    if released:
        store.effects_released()
    return released
