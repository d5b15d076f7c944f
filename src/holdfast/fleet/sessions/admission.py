"""The queue of sessions: who waits, why, and who is let in, in the unit of work that makes room or asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.core.propagation import queue
from holdfast.fleet.sagas.kinds import RESTORE, SPAWN, Launching
from holdfast.fleet.sessions.decide_admission import Queued, Room, admitted, why_not
from holdfast.fleet.sessions.rows import SQL

if TYPE_CHECKING:
    from holdfast.core.store.port import Reader, Unit

_MEMORY = "/proc/meminfo"
_ANY = 1 << 30


@dataclass(frozen=True, slots=True)
class Caps:
    """What bounds the fleet at this moment."""

    most: int
    #: Whose cap and memory this is: nobody else's sessions are let in by it.
    host: str
    #: Megabytes available beyond those that are to stay free; measured before the unit.
    spare_mb: int


def spare_memory_mb(keep_mb: int) -> int:
    """Megabytes that are available beyond so many; everything there is, where the system does not tell."""
    try:
        with open(_MEMORY, encoding="ascii") as lines:  # noqa: PTH123 - read whenever a session is asked for
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) // 1024 - keep_mb
    except OSError:
        pass
    return _ANY


def room(reader: Reader, caps: Caps) -> Room:
    """How much room there is on the host of these caps. A project's own cap counts its sessions wherever they are."""
    by_project = {row["id"]: row["max_sessions"] for row in reader.all(SQL.caps)}
    taken: dict[str, int] = {}
    elsewhere = 0
    for row in reader.all(SQL.admitted):
        taken[row["project"]] = taken.get(row["project"], 0) + row["sessions"]
        elsewhere += row["sessions"] if row["host"] != caps.host else 0
    return Room(caps.most, by_project, taken, caps.spare_mb, elsewhere)


def waiting(reader: Reader, host: str) -> list[Queued]:
    """Who waits for a place on this host, in order."""
    return [Queued(row["id"], row["project"]) for row in reader.all(SQL.queue, host=host)]


def reasons(reader: Reader, caps: Caps | None) -> dict[str, tuple[int, str]]:
    """The place in the queue of its host, from 1, of everyone who waits, and why they do as far as this host knows."""
    found: dict[str, tuple[int, str]] = {}
    places: dict[str, int] = {}
    now = room(reader, caps) if caps is not None else None
    for row in reader.all(SQL.queue, host=None):
        place = places[row["host"]] = places.get(row["host"], 0) + 1
        why: str | None = None
        if caps is not None and row["host"] != caps.host:
            why = f"the host {row['host']!r} is to let it in"
        elif now is not None:
            why = why_not(Queued(row["id"], row["project"]), now)
        found[row["id"]] = place, why or "it is about to start"
    return found


def admit(unit: Unit, caps: Caps) -> list[str]:
    """Let in whoever may start, and owe their launches."""
    queued = waiting(unit, caps.host)
    if not queued:
        return []
    chosen = admitted(queued, room(unit, caps))
    for session in chosen:
        row = unit.one(SQL.by_id, id=session)
        if row is None:
            continue
        unit.run(SQL.admit, id=session, at=unit.at)
        last = unit.one(SQL.last_launch, session=session)
        number = 1 + ((last["number"] or 0) if last else 0)
        queue.enqueue(unit, SPAWN if row["wanted"] == "spawn" else RESTORE, Launching(session, number), key=session)
    return chosen
