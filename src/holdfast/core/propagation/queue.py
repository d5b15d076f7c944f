"""The queue as units of work see it: they owe effects, replace them, take them back. Nothing here starts anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from holdfast.core import faults, ids
from holdfast.core.errors import Invalid, StoreBusy
from holdfast.core.instants import parse_stamp, seconds, stamp
from holdfast.core.propagation.kinds import LARGEST_PAYLOAD, LONGEST_KEY, Kind
from holdfast.core.propagation.verdict import SUPERSEDED
from holdfast.core.store.sql import load

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.core.store.port import Row, Unit

SQL = load("holdfast.core.propagation", "queue.sql")
#: Announced by every unit that makes something due, or may.
TOPIC = "propagations"

ENQUEUED = faults.point("propagation.enqueued", "an effect is owed in a unit of work that has not committed")

P = TypeVar("P", bound=msgspec.Struct)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Enqueued:
    """The row that owes the effect: a new one, or the one that was there under the same key."""

    id: int
    new: bool


def enqueue(unit: Unit, kind: Kind[P], payload: P, *, key: str | None = None, at: datetime | None = None) -> Enqueued:
    """Owe an effect, in the unit of work that decides it; it is due at once, or not before `at`."""
    _check_key(kind, key)
    text = _payload_text(kind, payload)
    unit.announce(TOPIC)
    if kind.unique != "no" and (there := _there(unit, kind, str(key))) is not None:
        return Enqueued(there, new=False)
    lane = _lane(kind, payload, key)
    now = unit.at
    row = unit.one(
        SQL.add,
        kind=kind.name,
        key=key,
        pending_key=key if kind.unique == "pending" else None,
        lane=lane,
        behind=None if lane is None else _last_in_lane(unit, kind, lane),
        payload=text,
        effect=ids.new_id("eff"),
        due=now if at is None else stamp(at),
        not_before=None if at is None else stamp(at),
        now=now,
    )
    if row is None:
        # PostgreSQL runs the unit again when it meets a row that it cannot see; nothing else stands in the way.
        message = f"an effect of {kind.name} under the key {key!r} could not be owed; nothing was written, try again"
        raise StoreBusy(message)
    if kind.unique == "forever":
        unit.run(SQL.note_key, kind=kind.name, key=key, id=row["id"])
    ENQUEUED()
    return Enqueued(int(row["id"]), new=True)


def supersede(unit: Unit, kind: Kind[P], payload: P, *, key: str, at: datetime | None = None) -> Enqueued:
    """Owe an effect in the place of those under its key that have not been started."""
    if kind.unique == "forever":
        message = f"the keys of {kind.name} are unique for ever: another effect needs another key than {key!r}"
        raise Invalid(message)
    cancel(unit, kind, key, SUPERSEDED)
    return enqueue(unit, kind, payload, key=key, at=at)


def cancel(unit: Unit, kind: Kind[Any], key: str, reason: str) -> int:
    """Take back what is owed under a key; how many rows went. What is under way is not touched."""
    rows = unit.all(SQL.unstarted_of_key, kind=kind.name, key=key)
    for row in rows:
        close(unit, row, "cancelled", reason, dead_blocks=kind.dead_blocks)
    return len(rows)


def resume(unit: Unit, kind: Kind[Any], key: str) -> int:
    """Let rows that wait under a key be looked at now, because what they wait for may have come; how many.

    One that is under way may be about to wait, and is looked at again if it does.
    """
    unit.announce(TOPIC)
    return unit.run(SQL.resume, kind=kind.name, key=key, now=unit.at)


def close(unit: Unit, row: Row, state: str, reason: str | None, *, dead_blocks: bool) -> None:
    """Take a row that nobody works on to the ledger, and give the next one of its lane its turn."""
    unit.run(
        SQL.enter_in_ledger,
        id=row["id"],
        state=state,
        reason=reason,
        error=row["error"],
        attempts=row["attempts"],
        starts=row["starts"],
        now=unit.at,
    )
    unit.run(SQL.remove, id=row["id"])
    if row["lane"] is not None:
        give_turn(unit, row["kind"], row["lane"], dead_blocks=dead_blocks)


def give_turn(unit: Unit, kind: str, lane: str, *, dead_blocks: bool) -> None:
    """The first row of the lane is behind nobody any more."""
    unit.run(SQL.turn, kind=kind, lane=lane, dead_blocks=int(dead_blocks))
    unit.announce(TOPIC)


def delayed(unit: Unit, after: float) -> datetime:
    """The moment that lies so many seconds after the unit's own."""
    return parse_stamp(unit.at) + seconds(after)


def _there(unit: Unit, kind: Kind[Any], key: str) -> int | None:
    """The row that makes a second one needless; takes the key where it is kept for ever."""
    if kind.unique == "pending":
        row = unit.one(SQL.pending_of_key, kind=kind.name, key=key)
        return None if row is None else int(row["id"])
    if unit.run(SQL.take_key, kind=kind.name, key=key, at=unit.at):
        return None
    row = unit.one(SQL.key_taken, kind=kind.name, key=key)
    return 0 if row is None else int(row["id"])


def _last_in_lane(unit: Unit, kind: Kind[Any], lane: str) -> int | None:
    row = unit.one(SQL.last_in_lane, kind=kind.name, lane=lane, dead_blocks=int(kind.dead_blocks))
    return None if row is None else int(row["id"])


def _lane(kind: Kind[P], payload: P, key: str | None) -> str | None:
    return kind.lane(payload) if kind.lane is not None else key if kind.unique == "pending" else None


def _check_key(kind: Kind[Any], key: str | None) -> None:
    if key is None:
        if kind.unique != "no":
            message = f"an effect of {kind.name} needs a key: they are unique ({kind.unique})"
            raise Invalid(message)
    elif not 1 <= len(key) <= LONGEST_KEY or not key.isprintable():
        message = f"the key of an effect of {kind.name} must be 1 to {LONGEST_KEY} printable characters: {key[:80]!r}"
        raise Invalid(message)


def _payload_text(kind: Kind[P], payload: P) -> str:
    if type(payload) is not kind.payload:
        message = f"an effect of {kind.name} takes a {kind.payload.__name__}, not a {type(payload).__name__}"
        raise Invalid(message)
    encoded = _encode(payload)
    if len(encoded) > LARGEST_PAYLOAD:
        message = (
            f"the payload of an effect of {kind.name} is {len(encoded)} bytes and may be {LARGEST_PAYLOAD}: "
            "keep what is big elsewhere, and its name in the payload"
        )
        raise Invalid(message)
    return encoded.decode()
