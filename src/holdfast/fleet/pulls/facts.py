"""What is known of one pull request, as values: the words, the facts, and what a forge can tell. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

PullPlace = Literal["open", "merged", "closed"]
Stage = Literal["ready", "draft"]
#: `none`: nobody's approval is asked for.
Review = Literal["none", "required", "approved", "changes_requested"]
#: Whether it can be merged into its base.
Fit = Literal["unknown", "clean", "conflict"]
#: `errored` says nothing about the code: what was to run the check could not.
CheckState = Literal["queued", "running", "passed", "failed", "errored", "skipped"]
FINISHED: frozenset[CheckState] = frozenset({"passed", "failed", "errored", "skipped"})
#: A check that is not to be passed, or did.
GOOD: frozenset[CheckState] = frozenset({"passed", "skipped"})
CommentKind = Literal["comment", "approval", "changes_requested"]
CommentState = Literal["open", "resolved"]

#: So much of the end of a check's log is kept with it.
TAIL_BYTES = 65_536
#: So much of a comment is kept.
BODY_CHARACTERS = 65_536
#: More of each are not kept of one observation: the newest are.
MOST_CHECKS = 1_000
MOST_COMMENTS = 5_000


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One check of one commit, as a forge tells it and as it is kept."""

    name: str
    commit: str
    state: CheckState
    #: The base that it was run against, where that makes a difference.
    base_commit: str = ""
    #: How often it has been run on this commit.
    runs: int = 1
    #: What of it failed, in a line: a step, a command.
    step: str = ""
    exit_status: int | None = None
    #: The end of its log.
    tail: str = ""
    url: str | None = None
    started_at: str | None = None
    finished_at: str | None = None


class Comment(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody said to a pull: a remark, maybe on a line, or a review's verdict."""

    #: The forge's own name for it.
    external: str
    #: Comments of one conversation share it.
    thread: str
    author: str
    body: str
    at: str
    kind: CommentKind = "comment"
    path: str | None = None
    line: int | None = None
    commit: str = ""
    state: CommentState = "open"


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a pull is on its forge, and what it is about."""

    branch: str
    base: str
    head: str
    base_commit: str
    title: str
    url: str | None = None
    merge_commit: str | None = None
    #: The forge's own version of all that it tells, where it has one; an older one changes nothing.
    version: str = ""


class Sight(Place, frozen=True, kw_only=True):
    """What a forge tells of the pull itself."""

    state: PullPlace = "open"
    stage: Stage = "ready"
    review: Review = "none"
    fit: Fit = "unknown"
    #: The paths that are in the way of a merge.
    conflicts: tuple[str, ...] = ()
    #: The names of the checks that its head is to pass; none when nobody can tell.
    expected: tuple[str, ...] | None = None
    #: Why it was closed, where it was without a merge.
    reason: str | None = None


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One look at one pull. What was not fetched is None and changes nothing; `fetched` tells of the whole of it."""

    pull: str
    fetched: bool = True
    sight: Sight | None = None
    checks: tuple[Check, ...] | None = None
    #: All comments there are, so that one which is missing was taken back.
    comments: tuple[Comment, ...] | None = None


class Named(Sight, frozen=True, kw_only=True):
    """A pull by its name here, and what has become of it."""

    id: str
    project: str
    number: int
    forge: str
    session: str
    opened_by: str
    opened_at: str
    merged_at: str | None = None
    closed_at: str | None = None


class Pull(Named, frozen=True, kw_only=True):
    """A pull as it is known: what was seen last, with all checks of all its commits and what people said."""

    #: A merge that is wanted (how: `ff`, `merge`, `squash`) and by whom; why the last one was refused.
    wanted: str | None = None
    wanted_by: str | None = None
    refused: str | None = None
    checks: tuple[Check, ...] = ()
    comments: tuple[Comment, ...] = ()

    @property
    def head_checks(self) -> tuple[Check, ...]:
        """The checks of the commit that it stands at."""
        return tuple(check for check in self.checks if check.commit == self.head)


#: Whether the checks of the head are over, and how: `none` are configured; some are still `pending`; `unknown` whether
#: there are any.
Greenness = Literal["passed", "failed", "errored", "pending", "none", "unknown"]


def greenness(pull: Pull) -> Greenness:
    """How the checks of the head stand. Only `passed` and `none` are green."""
    checks = {check.name: check.state for check in pull.head_checks}
    states = set(checks.values())
    if "failed" in states:
        return "failed"
    missing = set(pull.expected or ()) - checks.keys()
    if missing or states - FINISHED:
        return "pending"
    if "errored" in states:
        return "errored"
    if pull.expected is None and not checks:
        return "unknown"
    return "passed" if checks else "none"


def is_green(pull: Pull) -> bool:
    """Whether nothing that was to be checked is open or went wrong."""
    return greenness(pull) in {"passed", "none"}
