"""Which sessions a person should look at first: every status has its group, and the groups their order. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.fleet.sessions.status import Status


@dataclass(frozen=True, slots=True)
class Group:
    """Sessions that need the same of a person, under one heading; within it in the order of the statuses."""

    name: str
    title: str
    statuses: tuple[Status, ...]


GROUPS = (
    Group(
        "needs",
        "Needs you",
        (
            "needs_input",
            "stuck",
            "detecting",
            "no_signal",
            "ci_failed",
            "conflict",
            "changes_requested",
            "review_pending",
            "approved",
            "mergeable",
        ),
    ),
    Group("works", "At work", ("working", "spawning")),
    Group("rests", "Resting", ("pr_open", "draft", "idle")),
    Group("queued", "In the queue", ("queued",)),
    Group("ended", "Ended", ("errored", "exited", "killed", "done", "merged")),
)
#: Where a status stands among all of them.
PLACE: dict[Status, int] = {status: place for place, status in enumerate(s for group in GROUPS for s in group.statuses)}
