"""Reactions as rows: what they look at, read in one go, and what they owed, always in the caller's unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.core.store.sql import load
from holdfast.fleet.pulls import rows as pulls
from holdfast.fleet.pulls.facts import Comment
from holdfast.fleet.reactions.facts import Budget, Case, Nudge, Rules, Signed, Unknown
from holdfast.fleet.reactions.settings import settings_of
from holdfast.fleet.sessions import rows as sessions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from holdfast.core.store.port import Reader, Row
    from holdfast.fleet.pulls.facts import Pull

SQL = load("holdfast.fleet.reactions", "reactions.sql")
_budget = msgspec.json.Decoder(Budget).decode
_encode = msgspec.json.Encoder().encode


def case_of(reader: Reader, session: str, now: str) -> Case | None:
    """Everything that decides about the reactions of a session; none when that is not there."""
    found = sessions.read(reader, session)
    if found is None:
        return None
    row, facts = found
    rules = reader.one(SQL.rules, project=row["project"])
    return Case(
        facts=facts,
        project=row["project"],
        now=now,
        awaited=row["wanted"] is not None,
        pulls=_pulls(reader, session),
        nudges=tuple(_nudge(each) for each in reader.all(SQL.nudges, session=session)),
        unknown=tuple(
            Unknown(each["id"], each["text"], each["reason"] or "") for each in reader.all(SQL.unknown, session=session)
        ),
        rules=Rules() if rules is None else Rules(settings_of(rules["reactions"]), rules["merge_by"]),
    )


def budget_of(text: str) -> Budget:
    """The budget in a column."""
    return _budget(text)


def budget_text(budget: Budget) -> str:
    """A budget as its column holds it."""
    return _encode(budget).decode()


def _pulls(reader: Reader, session: str) -> tuple[Pull, ...]:
    found = reader.all(pulls.SQL.of_session, session=session)
    if not found:
        return ()
    checks = _by_pull(reader.all(SQL.checks, session=session), Signed)
    comments = _by_pull(reader.all(SQL.comments, session=session), Comment)
    return tuple(
        pulls.pull_of(row, tuple(checks.get(row["id"], ())), tuple(comments.get(row["id"], ()))) for row in found
    )


def _by_pull(rows: Iterable[Row], kind: type[Any]) -> Mapping[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for row in rows:
        told = {("commit" if name == "commit_id" else name): value for name, value in row.items() if name != "pull"}
        found.setdefault(row["pull"], []).append(kind(**told))
    return found


def _nudge(row: Row) -> Nudge:
    return Nudge(**(row | {"budget": _budget(row["budget"])}))
