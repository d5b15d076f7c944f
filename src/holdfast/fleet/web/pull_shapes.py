"""The shapes of pulls, their checks and what people say of them, as the API takes and gives them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from holdfast.core.web.shapes import END, LABEL, PLAIN, PageQuery
from holdfast.core.web.words import spelled
from holdfast.fleet.forges.port import MergeHow
from holdfast.fleet.projects import Id
from holdfast.fleet.pulls.facts import (
    BODY_CHARACTERS,
    CheckState,
    CommentKind,
    CommentState,
    Fit,
    Greenness,
    PullPlace,
    Review,
    Stage,
)
from holdfast.fleet.sessions.status import PullState
from holdfast.fleet.web.shapes import SessionId

_UNREADABLE = r"\s\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
_READABLE = spelled(rf"^[^\x00]*[^{_UNREADABLE}][^\x00]*" + END, "text with something to read, without NUL")
_NO_NUL = spelled(r"^[^\x00]*" + END, "text without NUL")
Said = Annotated[str, Meta(max_length=BODY_CHARACTERS, pattern=_READABLE)]
Author = Annotated[
    str, Meta(min_length=1, max_length=100, pattern=LABEL, description="Who says it; the token without.")
]


class PullQuery(PageQuery):
    """Which pulls."""

    project: Annotated[Id, Meta(description="Only those of this project.")] | None = None
    session: Annotated[SessionId, Meta(description="Only those of this session.")] | None = None
    state: PullPlace | None = None


class PullNamed(msgspec.Struct):
    """Which pull it is, and where."""

    id: str
    project: str
    number: int
    forge: str
    session: str
    branch: str
    base: str
    title: str
    url: str | None
    head: str
    base_commit: str


class PullStanding(PullNamed):
    """How it stands."""

    state: PullPlace
    stage: Stage
    #: Of all that is true of it, what needs most.
    status: PullState
    #: How the checks of its head stand.
    green: Greenness
    check_states: dict[str, int]
    expected: list[str] | None
    review: Review
    fit: Fit
    conflicts: list[str]
    #: Why it was closed.
    reason: str | None


class PullShown(PullStanding):
    """A pull request, and how it stands."""

    merge_commit: str | None
    opened_by: str
    opened_at: str
    merged_at: str | None
    closed_at: str | None
    #: A merge that is wanted and by whom; why the last one was refused.
    wanted: str | None
    wanted_by: str | None
    refused: str | None


class CheckShown(msgspec.Struct):
    """A check of the head, with the end of its log."""

    name: str
    commit: str
    state: CheckState
    base_commit: str
    runs: int
    step: str
    exit_status: int | None
    tail: str
    url: str | None
    started_at: str | None
    finished_at: str | None


class CommentShown(msgspec.Struct):
    """What somebody said."""

    external: str
    thread: str
    author: str
    body: str
    at: str
    kind: CommentKind
    path: str | None
    line: int | None
    commit: str
    state: CommentState


class NudgeShown(msgspec.Struct):
    """What the pull made a reaction owe, and what became of it."""

    id: int
    reaction: str
    state: str
    reason: str | None
    message: int | None
    message_state: str | None
    owed_at: str
    settled_at: str | None


class PullWhole(PullShown):
    """All of it."""

    checks: list[CheckShown]
    comments: list[CommentShown]
    nudges: list[NudgeShown]


class PullPage(msgspec.Struct):
    """Pulls by id."""

    items: list[PullShown]
    next: str | None


class Opening(msgspec.Struct):
    """A branch that is looked at for a pull."""

    session: str
    branch: str


class MergeBody(msgspec.Struct, forbid_unknown_fields=True):
    """How to merge; as the project says without it."""

    how: MergeHow | None = None


class CommentBody(msgspec.Struct, forbid_unknown_fields=True):
    """What to say, and to which line."""

    text: Said
    path: Annotated[str, Meta(min_length=1, max_length=1_000, pattern=PLAIN)] | None = None
    line: Annotated[int, Meta(ge=1, le=100_000_000)] | None = None
    thread: Annotated[str, Meta(min_length=1, max_length=100, pattern=PLAIN)] | None = None
    author: Author | None = None


class ReviewBody(msgspec.Struct, forbid_unknown_fields=True):
    """A verdict, and why."""

    verdict: Literal["approve", "request_changes"]
    text: Annotated[str, Meta(max_length=BODY_CHARACTERS, pattern=_NO_NUL)] = ""
    author: Author | None = None


class ResolveBody(msgspec.Struct, forbid_unknown_fields=True):
    """Which conversation."""

    thread: Annotated[str, Meta(min_length=1, max_length=100, pattern=PLAIN)]
