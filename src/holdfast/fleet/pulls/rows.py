"""Pulls as rows: read as the reducer wants them, written back where they changed, always in the caller's unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.core.store.sql import load
from holdfast.fleet.pulls.facts import Check, Comment, Pull

if TYPE_CHECKING:
    from collections.abc import Iterable

    from holdfast.core.store.port import Reader, Row, Unit
    from holdfast.fleet.pulls.reducer import Reduced

SQL = load("holdfast.fleet.pulls", "pulls.sql")
_JSON = ("conflicts", "expected")
#: The facts that are columns of a pull's own row.
_COLUMNS = tuple(name for name in Pull.__struct_fields__ if name not in {"checks", "comments"})

_encode = msgspec.json.Encoder().encode


def read(reader: Reader, pull: str) -> Pull | None:
    """One pull with everything that is known of it."""
    row = reader.one(SQL.by_id, id=pull)
    return None if row is None else _whole(reader, row)


def of_session(reader: Reader, session: str) -> tuple[Pull, ...]:
    """The pulls of a session, by number, each with everything that is known of it."""
    return tuple(_whole(reader, row) for row in reader.all(SQL.of_session, session=session))


def heads(reader: Reader, rows: Iterable[Row]) -> list[Pull]:
    """Pulls of these rows with the checks of their heads alone, without logs; in their order."""
    rows = list(rows)
    if not rows:
        return []
    checks: dict[str, list[Check]] = {}
    ids = [row["id"] for row in rows]
    for row in reader.all(SQL.checks_of_heads, first=min(ids), last=max(ids)):
        checks.setdefault(row["pull"], []).append(_check(row))
    return [pull_of(row, tuple(checks.get(row["id"], ())), ()) for row in rows]


def add(unit: Unit, pull: Pull) -> None:
    """A pull that nobody knew."""
    unit.run(SQL.add, **_row(pull))


def write(unit: Unit, reduced: Reduced) -> None:
    """Write what an observation has changed: the row itself first, then its checks, then what people said."""
    pull = reduced.pull
    if reduced.scalar:
        unit.run(SQL.change, **{name: value for name, value in _row(pull).items() if name in SQL.change.params})
    for check in reduced.checks:
        row = {name: getattr(check, name) for name in Check.__struct_fields__ if name != "commit"}
        unit.run(
            SQL.put_check, pull=pull.id, project=pull.project, commit_id=check.commit, digest=digest_of(check), **row
        )
    for comment in reduced.comments:
        said = {name: getattr(comment, name) for name in Comment.__struct_fields__ if name != "commit"}
        unit.run(SQL.put_comment, pull=pull.id, project=pull.project, commit_id=comment.commit, **said)
    for external in reduced.gone:
        unit.run(SQL.remove_comment, pull=pull.id, external=external)


def next_number(unit: Unit, project: str) -> int:
    """A number for a pull of a forge that gives none."""
    row = unit.one(SQL.next_number, project=project)
    assert row is not None  # the statement returns the row that it writes
    return int(row["last"])


def digest_of(check: Check) -> str:
    """What tells this failure from another; nothing of what is no failure."""
    from holdfast.fleet.reactions.signature import digest  # noqa: PLC0415 - what only reads pulls needs no signatures

    return digest(check.step, check.tail) if check.state == "failed" else ""


def _whole(reader: Reader, row: Row) -> Pull:
    checks = tuple(_check(each) for each in reader.all(SQL.checks, pull=row["id"]))
    comments = tuple(
        Comment(**{("commit" if name == "commit_id" else name): value for name, value in each.items()})
        for each in reader.all(SQL.comments, pull=row["id"])
    )
    return pull_of(row, checks, comments)


def pull_of(row: Row, checks: tuple[Check, ...], comments: tuple[Comment, ...]) -> Pull:
    """The pull in a row, with what of its checks and comments the caller has read."""
    told: dict[str, Any] = {name: row[name] for name in _COLUMNS}
    told["conflicts"] = tuple(msgspec.json.decode(row["conflicts"]))
    expected = msgspec.json.decode(row["expected"])
    told["expected"] = None if expected is None else tuple(expected)
    return Pull(**told, checks=checks, comments=comments)


def _check(row: Row) -> Check:
    told = {name: row[name] for name in Check.__struct_fields__ if name in row}
    return Check(**told, commit=row["commit_id"])


def _row(pull: Pull) -> dict[str, Any]:
    row = {name: getattr(pull, name) for name in _COLUMNS}
    return row | {name: _encode(row[name]).decode() for name in _JSON}
