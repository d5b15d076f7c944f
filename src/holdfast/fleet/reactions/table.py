"""The table of reactions, in the order in which they are told: what each is about, whom it tells, how often. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from holdfast.fleet.reactions import conditions
from holdfast.fleet.reactions.decide import Reaction, beyond, unheard
from holdfast.fleet.reactions.facts import Case, Target, Wanted
from holdfast.fleet.reactions.signature import signed

_BOTH: tuple[Target, ...] = ("agent", "person")
_PEOPLE: tuple[Target, ...] = ("person",)

#: What agents mend.
_TO_AGENTS: tuple[Reaction, ...] = (
    Reaction(
        name="ci-failed",
        doc="Checks of a pull's head failed: the agent gets every failed check with its step and the end of its log.",
        to="agent",
        targets=_BOTH,
        cap=3,
        by="failures of a check",
        condition=conditions.ci_failed,
        text="CI failed on your pull {pull} ({branch}). Find the cause, mend it and commit; the checks run again.",
        beyond="escalated",
    ),
    Reaction(
        name="review-comments",
        doc="Comments and verdicts that ask for changes: the agent gets each with its file, line, author and thread.",
        to="agent",
        targets=_BOTH,
        cap=20,
        by="rounds of a pull",
        condition=conditions.review_comments,
        text="There is review feedback on your pull {pull} ({branch}). Address each point and commit.",
    ),
    Reaction(
        name="merge-conflicts",
        doc="A pull's head cannot be merged into its base: the agent gets the paths that are in the way.",
        to="agent",
        targets=_BOTH,
        cap=5,
        by="conflicts of a pull",
        condition=conditions.merge_conflicts,
        text="Your pull {pull} ({branch}) conflicts with {base}. Bring {base} into your branch, resolve it and commit.",
    ),
)
_OF_WORK: tuple[Reaction, ...] = (
    Reaction(
        name="approved-and-green",
        doc="Nothing is in the way of a merge: open, no draft, approved where that is asked for, checks passed.",
        to="person",
        targets=_BOTH,
        cap=20,
        by="heads of a pull",
        condition=conditions.approved_and_green,
        text="Pull {pull} of {session} can be merged: {title}",
    ),
    Reaction(
        name="agent-stuck",
        doc="Nobody can tell whether an agent lives, or it says that it works and nothing moves; once an episode.",
        to="person",
        targets=_PEOPLE,
        cap=20,
        by="episodes of a session",
        condition=conditions.agent_stuck,
        text="Session {session} needs a look.",
    ),
    Reaction(
        name="agent-needs-input",
        doc="An agent asks a question, or for a permission.",
        to="person",
        targets=_PEOPLE,
        cap=100,
        by="questions of a session",
        condition=conditions.agent_needs_input,
        text="Session {session} cannot go on without you.",
    ),
    Reaction(
        name="agent-exited",
        doc="A session ended by itself: its agent exited, or was lost.",
        to="person",
        targets=_PEOPLE,
        cap=20,
        by="ends of a session",
        condition=conditions.agent_exited,
        text="Session {session} has ended by itself.",
    ),
    Reaction(
        name="pr-closed",
        doc="A pull was closed without a merge.",
        to="person",
        targets=_BOTH,
        cap=10,
        by="closings of a pull",
        condition=conditions.pr_closed,
        text="Pull {pull} of {session} was closed without a merge: {title}",
    ),
    Reaction(
        name="pr-merged",
        doc="A pull was merged.",
        to="person",
        targets=_BOTH,
        cap=1,
        by="merges of a pull",
        condition=conditions.pr_merged,
        text="Pull {pull} of {session} was merged: {title}",
    ),
)
_OF_TELLING: tuple[Reaction, ...] = (
    Reaction(
        name="no-signal",
        doc="None of an agent's hooks was heard of since its launch.",
        to="person",
        targets=_PEOPLE,
        cap=20,
        by="launches of a session",
        condition=conditions.no_signal,
        text="Nothing was heard of the agent of {session} since it was started.",
    ),
    Reaction(
        name="delivery-unknown",
        doc="Whether a message has reached its agent cannot be found out.",
        to="person",
        targets=_PEOPLE,
        cap=100,
        by="messages of a session",
        condition=conditions.delivery_unknown,
        text="Whether a message has reached the agent of {session} is unknown.",
    ),
    Reaction(
        name="dead-letter",
        doc="What was to tell of another reaction has died, and can be redriven.",
        to="person",
        targets=_PEOPLE,
        cap=100,
        by="deaths of a session",
        condition=conditions.dead_letter,
        text="A reaction of {session} could not be told.",
    ),
)


def _escalated(case: Case) -> Iterator[Wanted]:
    """What an agent was told often enough, and what no agent is there to be told of."""
    for reaction in _TO_AGENTS:
        if reaction.beyond == "escalated":
            for (key, _), wanted in beyond(case, reaction):
                yield _told_once(wanted, f"{reaction.name} {key}", f"{reaction.name}: {key} is beyond its cap")
        for wanted, why in unheard(case, reaction):
            key = f"{reaction.name} {wanted.pull} launch {case.facts.launch}"
            yield _told_once(wanted, key, f"{reaction.name}: {why}")


def _budget_spent(case: Case) -> Iterator[Wanted]:
    """What would be told once more, and is beyond its cap."""
    for reaction in (*_TO_AGENTS, *_OF_WORK, ESCALATED, *_OF_TELLING):
        if reaction.beyond == "budget-spent":
            for (key, _), wanted in beyond(case, reaction):
                yield _told_once(wanted, f"{reaction.name} {key}", f"{reaction.name}: {key} is beyond its cap")


def _told_once(wanted: Wanted, key: str, why: str) -> Wanted:
    signature = signed((key,))
    return Wanted(signature=signature, pull=wanted.pull, charged=((key, signature),), why=why)


ESCALATED = Reaction(
    name="escalated",
    doc="A check failed again after its agent was told of as many failures as the cap allows; or no agent is there.",
    to="person",
    targets=_PEOPLE,
    cap=1,
    by="things to escalate",
    condition=_escalated,
    text="Session {session} does not get further by itself.",
)
BUDGET_SPENT = Reaction(
    name="budget-spent",
    doc="Another reaction has been told as often as its cap allows, and is not told any more.",
    to="person",
    targets=_PEOPLE,
    cap=1,
    by="caps",
    condition=_budget_spent,
    text="Holdfast has said enough about {session}; the rest is yours.",
    beyond=None,
)

#: In the order in which they are told.
REACTIONS: tuple[Reaction, ...] = (*_TO_AGENTS, *_OF_WORK, ESCALATED, BUDGET_SPENT, *_OF_TELLING)
BY_NAME: Mapping[str, Reaction] = {reaction.name: reaction for reaction in REACTIONS}
RANK: Mapping[str, int] = {reaction.name: rank for rank, reaction in enumerate(REACTIONS)}


def reference() -> str:
    """The table as Markdown."""
    lines = ["| reaction | to | cap | what it tells |", "|---|---|---|---|"]
    lines += [
        f"| `{reaction.name}` | {reaction.to} | {reaction.cap} {reaction.by} | {reaction.doc} |"
        for reaction in REACTIONS
    ]
    return "\n".join(lines) + "\n"
