"""What people see of propagations: pages of them, one with all that is known of it, gauges by kind. Only reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from holdfast.core.errors import NotFound
from holdfast.core.instants import parse_stamp
from holdfast.core.propagation import claims
from holdfast.core.propagation.schedule import SCHEDULES
from holdfast.core.redact import redact_value
from holdfast.core.store.sql import load

if TYPE_CHECKING:
    from holdfast.core.store.port import Reader, Row
    from holdfast.core.store.sql import Query

SQL = load("holdfast.core.propagation", "view.sql")

#: What people tell propagations apart by. Leased is whatever a process has a lease on, whichever state it came from.
State = Literal["pending", "leased", "waiting", "done", "dead", "cancelled"]
_MINUTE, _HOUR = 60, 3600

_PAGES: dict[str | None, tuple[Query, ...]] = {
    None: (SQL.queue_page, SQL.ledger_page),
    "pending": (SQL.unclaimed_page,),
    "leased": (SQL.leased_page,),
    "waiting": (SQL.unclaimed_page,),
    "done": (SQL.ledger_page,),
    "dead": (SQL.dead_page,),
    "cancelled": (SQL.ledger_page,),
}


class Gauge(msgspec.Struct, frozen=True):
    """How things stand with one kind."""

    kind: str
    pending: int
    leased: int
    waiting: int
    dead: int
    #: How long the longest due row has been waiting for somebody to start it; 0 when none is due.
    oldest_due_seconds: float


class ScheduleShown(msgspec.Struct, frozen=True):
    """A table of delays, and what it adds up to."""

    name: str
    doc: str
    #: In seconds: after the first failure, after the second one, and so on.
    delays: list[float]
    attempts: int
    horizon_seconds: float
    horizon: str


def page(reader: Reader, *, before: int, limit: int, state: State | None = None, kind: str | None = None) -> list[Row]:
    """Propagations older than an id, newest first, of the queue and the ledger alike."""
    rows: list[Row] = []
    for query in _PAGES[state]:
        wanted = {"before": before, "limit": limit, "kind": kind, "state": state}
        rows += reader.all(query, **{name: wanted[name] for name in query.params})
    rows.sort(key=lambda row: -row["id"])
    return rows[:limit]


def whole(reader: Reader, row_id: int) -> Row:
    """All that is known of one, its payload without secrets."""
    row = reader.one(SQL.in_queue, id=row_id) or reader.one(SQL.in_ledger, id=row_id)
    if row is None:
        raise missing(str(row_id))
    claim = row.pop("claim")
    return row | {
        "held_by": None if claim is None else claim.partition(".")[0],
        "payload": _safe(row["payload"]),
        "progress": None if row["progress"] is None else _safe(row["progress"]),
    }


def missing(named: str) -> NotFound:
    """Nothing has this number; not any more, perhaps."""
    message = (
        f"There is no propagation {named[:80]!r}: no such number was given out, or it was over and retention has "
        "removed it. `holdfast jobs ls` lists them."
    )
    return NotFound(message)


def gauges(reader: Reader, kinds: Iterable[str], now: str) -> list[Gauge]:
    """How things stand with each of these kinds, and with every other that has a row, by name."""
    depths: dict[str, dict[str, int]] = {kind: {} for kind in kinds}
    for row in reader.all(SQL.depths):
        depths.setdefault(row["kind"], {})[row["state"]] = row["depth"]
    due = claims.due(reader, depths)
    return [
        Gauge(
            kind=kind,
            pending=counts.get("pending", 0),
            leased=counts.get("leased", 0),
            waiting=counts.get("waiting", 0),
            dead=counts.get("dead", 0),
            oldest_due_seconds=_overdue((due[kind].fresh, due[kind].suspect), now),
        )
        for kind, counts in sorted(depths.items())
    ]


def schedules() -> list[ScheduleShown]:
    """Every table of delays."""
    return [
        ScheduleShown(
            table.name,
            table.doc,
            list(table.delays),
            table.most_attempts,
            table.horizon().total_seconds(),
            spoken(table.horizon().total_seconds()),
        )
        for table in SCHEDULES
    ]


def spoken(seconds: float) -> str:
    """A span of time in words, such as `55 h 51 m`."""
    hours, rest = divmod(seconds, _HOUR)
    minutes, left = divmod(rest, _MINUTE)
    parts = ((f"{hours:.0f} h", hours), (f"{minutes:.0f} m", minutes), (f"{left:g} s", left))
    return " ".join(text for text, value in parts if value) or "0 s"


def _overdue(times: Sequence[str | None], now: str) -> float:
    reached = [at for at in times if at is not None and at <= now]
    return (parse_stamp(now) - parse_stamp(min(reached))).total_seconds() if reached else 0.0


def _safe(text: str) -> Any:
    return redact_value("", msgspec.json.decode(text))
