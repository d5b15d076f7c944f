"""A session's facts as rows: read as the decider wants them, written back where they changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.core.store.sql import load
from holdfast.fleet.sessions.facts import Activity, Episode, Facts

if TYPE_CHECKING:
    from holdfast.core.store.port import Reader, Row, Unit

SQL = load("holdfast.fleet.sessions", "sessions.sql")

#: The facts that are columns; what else belongs to a launch stands as JSON in `life`.
_COLUMNS = ("id", "speaks", "state", "state_at", "reason", "launch", "launched_at", "alive_since", "kill_asked_at")
_EPISODE = ("number", "launch", "cause", "started_at", "escalated_at", "closed_at", "outcome")
_APART = frozenset({*_COLUMNS, "evidence", "activity", "episode"})

_encode = msgspec.json.Encoder(order="deterministic").encode


def facts_of(row: Row, episode: Row | None) -> Facts:
    """The facts in a row of `sessions` and its newest row of `episodes`."""
    found: dict[str, Any] = msgspec.json.decode(row["life"])
    found |= {name: row[name] for name in _COLUMNS}
    found["evidence"] = msgspec.json.decode(row["evidence"])
    if row["activity"] is not None:
        found["activity"] = Activity(row["activity"], row["activity_source"], row["activity_at"])
    if episode is not None:
        found["episode"] = msgspec.json.decode(episode["tally"]) | {name: episode[name] for name in _EPISODE}
    return msgspec.convert(found, Facts)


def read(reader: Reader, session: str) -> tuple[Row, Facts] | None:
    """The row of a session and its facts."""
    row = reader.one(SQL.by_id, id=session)
    return None if row is None else (row, facts_of(row, reader.one(SQL.last_episode, id=session)))


def read_alive(reader: Reader, host: str) -> list[tuple[Row, Facts]]:
    """Every session that lives on this host, with the handle of its launch."""
    episodes = {row["session"]: row for row in reader.all(SQL.last_episodes_of_alive, host=host)}
    return [(row, facts_of(row, episodes.get(row["id"]))) for row in reader.all(SQL.alive_launches, host=host)]


def write(unit: Unit, project: str, before: Facts, after: Facts) -> None:
    """Write what has changed."""
    if after.episode is not None and after.episode != before.episode:
        _write_episode(unit, project, after.id, after.episode)
    old, new = _row(before), _row(after)
    if old == new:
        return
    if all(old[name] == new[name] for name in new if name != "life"):
        unit.run(SQL.note_life, id=after.id, life=new["life"])
        return
    ended = unit.at if after.state in {"terminated", "done"} else None
    unit.run(SQL.update, **new, ended_at=ended)


def _row(facts: Facts) -> dict[str, Any]:
    everything = msgspec.to_builtins(facts)
    life = {name: value for name, value in everything.items() if name not in _APART}
    activity = facts.activity
    row = {name: everything[name] for name in _COLUMNS if name != "speaks"}
    return row | {
        "evidence": _encode(facts.evidence).decode(),
        "activity": activity and activity.state,
        "activity_source": activity and activity.source,
        "activity_at": activity and activity.at,
        "life": _encode(life).decode(),
    }


def _write_episode(unit: Unit, project: str, session: str, episode: Episode) -> None:
    everything = msgspec.to_builtins(episode)
    tally = {name: value for name, value in everything.items() if name not in _EPISODE}
    unit.run(
        SQL.put_episode,
        session=session,
        project=project,
        tally=_encode(tally).decode(),
        **{name: everything[name] for name in _EPISODE},
    )
