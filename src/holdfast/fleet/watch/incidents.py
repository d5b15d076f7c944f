"""Incidents: an outage of what many sessions share is one row and one notice, whoever suffers from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from holdfast.fleet.runtimes.port import Look
from holdfast.fleet.sessions.rows import SQL
from holdfast.notify.notices import raise_notice, resolve

if TYPE_CHECKING:
    from holdfast.core.store.port import Unit

Cause = Literal["lost", "unanswering"]
#: Looks in a row without an answer before people are told of it.
_PATIENCE = 3


def cause_of(sight: Look) -> Cause | None:
    """What is wrong with a runtime, by one look."""
    match sight.server:
        case "alive":
            return None
        case "dead" | "missing":
            return "lost"
        case _:
            return "unanswering"


class Incidents:
    """The outages of the runtimes of one host; which of them are open is known here, so that a quiet look is free."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._open: dict[str, Cause | None] = {}
        self._unanswered: dict[str, int] = {}

    def turned(self, sights: Mapping[str, Look], counts: Mapping[str, int]) -> dict[str, Look]:
        """The runtimes with which something has begun or ended."""
        found = {}
        for name, sight in sights.items():
            cause = cause_of(sight)
            failures = self._unanswered[name] = self._unanswered.get(name, 0) + 1 if cause == "unanswering" else 0
            if cause == "unanswering" and failures < _PATIENCE:
                continue
            if name not in self._open or self._open[name] != cause:
                found[name] = sight
        return {name: sight for name, sight in found.items() if counts.get(name) or self._open.get(name)}

    def write(self, unit: Unit, turned: Mapping[str, Look], counts: Mapping[str, int]) -> None:
        """Begin and end incidents."""
        for name, sight in turned.items():
            cause = cause_of(sight)
            other: Cause
            for other in ("lost", "unanswering"):
                if other != cause:
                    row = unit.one(SQL.open_incident, host=self._host, runtime=name, cause=other)
                    if row is not None:
                        unit.run(SQL.end_incident, id=row["id"], at=unit.at)
                        resolve(unit, f"incident:{row['id']}")
            if cause is not None:
                begin(unit, self._host, name, cause, sight.detail, counts.get(name, 0))

    def written(self, turned: Mapping[str, Look]) -> None:
        """What was written is known from now on."""
        for name, sight in turned.items():
            self._open[name] = cause_of(sight)


def begin(unit: Unit, host: str, runtime: str, cause: str, detail: str, sessions: int) -> None:
    """Begin an incident, unless that one goes on already, and tell people once."""
    row = unit.one(
        SQL.begin_incident, host=host, runtime=runtime, cause=cause, detail=detail, sessions=sessions, at=unit.at
    )
    if row is None:
        return
    words = {
        "lost": f"{runtime} on {host} is gone, and {sessions} sessions with it. "
        "Bring them back with: holdfast restore --all",
        "unanswering": f"{runtime} on {host} does not answer; {sessions} sessions cannot be reached until it does.",
        "reboot": f"{host} was started anew, and {sessions} sessions ended with that. "
        "Bring them back with: holdfast restore --all (or keep their work and tidy up: holdfast cleanup)",
    }
    raise_notice(
        unit,
        kind="runtime-lost" if cause != "unanswering" else "runtime-unanswering",
        subject=f"host:{host}",
        key=f"incident:{row['id']}",
        text=words[cause],
        scope="fleet",
    )
