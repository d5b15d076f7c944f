"""The table of the fleet's routes beside those of projects, and the acts that they leave on record."""

from __future__ import annotations

from holdfast.core.pack import AuditKind
from holdfast.fleet.web import holdings, looks, pulls, sayings, sessions

ROUTES = (*sessions.ROUTES, *sayings.ROUTES, *looks.ROUTES, *holdings.ROUTES, *pulls.ROUTES)
ACTS = (
    AuditKind(sessions.SPAWNED, "A session was started, or queued."),
    AuditKind(sessions.KILLED, "The end of a session was asked for."),
    AuditKind(sessions.RESTORED, "An ended session, or all of them, was to go on."),
    AuditKind(sessions.CLEANED, "The work of ended sessions was to be kept and their worktrees removed."),
    AuditKind(sayings.SENT, "Something was said to an agent."),
    AuditKind(holdings.PUT_BACK, "Kept work was put back."),
    AuditKind(pulls.OPENED, "A pull was to be opened."),
    AuditKind(pulls.MERGED, "The merge of a pull was asked for."),
    AuditKind(pulls.CLOSED, "A pull was closed without a merge."),
    AuditKind(pulls.RERUN, "The checks of a pull were to run once more."),
    AuditKind(pulls.COMMENTED, "Something was said to a pull."),
    AuditKind(pulls.REVIEWED, "A pull was approved, or changes were asked for."),
    AuditKind(pulls.RESOLVED, "A conversation on a pull was ended."),
)
