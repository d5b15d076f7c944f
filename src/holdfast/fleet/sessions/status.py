"""What a session is shown as: one word out of its facts and pulls, by rules in a fixed order. Pure, never stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, assert_never, get_args

from holdfast.core.instants import parse_stamp
from holdfast.fleet.sessions.facts import Facts

Status = Literal[
    "queued",
    "spawning",
    "working",
    "idle",
    "needs_input",
    "stuck",
    "detecting",
    "no_signal",
    "ci_failed",
    "draft",
    "changes_requested",
    "conflict",
    "review_pending",
    "approved",
    "mergeable",
    "pr_open",
    "merged",
    "killed",
    "exited",
    "errored",
    "done",
]
STATUSES: tuple[Status, ...] = get_args(Status)
#: How a pull request stands; one that was closed without a merge says nothing about its session.
PullState = Literal[
    "ci_failed",
    "conflict",
    "changes_requested",
    "review_pending",
    "draft",
    "pr_open",
    "approved",
    "mergeable",
    "merged",
    "closed",
]
#: Of several pulls the one that needs most is shown, in this order.
PULL_ORDER: tuple[PullState, ...] = get_args(PullState)
#: Which of the two axes has decided: what the agent does, or how its pulls stand.
Axis = Literal["activity", "pull"]
#: Seconds after a launch within which an agent with hooks is to be heard of.
UNHEARD = 90.0


class Pull(Protocol):
    """What the status needs to know of a pull request."""

    @property
    def status(self) -> PullState:
        """How it stands."""
        ...


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that the rules look at."""

    facts: Facts
    pulls: Sequence[Pull]
    queued: bool
    now: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a rule came to: a status when it decides, and in words what it saw."""

    status: Status | None
    saw: str


@dataclass(frozen=True, slots=True)
class Shown:
    """The status, which axis decided, by which rule, and what that rule saw."""

    status: Status
    axis: Axis
    rule: str
    saw: str


def status(facts: Facts, now: str, *, pulls: Sequence[Pull] = (), queued: bool = False) -> Status:
    """The one word."""
    return shown(facts, now, pulls=pulls, queued=queued).status


def shown(facts: Facts, now: str, *, pulls: Sequence[Pull] = (), queued: bool = False) -> Shown:
    """The word, and how it came about: the first rule that decides."""
    case = Case(facts, pulls, queued, now)
    for rule in RULES:
        answer = rule.ask(case)
        if answer.status is not None:
            return Shown(answer.status, rule.axis, rule.name, answer.saw)
    raise AssertionError(facts.state)  # the last rules answer for every state that there is


def age(since: str, now: str) -> float:
    """Seconds from one stamp to another; a clock that was put back makes it negative."""
    return (parse_stamp(now) - parse_stamp(since)).total_seconds()


# --- the rules, in their order -----------------------------------------------------------------------------------


def _all_merged(case: Case) -> bool:
    """Whether all its work has landed: one merged pull of several has ended nothing."""
    states = {pull.status for pull in case.pulls} - {"closed"}
    return states == {"merged"}


def _landed(case: Case) -> Answer:
    ended = case.facts.state in {"done", "terminated"}
    if ended and (case.facts.reason == "pr_merged" or _all_merged(case)):
        return Answer("merged", "it has ended, and its work is merged")
    return Answer(None, "it has ended, not all its work is merged" if ended else "it has not ended")


def _ended(case: Case) -> Answer:
    facts = case.facts
    if facts.state == "done":
        return Answer("done", "its agent said that it is done, and all that it owed is settled")
    if facts.state != "terminated" or facts.reason is None:
        return Answer(None, "it has not ended")
    saw = f"it has ended: {facts.reason.replace('_', ' ')}"
    match facts.reason:
        case "manually_killed" | "auto_cleanup":
            return Answer("killed", saw)
        case "agent_process_exited":
            return Answer("exited", saw)
        case "runtime_lost" | "probe_failure" | "error_in_process":
            return Answer("errored", saw)
        case "pr_merged":
            return Answer("merged", saw)
        case _:
            assert_never(facts.reason)


def _queued(case: Case) -> Answer:
    waits = case.queued and case.facts.state == "not_started" and case.facts.alive_since is None
    return Answer("queued", "it waits for a free place") if waits else Answer(None, "it is not in the queue")


def _doubted(case: Case) -> Answer:
    episode = case.facts.quarantine
    silent = episode is not None and episode.cause == "silence"
    match case.facts.state:
        case "stuck" | "detecting" as state:
            return Answer(
                state, "it says that it works, and nothing moves" if silent else "its witnesses settle nothing"
            )
        case _:
            return Answer(None, "nobody doubts that it is well")


def _asks(case: Case) -> Answer:
    if case.facts.state != "needs_input":
        return Answer(None, "it does not ask for anything")
    said = case.facts.activity
    blocked = said is not None and said.state == "blocked"
    return Answer("needs_input", "it asks for a permission" if blocked else "it asks a question")


def _unheard(case: Case) -> Answer:
    facts = case.facts
    if facts.state != "not_started":
        return Answer(None, "it has been heard of")
    if facts.speaks != "hooks" or facts.alive_since is None or facts.launched_at is None:
        return Answer(None, "it has not started, or has no hooks that could be heard")
    waited = age(facts.launched_at, case.now)
    if waited >= UNHEARD:
        return Answer("no_signal", f"none of its hooks was heard within {UNHEARD:.0f} seconds of its launch")
    return Answer(None, "its launch is younger than what its hooks are given")


def _starts(case: Case) -> Answer:
    starts = case.facts.state == "not_started"
    return Answer("spawning", "it is being started") if starts else Answer(None, "it has started")


def _works(case: Case) -> Answer:
    works = case.facts.state == "working"
    return Answer("working", "its agent works") if works else Answer(None, "its agent does not work")


def _pulled(case: Case) -> Answer:
    states = {pull.status for pull in case.pulls}
    for state in PULL_ORDER:
        if state in states and state != "closed":
            return Answer(state, "the one of its pulls that needs most" if len(case.pulls) > 1 else "its pull")
    return Answer(None, "it has no pull that counts")


def _idles(case: Case) -> Answer:
    return Answer("idle" if case.facts.state == "idle" else None, "its agent waits for a prompt")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its name, what it is about, and how it answers."""

    name: str
    axis: Axis
    doc: str
    ask: Callable[[Case], Answer]


RULES: tuple[Rule, ...] = (
    Rule("landed", "pull", "An ended session whose work is all merged is `merged`, however its agent ended.", _landed),
    Rule("ended", "activity", "An ended session is `done`, `killed`, `exited` or `errored`, by its reason.", _ended),
    Rule("queued", "activity", "One that waits for a free place is `queued`.", _queued),
    Rule("doubted", "activity", "A quarantine is shown before anything that may not be true any more.", _doubted),
    Rule("asks", "activity", "An agent that cannot go on without a person comes before its pulls.", _asks),
    Rule("unheard", "activity", "`no_signal` is not `idle`: nobody knows what it does.", _unheard),
    Rule("starts", "activity", "Until something is heard of it, it is `spawning`.", _starts),
    Rule("works", "activity", "An agent that works may be mending its pull right now.", _works),
    Rule("pulled", "pull", "Of an agent that rests, the pull that needs most is shown.", _pulled),
    Rule("idles", "activity", "Nothing is left but that it waits.", _idles),
)


def reference() -> str:
    """The rules as Markdown, in their order."""
    lines = ["| rule | axis | what it says |", "|---|---|---|"]
    lines += [f"| {rule.name} | {rule.axis} | {rule.doc} |" for rule in RULES]
    return "\n".join(lines) + "\n"
