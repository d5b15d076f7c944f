"""The table of the fleet's routes beside those of projects, and the acts that they leave on record."""

from __future__ import annotations

from holdfast.core.pack import AuditKind
from holdfast.fleet.web import holdings, looks, sayings, sessions

ROUTES = (*sessions.ROUTES, *sayings.ROUTES, *looks.ROUTES, *holdings.ROUTES)
ACTS = (
    AuditKind(sessions.SPAWNED, "A session was started, or queued."),
    AuditKind(sessions.KILLED, "The end of a session was asked for."),
    AuditKind(sessions.RESTORED, "An ended session, or all of them, was to go on."),
    AuditKind(sessions.CLEANED, "The work of ended sessions was to be kept and their worktrees removed."),
    AuditKind(sayings.SENT, "Something was said to an agent."),
    AuditKind(holdings.PUT_BACK, "Kept work was put back."),
)
