"""Who of the queue may start now: in order, under all caps, with memory to spare. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

#: What a session that has just been admitted is taken to need, until its memory can be measured.
EXPECTED_MB = 256


@dataclass(frozen=True, slots=True)
class Queued:
    """One session that waits for a place."""

    id: str
    project: str


@dataclass(frozen=True, slots=True)
class Room:
    """How many there may be, and how many there are."""

    total: int
    by_project: Mapping[str, int]
    admitted: Mapping[str, int]
    #: Megabytes that are available beyond those that are to stay free.
    memory_mb: int
    #: How many of those that are admitted run on other hosts.
    elsewhere: int = 0


def admitted(queue: Sequence[Queued], room: Room) -> list[str]:
    """The ids that may start, in their order. One that its project has no room for lets others pass."""
    taken = dict(room.admitted)
    memory = room.memory_mb
    chosen: list[str] = []
    for each in queue:
        if why_not(each, replace(room, admitted=taken, memory_mb=memory)) is None:
            taken[each.project] = taken.get(each.project, 0) + 1
            memory -= EXPECTED_MB
            chosen.append(each.id)
    return chosen


def why_not(queued: Queued, room: Room) -> str | None:
    """What keeps this one waiting, in words; nothing if nothing does."""
    here = room.admitted.get(queued.project, 0)
    most = room.by_project.get(queued.project)
    if most is not None and here >= most:
        return f"project {queued.project!r} runs {here} of its {most} sessions"
    total = sum(room.admitted.values()) - room.elsewhere
    if total >= room.total:
        return f"{total} of {room.total} sessions run"
    if room.memory_mb < 0 or (room.memory_mb < EXPECTED_MB and total > 0):
        return "there is too little free memory to start another session"
    return None
