"""The table of transitions: from which state to which, who may do it, and why. Whatever is not in it is a bug. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from holdfast.core.errors import HoldfastError
from holdfast.fleet.sessions.facts import Facts, Reason, State

#: Who moves a session: what its agent says, what a look found, what the decider concludes, and the sagas.
Mover = Literal["signal", "probe", "decider", "spawn", "kill", "restore", "cleanup"]

#: States that only a restore leaves.
TERMINAL: tuple[State, ...] = ("done", "terminated")
#: States in which nobody doubts anything, and to which a quarantine that ends well goes back.
TRUSTED: tuple[State, ...] = ("not_started", "working", "idle", "needs_input")
QUARANTINED: tuple[State, ...] = ("detecting", "stuck")
LIVING: tuple[State, ...] = (*TRUSTED, *QUARANTINED)

Edge = tuple[State, State, Mover, Reason | None]


class TransitionRefused(HoldfastError):
    """A session was to go where the table of transitions does not lead, or without saying why: a bug."""

    code = "transition"


@dataclass(frozen=True, slots=True)
class Transition:
    """One row: from any of these states to that one."""

    froms: tuple[State, ...]
    to: State
    by: Mover
    why: str
    #: With which of these reasons; none but for the end of a session.
    reasons: tuple[Reason, ...] = field(default=())

    def edges(self) -> Iterator[Edge]:
        """Every single step that it allows."""
        for origin in self.froms:
            for reason in self.reasons or (None,):
                yield origin, self.to, self.by, reason


TABLE: tuple[Transition, ...] = (
    Transition(
        ("not_started", "idle", "needs_input", *QUARANTINED), "working", "signal", "Its agent says that it works."
    ),
    Transition(
        ("not_started", "working", "needs_input", *QUARANTINED),
        "idle",
        "signal",
        "Its agent says that it waits for a prompt, is done, or exits (a claim, until a look has proved it).",
    ),
    Transition(
        ("not_started", "working", "idle", *QUARANTINED),
        "needs_input",
        "signal",
        "Its agent asks a question, or for a permission.",
    ),
    Transition(("not_started", "idle"), "working", "probe", "The terminal of an agent that has no hooks shows news."),
    Transition(("not_started", "working"), "idle", "probe", "The terminal of an agent that has no hooks is quiet."),
    *(
        Transition(QUARANTINED, state, "probe", "Its witnesses are well again, or something moves again.")
        for state in TRUSTED
    ),
    Transition(
        LIVING,
        "terminated",
        "probe",
        "A look proved its end: its process is gone, its terminal is, or the machine was started anew.",
        ("agent_process_exited", "runtime_lost"),
    ),
    Transition(
        ("idle", *QUARANTINED),
        "done",
        "probe",
        "Its agent had said that it is done, all that it owed was settled, and its process exited with 0.",
    ),
    Transition(
        TRUSTED,
        "detecting",
        "decider",
        "Its witnesses tell nothing or disagree; or it says that it works and nothing moves.",
    ),
    Transition(("detecting",), "stuck", "decider", "The same evidence three times, or doubt for five minutes."),
    Transition(
        ("stuck",),
        "terminated",
        "decider",
        "No sign of life and no proof of death within half an hour of looking.",
        ("probe_failure",),
    ),
    Transition(
        ("not_started",),
        "terminated",
        "spawn",
        "It never came to life; what was made for it is gone, or its evidence names what stays.",
        ("error_in_process",),
    ),
    Transition(
        LIVING, "terminated", "kill", "Its end was asked for, and nothing of it runs any more.", ("manually_killed",)
    ),
    Transition(
        LIVING,
        "terminated",
        "cleanup",
        "Holdfast ended it by a rule: its work has landed, or nobody wants it any more.",
        ("auto_cleanup", "pr_merged"),
    ),
    Transition(TERMINAL, "not_started", "restore", "A new launch of it has been proved alive."),
)

EDGES: frozenset[Edge] = frozenset(edge for row in TABLE for edge in row.edges())


def move(
    facts: Facts, to: State, by: Mover, now: str, *, reason: Reason | None = None, evidence: Mapping[str, Any]
) -> Facts:
    """Bring a session into a state. Staying where it is changes nothing; what the table lacks is refused."""
    if facts.state == to:
        return facts
    if (facts.state, to, by, reason) not in EDGES:
        said = f" ({reason})" if reason else ""
        raise TransitionRefused(
            f"Session {facts.id} cannot go from {facts.state} to {to}{said} by {by}: the table of transitions has no "
            "such row. This is a bug in Holdfast."
        )
    if not evidence and to in (*TERMINAL, *QUARANTINED):
        raise TransitionRefused(f"Session {facts.id} was to become {to} without evidence. This is a bug in Holdfast.")
    kept = evidence if to in (*TERMINAL, *QUARANTINED) else {}
    alive_since = None if to in TERMINAL else facts.alive_since
    return msgspec.structs.replace(facts, state=to, state_at=now, reason=reason, evidence=kept, alive_since=alive_since)


def reference(rows: Iterable[Transition] = TABLE) -> str:
    """The table as Markdown."""
    lines = ["| from | to | who | reason | why |", "|---|---|---|---|---|"]
    for row in rows:
        froms, reasons = (" ".join(f"`{word}`" for word in words) for words in (row.froms, row.reasons))
        lines.append(f"| {froms} | `{row.to}` | `{row.by}` | {reasons or '-'} | {row.why} |")
    return "\n".join(lines) + "\n"
