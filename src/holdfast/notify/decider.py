"""What is to be done about one notice now: sent, sent once more, left alone for a while, or for good. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from holdfast.core.instants import parse_stamp
from holdfast.core.pack import NoticeKind

#: For a notice of a kind that no pack of this version declares: told, rather than lost.
UNDECLARED = NoticeKind(name="undeclared", doc="Of a kind that this version does not know.", rule="channels")


@dataclass(frozen=True, slots=True)
class Tell:
    """Give it to the channels that take it."""

    stage: Literal["raised", "escalated"]


@dataclass(frozen=True, slots=True)
class Rest:
    """Look at it again after so many seconds."""

    seconds: float
    why: str


@dataclass(frozen=True, slots=True)
class Over:
    """There is nothing more to do about it."""

    why: str


Step = Tell | Rest | Over


def decide(notice: dict[str, Any], kind: NoticeKind, now: str) -> Step:
    """The next step for a notice as its row is."""
    if notice["resolved_at"] or notice["acked_at"]:
        return Over("it is over, or somebody has acknowledged it")
    if kind.rule == "row":
        return Over("notices of its kind are only kept")
    if notice["told_at"] is None:
        left = kind.dwell - _age(notice["opened_at"], now)
        return Rest(left, "sent if it lasts") if left > 0 else Tell("raised")
    if kind.escalate_after is None or notice["escalated_at"]:
        return Over("it was sent")
    left = kind.escalate_after - _age(max(notice["opened_at"], notice["told_at"]), now)
    return Rest(left, "sent once more if nobody acknowledges it") if left > 0 else Tell("escalated")


def _age(since: str, now: str) -> float:
    return (parse_stamp(now) - parse_stamp(since)).total_seconds()
