"""Notices: what people are to know, raised and resolved in the units of work that decide it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from holdfast.core import faults
from holdfast.core.propagation import queue
from holdfast.core.redact import plain, redact
from holdfast.core.store.sql import load
from holdfast.notify.effects import NOTICE, Standing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from holdfast.core.store.port import Reader, Row, Unit

SQL = load("holdfast.notify", "notices.sql")
RAISED = faults.point("notice.raised", "people are told of something in a unit of work that has not committed")

#: What a notice is, for people: nobody has dealt with it, somebody has seen it, or it is over by itself.
State = Literal["open", "acked", "resolved"]
_LONGEST_TEXT = 4_000
_LAST = (1 << 63) - 1


def raise_notice(unit: Unit, *, kind: str, subject: str, key: str, text: str, scope: str) -> bool:
    """Tell people of something; whether it is new. What was raised under a key is never raised under it again."""
    said = redact(plain(text), limit=_LONGEST_TEXT)
    row = unit.one(SQL.add, kind=kind, subject=subject, key=key, text=said, scope=scope, at=unit.at)
    if row is None:
        return False
    _look_after(unit, row["id"])
    RAISED()
    return True


def is_open(unit: Unit, kind: str, subject: str) -> bool:
    """Whether people are told something of this kind about this subject that is not over."""
    return unit.one(SQL.open_about, kind=kind, subject=subject) is not None


def resolve(unit: Unit, key: str) -> bool:
    """What was raised under this key is over: what of it was not sent will not be."""
    row = unit.one(SQL.resolve, key=key, at=unit.at)
    if row is not None:
        _look_again(unit, [row["id"]])
    return row is not None


def resolve_about(unit: Unit, kind: str, subject: str) -> int:
    """All that was raised of this kind about this subject is over; how many notices that were."""
    rows = unit.all(SQL.resolve_about, kind=kind, subject=subject, at=unit.at)
    _look_again(unit, [row["id"] for row in rows])
    return len(rows)


def resolve_all(unit: Unit, prefix: str) -> int:
    """Whatever was raised under keys that begin with this and a colon is over; how many that were."""
    rows = unit.all(SQL.resolve_between, first=f"{prefix}:", behind=f"{prefix};", at=unit.at)
    _look_again(unit, [row["id"] for row in rows])
    return len(rows)


def reopen(unit: Unit, key: str) -> bool:
    """What was over is so again; whether it was over. It is not sent again if it was sent before."""
    row = unit.one(SQL.reopen, key=key, at=unit.at)
    if row is not None:
        _look_after(unit, row["id"])
    return row is not None


def ack(unit: Unit, notice: int) -> Row | None:
    """Somebody has seen it, and nobody need be told again: the notice as it is then, none if it is not there."""
    if unit.run(SQL.ack, id=notice, by=unit.act.actor, at=unit.at):
        _look_again(unit, [notice])
    return unit.one(SQL.by_id, id=notice)


def _look_after(unit: Unit, notice: int) -> None:
    queue.enqueue(unit, NOTICE, Standing(notice), key=str(notice))


def _look_again(unit: Unit, found: Iterable[int]) -> None:
    """Whoever waits for the time to send it learns that it is over."""
    for notice in found:
        queue.resume(unit, NOTICE, str(notice))


# --- reads -----------------------------------------------------------------------------------------------------


def state_of(row: Row) -> State:
    """What it is for people."""
    return "resolved" if row["resolved_at"] else "acked" if row["acked_at"] else "open"


def open_notices(reader: Reader, limit: int, before: int = _LAST) -> list[Row]:
    """Those that are neither over nor acknowledged, newest first."""
    return _shown(reader.all(SQL.open_page, before=before, limit=limit))


def page(reader: Reader, limit: int, before: int = _LAST) -> list[Row]:
    """All of them, newest first."""
    return _shown(reader.all(SQL.page, before=before, limit=limit))


def count_open(reader: Reader) -> int:
    """How many nobody has dealt with."""
    row = reader.one(SQL.count_open)
    return 0 if row is None else int(row["count"])


def _shown(rows: list[dict[str, Any]]) -> list[Row]:
    return [row | {"state": state_of(row)} for row in rows]
