"""The conditions of reactions: from the facts of a session and its pulls to what these call for now. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from holdfast.core.instants import later, seconds
from holdfast.fleet.pulls.facts import FINISHED, Check, Comment, Pull, greenness
from holdfast.fleet.reactions.facts import Case, Charge, Signed, Wanted
from holdfast.fleet.reactions.signature import signed
from holdfast.fleet.sessions.status import UNHEARD

#: Seconds after the first failure after which the agent is told though other checks still run.
PATIENCE = 600.0
#: Reasons with which a session ends that nobody wanted.
_BY_ITSELF = frozenset({"agent_process_exited", "runtime_lost", "probe_failure", "error_in_process"})


def opened(case: Case) -> Iterator[Pull]:
    """The pulls that are open."""
    return (pull for pull in case.pulls if pull.state == "open")


def failed(pull: Pull) -> list[Check]:
    """The checks of the head that failed, by name."""
    return sorted((check for check in pull.head_checks if check.state == "failed"), key=lambda check: check.name)


# --- to the agent ----------------------------------------------------------------------------------------------


def ci_failed(case: Case) -> Sequence[Wanted]:
    """Checks of a head failed: all of them at once, as soon as none of the head is unfinished."""
    return [wanted for pull in opened(case) if (wanted := _ci_of(pull)) is not None]


def _ci_of(pull: Pull) -> Wanted | None:
    found = failed(pull)
    if not found:
        return None
    contents = [(check.name, f"{check.commit}:{_digest(check)}") for check in found]
    charged: tuple[Charge, ...] = tuple((f"{pull.id}/{name}", content) for name, content in contents)
    if not _finished(pull):
        first = min((check.finished_at for check in found if check.finished_at is not None), default=None)
        due = None if first is None else later(first, seconds(PATIENCE))
        # Which of them have failed may change until then; the occasion stays the same.
        if due is None:
            return None
        signature = signed(("unfinished", pull.id, pull.head))
        return Wanted(signature=signature, pull=pull.id, charged=charged, due=due)
    signature = signed((pull.id, *(part for pair in contents for part in pair)))
    return Wanted(signature=signature, pull=pull.id, charged=charged)


def _finished(pull: Pull) -> bool:
    names = {check.name for check in pull.head_checks}
    return not set(pull.expected or ()) - names and all(check.state in FINISHED for check in pull.head_checks)


def _digest(check: Check) -> str:
    return check.digest if isinstance(check, Signed) else signed((check.step, check.tail))


def review_comments(case: Case) -> Sequence[Wanted]:
    """Comments that are open, and verdicts that ask for changes, of which the agent was not told before."""
    return [wanted for pull in opened(case) for wanted in _reviewed(case, pull)]


def _reviewed(case: Case, pull: Pull) -> Iterator[Wanted]:
    asked = {content(comment) for comment in asking(case, pull)}
    told: set[str] = set()
    for nudge in case.nudges:
        about = asked.intersection(nudge.budget.about)
        if nudge.reaction == "review-comments" and nudge.pull == pull.id and nudge.state != "owed" and not nudge.missed:
            told |= about
            if about:
                yield Wanted(signature=nudge.signature, pull=pull.id, about=tuple(sorted(about)))
    fresh = tuple(sorted(asked - told))
    if fresh:
        signature = signed((pull.id, *fresh))
        yield Wanted(signature=signature, pull=pull.id, charged=((pull.id, signature),), about=fresh)


def asking(case: Case, pull: Pull) -> list[Comment]:
    """What people say to a pull that asks its agent for something."""
    own = {case.facts.id, f"session:{case.facts.id}"}
    return [
        comment
        for comment in pull.comments
        if comment.state == "open" and comment.kind != "approval" and comment.author not in own
    ]


def content(comment: Comment) -> str:
    """A comment by what it says: one that was rewritten is another one."""
    return signed((comment.external, comment.body))


def merge_conflicts(case: Case) -> Sequence[Wanted]:
    """A head cannot be merged, and these paths are in the way; a base that goes on moving is nothing new."""
    return [
        _about_pull(pull, "conflict", pull.head, *sorted(pull.conflicts))
        for pull in opened(case)
        if pull.fit == "conflict"
    ]


def _about_pull(pull: Pull, *parts: str) -> Wanted:
    signature = signed((pull.id, *parts))
    return Wanted(signature=signature, pull=pull.id, charged=((pull.id, signature),))


# --- to people: pulls ------------------------------------------------------------------------------------------


def approved_and_green(case: Case) -> Sequence[Wanted]:
    """Nothing is in the way of a merge but that somebody asks for it."""
    return [_about_pull(pull, "green", pull.head) for pull in opened(case) if _mergeable(case, pull)]


def _mergeable(case: Case, pull: Pull) -> bool:
    by_itself = case.rules.merge_by == "policy" and pull.refused is None
    stands = pull.stage == "ready" and pull.review in {"none", "approved"} and pull.fit != "conflict"
    return stands and not by_itself and greenness(pull) in {"passed", "none"}


def pr_closed(case: Case) -> Sequence[Wanted]:
    """A pull was closed without a merge."""
    return [_about_pull(pull, "closed", pull.closed_at or "") for pull in case.pulls if pull.state == "closed"]


def pr_merged(case: Case) -> Sequence[Wanted]:
    """A pull was merged."""
    return [_about_pull(pull, "merged") for pull in case.pulls if pull.state == "merged"]


# --- to people: sessions ---------------------------------------------------------------------------------------


def _about_session(case: Case, signature: str, *, why: str = "", due: str | None = None) -> Wanted:
    return Wanted(signature=signature, charged=((case.facts.id, signature),), why=why, due=due)


def agent_stuck(case: Case) -> Iterable[Wanted]:
    """Nobody can tell whether an agent lives, or it says that it works and nothing moves. An episode tells once."""
    facts = case.facts
    if facts.state != "stuck" or facts.episode is None:
        return ()
    return (_about_session(case, f"episode {facts.episode.number}"),)


def agent_needs_input(case: Case) -> Sequence[Wanted]:
    """An agent cannot go on without a person."""
    facts = case.facts
    if facts.state != "needs_input":
        return ()
    return (_about_session(case, f"launch {facts.launch} since {facts.state_at}"),)


def agent_exited(case: Case) -> Sequence[Wanted]:
    """A session ended by itself. One that ended with its machine or its runtime is told of with all others of that."""
    facts = case.facts
    if facts.state != "terminated" or facts.reason not in _BY_ITSELF or case.awaited or _outage(case):
        return ()
    return (_about_session(case, f"launch {facts.launch} at {facts.state_at}"),)


def _outage(case: Case) -> bool:
    if case.facts.reason != "runtime_lost":
        return False
    runtime = case.facts.witnesses.get("runtime")
    return bool(case.facts.evidence.get("rebooted")) or (runtime is not None and runtime.verdict in {"dead", "missing"})


def no_signal(case: Case) -> Sequence[Wanted]:
    """An agent that speaks by hooks was not heard of since its launch."""
    facts = case.facts
    waits = facts.state == "not_started" and facts.speaks == "hooks" and facts.alive_since is not None
    if not waits or facts.launched_at is None:
        return ()
    due = later(facts.launched_at, seconds(UNHEARD))
    return (_about_session(case, f"launch {facts.launch}", due=due),)


def delivery_unknown(case: Case) -> Sequence[Wanted]:
    """Whether a message has reached the agent cannot be found out."""
    return [_about_session(case, f"message {each.id}", why=each.reason) for each in case.unknown]


def dead_letter(case: Case) -> Sequence[Wanted]:
    """What was to tell of another reaction has died."""
    return [
        _about_session(case, str(each.budget.row), why=each.reaction)
        for each in case.nudges
        if each.state == "dead" and each.reaction != "dead-letter"
    ]
