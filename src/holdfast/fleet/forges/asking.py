"""What people, and agents by their tokens, ask of pulls; each in one unit of work, or refused with what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from holdfast.core import ids
from holdfast.core.errors import Conflict, NotFound
from holdfast.core.propagation import queue
from holdfast.fleet.forges import wishes
from holdfast.fleet.forges.kinds import CHECK, MERGE, PULL, Pulling
from holdfast.fleet.forges.settling import SQL, settle
from holdfast.fleet.pulls import door
from holdfast.fleet.pulls.facts import Comment, Observation, Sight, greenness

if TYPE_CHECKING:
    from holdfast.core.store.port import Row, Unit
    from holdfast.fleet.forges.port import MergeHow
    from holdfast.fleet.pulls.facts import Pull

Verdict = Literal["approve", "request_changes"]
#: The forge whose reviews are kept here and nowhere else.
LOCAL = "local"
_SIGHT = Sight.__struct_fields__


def open_pull(unit: Unit, session: Row) -> int:
    """Look for a pull of this session's branch now; the number of the effect, whose end says what came of it."""
    project = unit.one(SQL.project, id=session["project"])
    if project is None:
        message = f"Session {session['id']} has no project any more. Add it again with `holdfast project add`."
        raise Conflict(message)
    if session["launch"] == 0:
        message = f"Session {session['id']} has not begun: it has no branch yet. See: holdfast show {session['id']}"
        raise Conflict(message)
    asked = Pulling(session["id"], by=unit.act.actor)
    return queue.supersede(unit, PULL, asked, key=session["id"]).id


def want_merge(unit: Unit, pull: Pull, how: MergeHow | None, by: str) -> Pull:
    """Have it merged as soon as its checks are over; refused where something is known to be in the way."""
    _require_open(pull, "merged")
    if pull.fit == "conflict":
        paths = ", ".join(pull.conflicts[:5])
        message = f"Pull {pull.id} conflicts with {pull.base!r} in {paths}. Its agent is told; or tell it yourself: "
        raise Conflict(f"{message}holdfast send {pull.session} TEXT", conflicts=list(pull.conflicts[:100]))
    if pull.review == "changes_requested":
        message = (
            f"Changes are requested of pull {pull.id}. When they are made: holdfast pulls review {pull.id} --approve"
        )
        raise Conflict(message)
    green = greenness(pull)
    if green in {"failed", "errored"}:
        names = ", ".join(sorted(check.name for check in pull.head_checks if check.state == green))
        how_so = "failed" if green == "failed" else "could not be run"
        message = f"Checks of pull {pull.id} {how_so}: {names}. See: holdfast pulls show {pull.id}; once more:"
        raise Conflict(f"{message} holdfast pulls rerun {pull.id}")
    project = unit.one(SQL.project, id=pull.project)
    usual: MergeHow = project["merge_how"] if project is not None else "merge"
    return wishes.merge(unit, pull, how or usual, by)


def comment(
    unit: Unit,
    pull: Pull,
    author: str,
    body: str,
    path: str | None = None,
    line: int | None = None,
    thread: str | None = None,
) -> Comment:
    """Say something to a pull; an answer stands in the thread of what it answers, and opens it again."""
    _require_here(pull)
    if thread is not None and all(each.thread != thread for each in pull.comments):
        raise _no_thread(pull, thread)
    said = _said(unit, pull, author, body, thread=thread, path=path, line=line)
    door.observe(unit, Observation(pull=pull.id, comments=(*pull.comments, said)))
    return said


def review(unit: Unit, pull: Pull, author: str, verdict: Verdict, body: str) -> Comment:
    """Approve it, or ask for changes; an approval takes back what the same person had asked for."""
    _require_here(pull)
    _require_open(pull, "reviewed")
    approves = verdict == "approve"
    said = _said(unit, pull, author, body, kind="approval" if approves else "changes_requested")
    if approves:
        said = msgspec.structs.replace(said, state="resolved")
    kept = tuple(
        msgspec.structs.replace(each, state="resolved")
        if approves and each.author == said.author and each.kind == "changes_requested"
        else each
        for each in pull.comments
    )
    asked = any(each.kind == "changes_requested" and each.state == "open" for each in (*kept, said))
    review_of = "changes_requested" if asked else "approved"
    door.observe(unit, Observation(pull=pull.id, sight=_sight(pull, review=review_of), comments=(*kept, said)))
    settle(unit, pull.session)
    return said


def resolve_thread(unit: Unit, pull: Pull, thread: str) -> None:
    """A conversation is over; whoever asked for changes in it is content."""
    _require_here(pull)
    if all(each.thread != thread for each in pull.comments):
        raise _no_thread(pull, thread)
    kept = tuple(
        msgspec.structs.replace(each, state="resolved") if each.thread == thread else each for each in pull.comments
    )
    sight = None
    if pull.review == "changes_requested" and not any(
        each.kind == "changes_requested" and each.state == "open" for each in kept
    ):
        approved = any(each.kind == "approval" for each in kept)
        sight = _sight(pull, review="approved" if approved else "none")
    door.observe(unit, Observation(pull=pull.id, sight=sight, comments=kept))
    settle(unit, pull.session)


def close(unit: Unit, pull: Pull, by: str) -> None:
    """Close it without a merge; its branch stays as it is, and its checks are ended."""
    _require_here(pull)
    _require_open(pull, "closed")
    queue.cancel(unit, MERGE, pull.id, "its pull was closed")
    door.observe(unit, Observation(pull=pull.id, sight=_sight(pull, state="closed", reason=f"It was closed by {by}.")))
    wishes.check(unit, pull.id, anew=False)
    settle(unit, pull.session)
    unit.announce(wishes.TOPIC)


def rerun(unit: Unit, pull: Pull) -> None:
    """Run all checks of its head once more, also those that are under way."""
    _require_here(pull)
    _require_open(pull, "checked")
    queued = tuple(
        msgspec.structs.replace(
            each,
            state="queued",
            runs=each.runs + 1,
            base_commit=pull.base_commit,
            step="",
            tail="",
            exit_status=None,
            started_at=None,
            finished_at=None,
        )
        for each in pull.head_checks
        if each.state != "skipped"
    )
    door.observe(unit, Observation(pull=pull.id, checks=queued))
    wishes.look(unit, pull.session, pull.id)  # checks may have been added or taken away meanwhile
    wishes.check(unit, pull.id, anew=True)
    queue.resume(unit, CHECK, pull.id)


def _said(unit: Unit, pull: Pull, author: str, body: str, thread: str | None = None, **more: Any) -> Comment:
    name = ids.new_id("com")
    return Comment(external=name, thread=thread or name, author=author, body=body, at=unit.at, commit=pull.head, **more)


def _sight(pull: Pull, **changed: Any) -> Sight:
    return Sight(**({name: getattr(pull, name) for name in _SIGHT} | changed))


def _require_open(pull: Pull, what: str) -> None:
    if pull.state != "open":
        message = f"Pull {pull.id} is {pull.state}: it cannot be {what} any more."
        raise Conflict(message, state=pull.state)


def _require_here(pull: Pull) -> None:
    if pull.forge != LOCAL:
        message = f"Pull {pull.id} is on {pull.forge}: do that there, at {pull.url}. Holdfast sees it soon."
        raise Conflict(message, url=pull.url)


def _no_thread(pull: Pull, thread: str) -> NotFound:
    message = f"Pull {pull.id} has no thread {thread[:80]!r}. `holdfast pulls show {pull.id}` shows them."
    return NotFound(message)
