"""What the fleet tells people of: every kind of notice, when it is sent, and how often."""

from __future__ import annotations

from holdfast.core.pack import NoticeKind

_MINUTE, _HOUR = 60.0, 3_600.0

#: Only what comes and goes by itself has a cool-down: two notices of one session may tell of different things.
NOTICES: tuple[NoticeKind, ...] = (
    NoticeKind(
        name="ci-failed",
        doc="Checks of a pull have failed, and the project has people told rather than the agent.",
        rule="channels",
    ),
    NoticeKind(
        name="review-comments",
        doc="Somebody has commented on a pull, and the project has people told rather than the agent.",
        rule="channels",
    ),
    NoticeKind(
        name="merge-conflicts",
        doc="A pull does not fit its base any more, and the project has people told rather than the agent.",
        rule="channels",
    ),
    NoticeKind(
        name="approved-and-green",
        doc="A pull is ready to be merged, and waits for a person to do it.",
        rule="channels",
        escalate_after=4 * _HOUR,
    ),
    NoticeKind(
        name="agent-stuck",
        doc="Nobody can tell what an agent does, or it does not get on.",
        rule="channels",
        urgency="high",
        cool_down=10 * _MINUTE,
        escalate_after=30 * _MINUTE,
    ),
    NoticeKind(
        name="agent-needs-input",
        doc="An agent asks something, or wants to be allowed something.",
        rule="channels",
        dwell=10,
        cool_down=_MINUTE,
        escalate_after=15 * _MINUTE,
    ),
    NoticeKind(name="agent-exited", doc="An agent has ended by itself, before its work was done.", rule="channels"),
    NoticeKind(name="pr-closed", doc="A pull was closed without a merge.", rule="channels", urgency="low"),
    NoticeKind(name="pr-merged", doc="A pull was merged.", rule="channels", urgency="low"),
    NoticeKind(
        name="escalated",
        doc="An agent was told as often as is allowed, and what it was told of is still so.",
        rule="channels",
        urgency="high",
        escalate_after=_HOUR,
    ),
    NoticeKind(
        name="budget-spent",
        doc="A reaction has reached its cap, and tells nobody any more.",
        rule="channels",
        escalate_after=_HOUR,
    ),
    NoticeKind(
        name="no-signal",
        doc="An agent was started and has not been heard of since.",
        rule="channels",
        cool_down=10 * _MINUTE,
        escalate_after=30 * _MINUTE,
    ),
    NoticeKind(
        name="delivery-unknown",
        doc="Whether a message has reached its agent cannot be told.",
        rule="channels",
        escalate_after=_HOUR,
    ),
    NoticeKind(
        name="runtime-lost",
        doc="What the agents of a host live in is gone, or the host was started anew; their sessions ended with it.",
        rule="channels",
        urgency="high",
        escalate_after=30 * _MINUTE,
    ),
    NoticeKind(
        name="runtime-unanswering",
        doc="What the agents of a host live in does not answer.",
        rule="channels",
        urgency="high",
        dwell=30,
        cool_down=5 * _MINUTE,
        escalate_after=30 * _MINUTE,
    ),
    NoticeKind(
        name="kill-failed",
        doc="The end of a session was given up; something of it may still run.",
        rule="channels",
        urgency="high",
        escalate_after=_HOUR,
    ),
    NoticeKind(
        name="worktree-stays",
        doc="A worktree could not be removed; its clean-up is owed.",
        rule="channels",
        urgency="low",
    ),
)
