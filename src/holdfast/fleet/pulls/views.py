"""Pulls as the API shows them: read in one view of the store, derived when they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.fleet.pulls import door, rows
from holdfast.fleet.pulls.facts import Pull, greenness
from holdfast.fleet.pulls.status import status

if TYPE_CHECKING:
    from holdfast.core.store.port import Reader

_HIDDEN = ("checks", "comments", "expected", "version")


def pull(reader: Reader, pull_id: str) -> dict[str, Any]:
    """One pull with the checks of its head and their logs, what people said, and what that made reactions owe."""
    found = door.need(reader, pull_id)
    nudges = reader.all(rows.SQL.nudges, pull=pull_id)
    return _shown(found) | {
        "checks": [msgspec.to_builtins(check) for check in found.head_checks],
        "comments": [msgspec.to_builtins(comment) for comment in found.comments],
        "nudges": nudges,
    }


def pulls(
    reader: Reader, after: str, limit: int, *, project: str | None, session: str | None, state: str | None
) -> list[dict[str, Any]]:
    """Pulls by id, with the checks of their heads in short."""
    found = reader.all(rows.SQL.page, after=after, limit=limit, project=project, session=session, state=state)
    return [_shown(each) for each in rows.heads(reader, found)]


def _shown(pull: Pull) -> dict[str, Any]:
    told = {name: value for name, value in msgspec.to_builtins(pull).items() if name not in _HIDDEN}
    states: dict[str, int] = {}
    for check in pull.head_checks:
        states[check.state] = states.get(check.state, 0) + 1
    return told | {
        "status": status(pull),
        "green": greenness(pull),
        "expected": None if pull.expected is None else list(pull.expected),
        "check_states": states,
    }
