"""Sessions as the API shows them: read in one view of the store, derived when they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.fleet.pulls import rows as pulls
from holdfast.fleet.pulls.status import status as standing
from holdfast.fleet.sessions import admission, door, rows
from holdfast.fleet.sessions import explain as explanation
from holdfast.fleet.sessions.facts import Facts
from holdfast.fleet.sessions.status import PullState, shown

if TYPE_CHECKING:
    from holdfast.core.store.port import Reader, Row
    from holdfast.fleet.pulls.facts import Pull
    from holdfast.fleet.sessions.admission import Caps

SQL = rows.SQL
_PLAIN = (
    "id",
    "project",
    "agent",
    "kind",
    "title",
    "state",
    "reason",
    "launch",
    "agent_session_id",
    "branch",
    "base",
    "workspace",
    "runtime",
    "host",
    "saga",
    "wanted",
    "rejected",
    "lost",
    "created_at",
    "alive_since",
    "ended_at",
    "state_at",
)


def session(reader: Reader, session_id: str, now: str, caps: Caps | None = None) -> dict[str, Any]:
    """One session; `caps` tell why it waits, if it does."""
    row, facts = door.need(reader, session_id)
    found = pulls.heads(reader, reader.all(pulls.SQL.of_session, session=session_id))
    return _shown(row, facts, now, admission.reasons(reader, caps), found)


def sessions(
    reader: Reader, after: str, limit: int, project: str | None, now: str, caps: Caps | None = None
) -> list[dict[str, Any]]:
    """Sessions by id."""
    queued = admission.reasons(reader, caps)
    found = reader.all(SQL.page, after=after, limit=limit, project=project)
    episodes = {row["session"]: row for row in reader.all(SQL.open_episodes)}
    theirs = _pulls_of(reader, [row["id"] for row in found])
    return [
        _shown(row, rows.facts_of(row, episodes.get(row["id"])), now, queued, theirs.get(row["id"], ()))
        for row in found
    ]


def _pulls_of(reader: Reader, sessions: Sequence[str]) -> dict[str, list[Pull]]:
    if not sessions:
        return {}
    found: dict[str, list[Pull]] = {}
    for pull in pulls.heads(reader, reader.all(pulls.SQL.of_sessions, first=min(sessions), last=max(sessions))):
        found.setdefault(pull.session, []).append(pull)
    return found


def explain(reader: Reader, session_id: str, now: str, caps: Caps | None = None) -> dict[str, Any]:
    """How the status of one session came about, as JSON and in lines."""
    row, facts = door.need(reader, session_id)
    found = pulls.heads(reader, reader.all(pulls.SQL.of_session, session=session_id))
    explained = explanation.explain(
        facts,
        now,
        queued=_is_queued(row),
        owed=_owed(reader, row, caps),
        pulls=[_Standing(pull) for pull in found],
    )
    return {**msgspec.to_builtins(explained), "lines": explained.lines()}


def _owed(reader: Reader, row: Row, caps: Caps | None) -> list[explanation.Owed]:
    """What is to be done to it, and what keeps it: its place in the queue, a saga that waits, one that was given up."""
    place = admission.reasons(reader, caps).get(row["id"]) if row["wanted"] and not row["admitted_at"] else None
    found = []
    if place is not None:
        found.append(explanation.Owed(f"{row['wanted']} waits as number {place[0]}", place[1], row["wanted_at"]))
    for each in reader.all(SQL.owed, session=row["id"]):
        act = each["kind"].rpartition(".")[2]
        if each["state"] == "dead":
            what = f"{act} was given up after {each['attempts']} failures (holdfast jobs show {each['id']})"
        else:
            what = f"{act} is owed" + (f", failures so far: {each['attempts']}" if each["attempts"] else "")
        why = " ".join(str(each["error"] or each["reason"] or "it is under way or about to be").split())
        found.append(explanation.Owed(what, why, each["created_at"]))
    return found


def _is_queued(row: Row) -> bool:
    return row["wanted"] == "spawn" and row["admitted_at"] is None


@dataclass(frozen=True, slots=True)
class _Standing:
    """A pull as the rules of the status see it."""

    pull: Pull

    @property
    def status(self) -> PullState:
        return standing(self.pull)


def _shown(
    row: Row, facts: Facts, now: str, queued: Mapping[str, tuple[int, str]], theirs: Sequence[Pull]
) -> dict[str, Any]:
    place, why = queued.get(row["id"], (None, None))
    derived = shown(facts, now, queued=_is_queued(row), pulls=[_Standing(pull) for pull in theirs])
    episode = facts.quarantine
    return {name: row[name] for name in _PLAIN} | {
        "status": derived.status,
        "status_by": derived.axis,
        "is_alive": facts.alive_since is not None,
        "evidence": facts.evidence,
        "activity": None if facts.activity is None else msgspec.to_builtins(facts.activity),
        "queue_position": place,
        "queue_reason": why,
        "quarantine": None
        if episode is None
        else {
            "attempts": episode.attempts,
            "started_at": episode.started_at,
            "evidence_hash": episode.evidence_hash,
            "escalated_at": episode.escalated_at,
        },
        "pulls": [
            {"id": pull.id, "state": pull.state, "status": standing(pull), "head": pull.head, "url": pull.url}
            for pull in theirs
        ],
    }
