"""What reactions say: what it is, which session it is about, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from holdfast.fleet.pulls.facts import Comment, Pull, greenness
from holdfast.fleet.reactions.conditions import asking, content
from holdfast.fleet.reactions.decide import Reaction
from holdfast.fleet.reactions.facts import Case, Wanted
from holdfast.fleet.sessions.decide_quarantine import words

#: So much of the end of each log is told, and of all logs together.
LOG_CHARACTERS = 4_000
LOGS_CHARACTERS = 16_000
#: So much of a comment, and of all of them.
_COMMENT_CHARACTERS = 2_000
_COMMENTS = 50
_PATHS = 30


class Log(msgspec.Struct, frozen=True):
    """A check that failed, with the end of its log."""

    name: str
    step: str
    exit_status: int | None
    tail: str
    #: How long the log is that is kept.
    size: int


class Material(msgspec.Struct, frozen=True):
    """What a text is made of."""

    case: Case
    wanted: Wanted
    logs: Sequence[Log] = ()

    @property
    def pull(self) -> Pull | None:
        """The pull that it is about."""
        return self.case.pull(self.wanted.pull)


def text_of(reaction: Reaction, material: Material) -> str:
    """The whole text: how it begins, as the project says it or as the table does, and what it is about."""
    pull, case = material.pull, material.case
    names = {"session": case.facts.id, "project": case.project}
    if pull is not None:
        names |= {"pull": pull.id, "branch": pull.branch, "base": pull.base, "title": pull.title}
    begin = case.rules.of(reaction.name).text or reaction.text
    for name, value in names.items():
        begin = begin.replace(f"{{{name}}}", value)
    more = MORE[reaction.name](material)
    between = "\n\n" if "\n" in more else " "
    return f"{begin}{between}{more}" if more else begin


# --- to agents -------------------------------------------------------------------------------------------------


def _ci_failed(material: Material) -> str:
    logs = material.logs
    most = min(LOG_CHARACTERS, LOGS_CHARACTERS // max(1, len(logs)))
    pull = material.pull
    head = f" of commit {pull.head[:12]}" if pull is not None else ""
    count = f"{len(logs)} check{'s' if len(logs) != 1 else ''}{head} failed:"
    return "\n\n".join([count, *(_log(log, most) for log in logs)])


def _log(log: Log, most: int) -> str:
    told = ", ".join(
        part for part in (log.step, None if log.exit_status is None else f"exit status {log.exit_status}") if part
    )
    tail = log.tail[-most:].strip("\n")
    left_out = log.size - len(tail)
    begin = f"[{left_out} characters before this are left out]\n" if left_out > 1 else ""
    return f"--- {log.name}{f' ({told})' if told else ''} ---\n{begin}{tail or '(its log is empty)'}"


def _review_comments(material: Material) -> str:
    pull = material.pull
    if pull is None:
        return ""
    about = set(material.wanted.about)
    told = [each for each in asking(material.case, pull) if content(each) in about]
    lines = [_comment(each) for each in told[-_COMMENTS:]]
    if len(told) > _COMMENTS:
        lines.insert(0, f"[{len(told) - _COMMENTS} earlier ones are left out: holdfast pulls show {pull.id}]")
    return "\n\n".join([f"{len(told)} comment{'s' if len(told) != 1 else ''}:", *lines])


def _comment(comment: Comment) -> str:
    place = "" if comment.path is None else comment.path + ("" if comment.line is None else f":{comment.line}")
    verdict = "changes requested" if comment.kind == "changes_requested" else ""
    head = ", ".join(part for part in (place, verdict, f"by {comment.author}", f"thread {comment.thread}") if part)
    body = comment.body.strip()
    if len(body) > _COMMENT_CHARACTERS:
        body = f"{body[:_COMMENT_CHARACTERS]} [...]"
    return f"--- {head} ---\n{body}"


def _merge_conflicts(material: Material) -> str:
    pull = material.pull
    if pull is None or not pull.conflicts:
        return ""
    paths = sorted(pull.conflicts)
    left_out = f"\nand {len(paths) - _PATHS} more" if len(paths) > _PATHS else ""
    return "In the way:\n" + "\n".join(paths[:_PATHS]) + left_out


# --- to people -------------------------------------------------------------------------------------------------


def _approved_and_green(material: Material) -> str:
    pull = material.pull
    if pull is None:
        return ""
    checks = "no checks are configured" if greenness(pull) == "none" else "all its checks passed"
    review = "it is approved" if pull.review == "approved" else "nobody's approval is asked for"
    refused = f" The last merge was refused: {pull.refused}" if pull.refused else ""
    return f"({checks}, {review}).{refused} Merge it with: holdfast pulls merge {pull.id}"


def _agent_stuck(material: Material) -> str:
    facts = material.case.facts
    return "" if facts.episode is None else words(facts, facts.episode)


def _agent_needs_input(material: Material) -> str:
    facts = material.case.facts
    asks = facts.activity is not None and facts.activity.state == "blocked"
    what = "It asks for a permission." if asks else "It asks a question."
    return f"{what} Look with: holdfast attach {facts.id}" + (
        "" if asks else f", or answer with: holdfast send {facts.id} 'your answer'"
    )


def _agent_exited(material: Material) -> str:
    facts = material.case.facts
    status = facts.evidence.get("exit_status")
    how = (facts.reason or facts.state).replace("_", " ") + ("" if status is None else f", exit status {status}")
    error = facts.evidence.get("error")
    said = f" ({error})" if error else ""
    return f"How: {how}{said}. See `holdfast explain {facts.id}`; bring it back with: holdfast restore {facts.id}"


def _pull_over(material: Material) -> str:
    return "" if material.pull is None else f"(holdfast pulls show {material.pull.id})"


def _beyond(material: Material) -> str:
    pull, session = material.wanted.pull, material.case.facts.id
    look = f"holdfast pulls show {pull}" if pull is not None else f"holdfast explain {session}"
    return (
        f"{material.wanted.why[:1].upper()}{material.wanted.why[1:]}. "
        f"Look with `{look}` and `holdfast attach {session}`, or say what to do: holdfast send {session} '...'"
    )


def _no_signal(material: Material) -> str:
    session = material.case.facts.id
    return f"Its hooks may not work, or it waits for something on its screen. Look with: holdfast attach {session}"


def _delivery_unknown(material: Material) -> str:
    case = material.case
    for each in case.unknown:
        if f"message {each.id}" == material.wanted.signature:
            shown = " ".join(each.text[:60].split())
            return (
                f"It is message {each.id} ({shown}): {each.reason}. "
                f"Look at it with `holdfast attach {case.facts.id}`; it is not sent again by itself."
            )
    return ""


def _dead_letter(material: Material) -> str:
    job = material.wanted.signature
    return f"What was to tell of {material.wanted.why} is dead. Start it afresh with: holdfast jobs redrive {job}"


MORE: Mapping[str, Callable[[Material], str]] = {
    "ci-failed": _ci_failed,
    "review-comments": _review_comments,
    "merge-conflicts": _merge_conflicts,
    "approved-and-green": _approved_and_green,
    "agent-stuck": _agent_stuck,
    "agent-needs-input": _agent_needs_input,
    "agent-exited": _agent_exited,
    "pr-closed": _pull_over,
    "pr-merged": _pull_over,
    "escalated": _beyond,
    "budget-spent": _beyond,
    "no-signal": _no_signal,
    "delivery-unknown": _delivery_unknown,
    "dead-letter": _dead_letter,
}


def logs_of(rows: Iterable[Mapping[str, object]]) -> tuple[Log, ...]:
    """The logs in rows."""
    return tuple(msgspec.convert({name: row[name] for name in Log.__struct_fields__}, Log) for row in rows)
