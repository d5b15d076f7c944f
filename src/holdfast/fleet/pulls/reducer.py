"""What an observation of a pull changes: the pull as it is known from now on, and what of it is news. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.core.redact import plain, redact
from holdfast.fleet.pulls.facts import (
    BODY_CHARACTERS,
    FINISHED,
    MOST_CHECKS,
    MOST_COMMENTS,
    TAIL_BYTES,
    Check,
    Comment,
    Observation,
    Pull,
    Sight,
)

_SIGHT = Sight.__struct_fields__
#: What was known of a pull that has come to its end does not change any more, but for what people still say.
_OVER = frozenset({"merged", "closed"})


class Reduced(msgspec.Struct, frozen=True):
    """What an observation comes to."""

    pull: Pull
    #: Whether the row itself, and which checks and comments, are to be written.
    scalar: bool = False
    checks: tuple[Check, ...] = ()
    comments: tuple[Comment, ...] = ()
    #: Comments, by the forge's own name, that are not there any more.
    gone: tuple[str, ...] = ()

    @property
    def news(self) -> bool:
        """Whether anything has changed."""
        return bool(self.scalar or self.checks or self.comments or self.gone)


def reduce(pull: Pull, observation: Observation, now: str) -> Reduced:
    """Take an observation into account; the same one again changes nothing."""
    if not observation.fetched:
        return Reduced(pull)
    seen = _seen(pull, observation.sight, now)
    checks, fresh = _checked(pull, observation.checks)
    comments, said, gone = _said(pull, observation.comments)
    after = msgspec.structs.replace(seen, checks=checks, comments=comments)
    return Reduced(after, scalar=seen != pull, checks=fresh, comments=said, gone=gone)


def _seen(pull: Pull, sight: Sight | None, now: str) -> Pull:
    if sight is None or (sight.version and pull.version and sight.version < pull.version):
        return pull
    if pull.state == "merged" and sight.state != "merged":
        return pull  # a merge is for ever, whatever an answer from a cache says
    told: dict[str, Any] = {name: getattr(sight, name) for name in _SIGHT}
    told["title"] = plain(sight.title)[:500]
    if sight.state == "open":
        told |= {"closed_at": None}
    elif sight.state != pull.state:
        told |= {"merged_at": now} if sight.state == "merged" else {"closed_at": now}
    if sight.state != "open":
        told |= {"wanted": None, "wanted_by": None}
    elif sight.fit == "unknown" and (sight.head, sight.base_commit) == (pull.head, pull.base_commit):
        told |= {"fit": pull.fit, "conflicts": pull.conflicts}  # nothing has moved, so what was known still holds
    return msgspec.structs.replace(pull, **told)


def _checked(pull: Pull, seen: tuple[Check, ...] | None) -> tuple[tuple[Check, ...], tuple[Check, ...]]:
    if seen is None:
        return pull.checks, ()
    commits = {check.commit for check in seen}
    known = {(check.name, check.commit): check for check in pull.checks if check.commit in commits}
    clean = {check.step: check.step for check in pull.checks[-MOST_CHECKS:]}
    told: dict[tuple[str, str], Check] = {}
    for check in seen[-MOST_CHECKS:]:
        same = known.get((check.name, check.commit)) == check  # nothing is left to be made plain of what is kept
        kept = check if same else _kept_check(check, clean)
        key = kept.name, kept.commit
        before = told.get(key) or known.get(key)
        if before is None or not (before == kept or _older(kept, before)):
            told[key] = kept
    fresh = {key: check for key, check in told.items() if known.get(key) != check}
    if not fresh:
        return pull.checks, ()
    replaced = fresh.keys() & known.keys()
    there = tuple(
        fresh[check.name, check.commit] if (check.name, check.commit) in replaced else check for check in pull.checks
    )
    return there + tuple(check for key, check in fresh.items() if key not in replaced), tuple(fresh.values())


def _older(check: Check, before: Check) -> bool:
    """Whether this is what was said before the run that is known: an answer that came late."""
    if check.runs != before.runs:
        return check.runs < before.runs
    return before.state in FINISHED and check.state not in FINISHED and check.started_at == before.started_at


def _kept_check(check: Check, clean: dict[str, str]) -> Check:
    """A check as it is kept; `clean` knows steps that were seen before."""
    name, tail = plain(check.name)[:200], check.tail[-TAIL_BYTES:]
    step = clean.get(check.step)
    if step is None:
        step = clean[check.step] = redact(plain(check.step))[:500]
    if (name, step, len(tail)) == (check.name, check.step, len(check.tail)):
        return check
    return msgspec.structs.replace(check, name=name, step=step, tail=tail)


def _said(
    pull: Pull, seen: tuple[Comment, ...] | None
) -> tuple[tuple[Comment, ...], tuple[Comment, ...], tuple[str, ...]]:
    if seen is None:
        return pull.comments, (), ()
    known = {comment.external: comment for comment in pull.comments}
    told = {comment.external: _kept_comment(comment) for comment in seen[-MOST_COMMENTS:]}
    fresh = tuple(comment for name, comment in told.items() if known.get(name) != comment)
    gone = tuple(name for name in known if name not in told)
    return tuple(told.values()), fresh, gone


def _kept_comment(comment: Comment) -> Comment:
    return msgspec.structs.replace(
        comment, body=plain(comment.body)[:BODY_CHARACTERS], author=plain(comment.author)[:100]
    )
