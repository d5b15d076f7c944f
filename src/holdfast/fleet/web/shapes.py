"""The shapes of sessions and of what belongs to them, as the API takes and gives them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from holdfast.core.web.shapes import END, LABEL, PLAIN, NumberCursor, PageQuery
from holdfast.core.web.words import spelled
from holdfast.fleet.agents.declare import SignalKind
from holdfast.fleet.projects import Agent, Base, Id, Options
from holdfast.fleet.sessions.facts import Reason, State, Taken
from holdfast.fleet.sessions.status import Axis, Status

_SESSION = spelled(r"^[a-z0-9][a-z0-9-]{0,59}" + END, "the id of a session, such as shop-1")
_NAME = spelled(r"^[A-Za-z0-9_.:/-]{1,100}" + END, "the name of an event, such as Stop")
_NO_NUL = spelled(r"^[^\x00]*" + END, "text without NUL")
#: A place in a timeline: microseconds, the kind of thing, its number. Every one that fits can be read.
_MOMENT = spelled(r"^after-[0-9]{1,17}-[0-9]{1,2}-[0-9]{1,18}" + END, "`next` of the page before, as it is")
_MOST = (1 << 63) - 1

SessionId = Annotated[str, Meta(pattern=_SESSION)]
#: What is said to an agent; the body that carries it has a bound of its own.
Text = Annotated[str, Meta(min_length=1, pattern=_NO_NUL)]


class SessionQuery(PageQuery):
    """Which sessions."""

    project: Annotated[Id, Meta(description="Only those of this project.")] | None = None
    include: Annotated[Literal["usage"], Meta(description="What their processes take, measured now.")] | None = None


class OneQuery(msgspec.Struct, forbid_unknown_fields=True):
    """What of a session is wanted beside what is stored."""

    include: Annotated[Literal["usage"], Meta(description="What its processes take, measured now.")] | None = None


class SessionBody(msgspec.Struct, forbid_unknown_fields=True):
    """A session to start."""

    project: Annotated[Id, Meta(description="The project whose repository it works on.")]
    agent: Agent | None = None
    prompt: Annotated[Text, Meta(description="What the agent is to do.")] | None = None
    title: (
        Annotated[
            str, Meta(min_length=1, max_length=200, pattern=LABEL, description="The prompt's first line without.")
        ]
        | None
    ) = None
    kind: Literal["worker", "orchestrator"] = "worker"
    branch: (
        Annotated[
            str,
            Meta(min_length=1, max_length=200, pattern=PLAIN, description="The branch to make; holdfast/<id> without."),
        ]
        | None
    ) = None
    base: Base | None = None
    options: Options = {}


class ActivityShown(msgspec.Struct):
    """What the agent does, who said so, and when."""

    state: SignalKind
    source: str
    at: str


class Quarantine(msgspec.Struct):
    """A session that nobody can tell much about: how long, how often it was looked at, whether a person was told."""

    attempts: int
    started_at: str
    evidence_hash: str
    escalated_at: str | None


class UsageShown(msgspec.Struct):
    """What the processes of a session take, as far as they live."""

    memory_bytes: int
    cpu_seconds: float
    processes: int


class SessionNamed(msgspec.Struct):
    """Which session it is, and where it works."""

    id: str
    project: str
    agent: str
    kind: str
    title: str
    branch: str
    base: str
    workspace: str | None
    runtime: str
    host: str


class SessionStanding(SessionNamed):
    """How it stands, and how that is known."""

    state: State
    status: Status
    #: Which of its two axes the status tells: what its agent does, or how its pulls stand.
    status_by: Axis
    is_alive: bool
    reason: Reason | None
    evidence: dict[str, Any]
    activity: ActivityShown | None
    quarantine: Quarantine | None
    #: Signals that were refused, and that got lost before anybody could take them.
    rejected: int
    lost: int
    pulls: list[dict[str, Any]]


class Session(SessionStanding):
    """One agent's work in one worktree."""

    launch: int
    agent_session_id: str | None
    #: Its place in the queue from 1, and why it waits there.
    queue_position: int | None
    queue_reason: str | None
    #: What it was asked to come to life by, spawn or restore; null once that has failed, or it has ended.
    wanted: str | None
    #: What is being done to it, if something is: spawn, kill, restore or cleanup.
    saga: str | None
    created_at: str
    state_at: str
    alive_since: str | None
    ended_at: str | None
    #: Only where it was asked for, and where something lives.
    usage: UsageShown | msgspec.UnsetType | None = msgspec.UNSET


class SessionPage(msgspec.Struct):
    """Sessions by id."""

    items: list[Session]
    next: str | None


class Asked(msgspec.Struct):
    """The sessions of which it was asked."""

    sessions: list[str]


# --- what is said ----------------------------------------------------------------------------------------------


class MessageBody(msgspec.Struct, forbid_unknown_fields=True):
    """Something to say to an agent."""

    text: Text


class MessageTaken(msgspec.Struct):
    """It is in the queue of its session."""

    id: int
    state: str


class Message(msgspec.Struct):
    """Something that was said to an agent, and how far it came."""

    id: int
    session: str
    kind: str
    state: str
    state_at: str
    reason: str | None
    launch: int
    created_by: str
    created_at: str
    text: str


class MessageQuery(PageQuery):
    """Which messages."""

    cursor: NumberCursor | None = None


class MessagePage(msgspec.Struct):
    """Messages of one session, in the order in which they are delivered."""

    items: list[Message]
    next: str | None


class SignalBody(msgspec.Struct, forbid_unknown_fields=True):
    """What an agent says of itself: by its kind, or by the name of an event of its hooks."""

    launch: Annotated[int, Meta(ge=0, le=1_000_000_000, description="HOLDFAST_LAUNCH of its environment.")]
    seq: Annotated[int, Meta(ge=0, le=_MOST, description="The boot-time clock in ns when the hook began.")]
    kind: SignalKind | None = None
    event: Annotated[str, Meta(pattern=_NAME, description="The name of an event of this agent's hooks.")] | None = None
    detail: Annotated[dict[str, Any] | str, Meta(description="Words, or the payload of the hook.")] | None = None


class SignalTaken(msgspec.Struct):
    """What became of it: `noted` says nothing of what the agent does, `ahead` is of a launch not known to live yet."""

    taken: Taken | Literal["ahead", "noted"]


# --- how it looks ----------------------------------------------------------------------------------------------


class OutputQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which part of the recorded output."""

    after: (
        Annotated[int, Meta(ge=0, le=_MOST, description="The offset to begin at; the end of the output without.")]
        | None
    ) = None
    bytes: Annotated[int, Meta(ge=1, le=1_048_576, description="The most bytes.")] = 65_536


class Output(msgspec.Struct):
    """A piece of the recorded output: what the agent's terminal was sent, as it was sent."""

    #: Where `data` begins, and where to go on.
    offset: int
    next: int
    #: Bytes between what was asked for and `offset` that are not there (any more).
    missed: int
    data: Annotated[str, Meta(description="The bytes, in base64.")]


class ScreenShown(msgspec.Struct):
    """What the terminal shows now, and where its cursor is, both from 0."""

    lines: list[str]
    row: int
    column: int


class DiffQuery(msgspec.Struct, forbid_unknown_fields=True):
    """How much of the patch."""

    bytes: Annotated[int, Meta(ge=1, le=16_777_216, description="The most bytes of the patch.")] = 1_048_576


class DiffShown(msgspec.Struct):
    """What a session has done against where it began: a patch, or as much of its beginning as was asked for."""

    base: str
    cut: bool
    data: Annotated[str, Meta(description="The bytes of the patch, in base64.")]


class Attach(msgspec.Struct):
    """The command by which a person on that host joins the session's terminal."""

    host: str
    command: list[str]


class RuleAsked(msgspec.Struct):
    """A rule that was asked for the status, in order; the last one has decided."""

    rule: str
    axis: Axis
    status: Status | None
    saw: str


class KnownShown(msgspec.Struct):
    """One thing that is known: from whom, since when, and how many seconds ago that is."""

    what: str
    source: str
    at: str | None
    age: float | None


class Explained(msgspec.Struct):
    """How the status came about; `lines` say the same for people."""

    session: str
    status: Status
    axis: Axis
    asked: list[RuleAsked]
    known: list[KnownShown]
    quarantine: dict[str, Any] | None
    evidence: dict[str, Any]
    lines: list[str]


class TimelineQuery(PageQuery):
    """Which part of what happened."""

    cursor: Annotated[str, Meta(pattern=_MOMENT, description="`next` of the page before.")] | None = None


class Moment(msgspec.Struct):
    """Something that happened to a session, or that it did."""

    at: str
    source: Literal["change", "launch", "step", "episode", "signal", "message", "kept"]
    what: str
    launch: int | None
    actor: str | None
    detail: dict[str, Any]


class Timeline(msgspec.Struct):
    """What happened to a session, newest first."""

    items: list[Moment]
    next: str | None
