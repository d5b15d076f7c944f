"""What the page shows, read in one view of the store and bounded; what is left out is counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from holdfast.core.changes import log
from holdfast.core.store.sql import load
from holdfast.fleet.pulls import rows as pull_rows
from holdfast.fleet.pulls.status import status as pull_status
from holdfast.fleet.sessions import admission, rows
from holdfast.fleet.sessions.explain import explain
from holdfast.fleet.sessions.status import PULL_ORDER
from holdfast.notify.notices import open_notices
from holdfast.page.standing import PLACE

if TYPE_CHECKING:
    from holdfast.core.store.port import Reader, Row
    from holdfast.fleet.pulls.facts import Pull
    from holdfast.fleet.sessions.admission import Caps
    from holdfast.fleet.sessions.explain import Explanation
    from holdfast.fleet.sessions.status import PullState

SQL = load("holdfast.page", "page.sql")
#: So many of each are shown.
MOST_SESSIONS = 200
MOST_PULLS = 100
MOST_NOTICES = 50
MOST_CHANGES = 50
#: So many logs, and of each so many characters of its end.
MOST_LOGS = 60
LOG_CHARACTERS = 4_000
#: Pulls that have a say in how their sessions stand.
_MOST_HEADS = 1_000


@dataclass(frozen=True, slots=True)
class Standing:
    """A pull, and how it stands."""

    pull: Pull
    status: PullState


@dataclass(frozen=True, slots=True)
class Shown:
    """A session, why it stands as it does, and what belongs to it."""

    row: Row
    why: Explanation
    pulls: tuple[Standing, ...]
    #: Its place in the queue, and why it waits there.
    queued: tuple[int, str] | None


@dataclass(frozen=True, slots=True)
class State:
    """Everything on the page."""

    now: str
    projects: int
    sessions: tuple[Shown, ...]
    sessions_left_out: int
    pulls: tuple[Standing, ...]
    pulls_left_out: int
    #: The ends of logs, by pull and check.
    logs: dict[tuple[str, str], str]
    #: Whether there are more logs than are shown.
    logs_cut: bool
    notices: tuple[Row, ...]
    notices_cut: bool
    #: Newest first.
    changes: tuple[log.Change, ...]


def state(reader: Reader, now: str, caps: Caps, position: int) -> State:
    """Read it; `position` is where the change log is followed from."""
    counts = reader.one(SQL.counts)
    assert counts is not None  # it selects without a table
    pulls = _pulls(reader)
    sessions = _sessions(reader, now, caps, pulls)
    shown = sorted(pulls, key=lambda each: (PULL_ORDER.index(each.status), each.pull.id))[:MOST_PULLS]
    logs = reader.all(
        SQL.logs,
        pulls=msgspec.json.encode([each.pull.id for each in shown]).decode(),
        characters=LOG_CHARACTERS,
        logs=MOST_LOGS + 1,
    )
    notices = open_notices(reader, MOST_NOTICES + 1)
    changes = log.page(reader, after=max(0, position - MOST_CHANGES), upto=position, limit=MOST_CHANGES)
    return State(
        now=now,
        projects=counts["projects"],
        sessions=sessions,
        sessions_left_out=counts["sessions"] - len(sessions),
        pulls=tuple(shown),
        pulls_left_out=counts["pulls"] - len(shown),
        logs={(row["pull"], row["name"]): row["tail"] for row in logs[:MOST_LOGS]},
        logs_cut=len(logs) > MOST_LOGS,
        notices=tuple(notices[:MOST_NOTICES]),
        notices_cut=len(notices) > MOST_NOTICES,
        changes=tuple(reversed(changes)),
    )


def _pulls(reader: Reader) -> list[Standing]:
    found = reader.all(SQL.pulls, sessions=MOST_SESSIONS, pulls=_MOST_HEADS)
    heads = pull_rows.heads(reader, sorted(found, key=lambda row: str(row["id"])))
    return [Standing(pull, pull_status(pull)) for pull in heads]


def _sessions(reader: Reader, now: str, caps: Caps, pulls: list[Standing]) -> tuple[Shown, ...]:
    theirs: dict[str, list[Standing]] = {}
    for each in pulls:
        theirs.setdefault(each.pull.session, []).append(each)
    queue = admission.reasons(reader, caps)
    episodes = {row["session"]: row for row in reader.all(rows.SQL.open_episodes)}
    shown = []
    for row in reader.all(SQL.sessions, sessions=MOST_SESSIONS):
        own = tuple(theirs.get(row["id"], ()))
        facts = rows.facts_of(row, episodes.get(row["id"]))
        waits = row["wanted"] == "spawn" and row["admitted_at"] is None
        why = explain(facts, now, pulls=own, queued=waits)
        shown.append(Shown(row, why, own, queue.get(row["id"])))
    return tuple(sorted(shown, key=lambda each: PLACE[each.why.status]))  # within a status the newest first
