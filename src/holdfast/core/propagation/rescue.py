"""The units that mend rows: those whose holders are gone, whose clock was wrong, or whose kind nobody knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.core import faults, ids
from holdfast.core.instants import parse_stamp, seconds, stamp
from holdfast.core.propagation import claims, queue
from holdfast.core.propagation.deaths import Deathwatch, tell_died
from holdfast.core.propagation.kinds import Buried
from holdfast.core.propagation.verdict import Counts, Verdict, after_crash, unknown
from holdfast.core.store.sql import load

if TYPE_CHECKING:
    from holdfast.core.propagation.kinds import Kind
    from holdfast.core.store.port import Reader, Row, Unit

SQL = load("holdfast.core.propagation", "rescue.sql")
RESCUING = faults.point("propagation.rescuing", "leases are taken from whom they ran out on, in an open unit")

#: Rows mended in one unit of work, so that no other unit waits long.
CHUNK = 200
#: Rows gone through in one read.
STRETCH = 2_000
#: A decision this far in the future was made by a clock that has been put back since.
SKEW_SECONDS = 5.0

Seen = tuple[int, str, str]  # id, claim, lease_until
_encode = msgspec.json.Encoder().encode


def claimed(reader: Reader) -> list[Row]:
    """Every row under a lease."""
    return reader.all(SQL.claimed)


def stretch(reader: Reader, after: int) -> list[Row]:
    """Rows of the queue behind an id, in the order of ids: no more than can be gone through at once."""
    return reader.all(SQL.stretch, after=after, limit=STRETCH)


def seen(row: Row) -> Seen:
    """A lease as it was read."""
    return row["id"], row["claim"], row["lease_until"]


def rescue(unit: Unit, kinds: Mapping[str, Kind[Any]], leases: Sequence[Seen], *, bare: bool = False) -> int:
    """Take rows from whom their leases ran out on, as far as these have not moved; how many."""
    rows = unit.all(SQL.still, seen=_encode({row_id: rest for row_id, *rest in leases}).decode())
    for row in rows:
        kind = kinds.get(row["kind"])
        claims.apply(unit, kind, row, _after_crash(kind, row, unit.at, bare=bare))
    RESCUING()
    if rows:
        unit.announce(queue.TOPIC)
    return len(rows)


def _after_crash(kind: Kind[Any] | None, row: Row, now: str, *, bare: bool) -> Verdict:
    counts = Counts(row["attempts"], row["starts"])
    if kind is None:  # it is not for us to judge: whoever knows it starts it again
        return Verdict("pending", counts.attempts, counts.starts, None, None, now)
    verdict = after_crash(kind, counts, now, ids.fraction())
    return replace(verdict, bare=True) if bare else verdict


def give_back(unit: Unit, kinds: Mapping[str, Kind[Any]], leases: Iterable[Seen]) -> None:
    """Rows that were claimed and never started, because nobody was told of it, are as if they had not been."""
    for row_id, claim, _ in leases:
        row = unit.one(claims.SQL.held, id=row_id, claim=claim)
        if row is not None:
            verdict = Verdict(row["state"], row["attempts"], row["starts"] - 1, row["reason"], None, None)
            claims.apply(unit, kinds.get(row["kind"]), row, verdict)
    unit.announce(queue.TOPIC)


def judge_unknown(unit: Unit, names: Iterable[str], watches: Sequence[Deathwatch] = ()) -> int:
    """Rows that are due and whose kind no living process knows: put off, within their own bound; how many."""
    judged = 0
    for name in names:
        for row in unit.all(SQL.due_of_unknown, kind=name, now=unit.at, limit=CHUNK):
            unit.run(SQL.count_strange, id=row["id"])
            verdict = unknown(Counts(row["attempts"], row["starts"]), row["strange"] + 1, unit.at)
            claims.apply(unit, None, row, verdict)
            if verdict.state == "dead":
                buried = Buried(row["id"], row["key"], None, verdict.reason or "", row["error"])
                tell_died(watches, unit, name, buried)
            judged += 1
    return judged


def known_again(unit: Unit, name: str) -> bool:
    """Some of the rows that were put off because nobody knew their kind are due now; whether there may be more."""
    return unit.run(SQL.known_again, kind=name, now=unit.at, limit=CHUNK) == CHUNK


def ahead_of_time(rows: Iterable[Row], now: str) -> list[Row]:
    """Those that wait because of a clock that has been put back since. A time that was asked for is not its doing."""
    limit = stamp(parse_stamp(now) + seconds(SKEW_SECONDS))
    return [
        row
        for row in rows
        if row["decided_at"] > limit and row["not_before"] is None and row["claim"] is None and row["state"] != "dead"
    ]


def set_right(unit: Unit, rows: Iterable[Row]) -> None:
    """Let rows that are ahead of time wait as long as was meant, from now on."""
    now = parse_stamp(unit.at)
    for row in rows:
        wait = parse_stamp(row["next_attempt_at"]) - parse_stamp(row["decided_at"])
        next_at = stamp(now + wait)
        unit.run(SQL.put_off, id=row["id"], next_attempt_at=next_at, decided_at=row["decided_at"], now=unit.at)
