"""The fleet's pack: its tables, their watched columns, its routes and acts, its kinds and what runs beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from holdfast.core.changes.declare import Watched
from holdfast.core.pack import AuditKind, Pack
from holdfast.fleet import projects
from holdfast.fleet.forges.kinds import CHECK, MERGE, PULL
from holdfast.fleet.forges.kinds import KINDS as FORGES
from holdfast.fleet.messages.kinds import MESSAGE
from holdfast.fleet.notices import NOTICES
from holdfast.fleet.pulls.watched import WATCHED
from holdfast.fleet.reactions.kinds import KINDS as REACTIONS
from holdfast.fleet.sagas.kinds import CLEANUP, KILL, KINDS, RESTORE, SPAWN
from holdfast.fleet.upkeep import HOURLY, PRUNE, pruner
from holdfast.fleet.web import table

if TYPE_CHECKING:
    from holdfast.core.lifecycle import Service
    from holdfast.core.pack import Means
    from holdfast.core.propagation.kinds import Handler, Kind


def _handlers(means: Means) -> Mapping[Kind[Any], Handler]:
    from holdfast.fleet.agents.registry import agent  # noqa: PLC0415
    from holdfast.fleet.fleet import Fleet  # noqa: PLC0415 - a command that only lists kinds runs no agents
    from holdfast.fleet.forges.desk import Desk  # noqa: PLC0415
    from holdfast.fleet.forges.handlers import Pulls  # noqa: PLC0415
    from holdfast.fleet.messages.delivery import Delivery  # noqa: PLC0415
    from holdfast.fleet.reactions.handling import handlers  # noqa: PLC0415
    from holdfast.fleet.sagas.ending import EndingSagas  # noqa: PLC0415
    from holdfast.fleet.sagas.starting import Starting  # noqa: PLC0415

    fleet = means.one(Fleet)
    starting, ending = Starting(fleet), EndingSagas(fleet)
    pulls = Pulls(means.one(Desk))
    delivery = Delivery(means.store, means.clock, fleet.runtime, agent, fleet.recording)
    return {
        SPAWN: starting.spawn,
        RESTORE: starting.restore,
        KILL: ending.kill,
        CLEANUP: ending.cleanup,
        MESSAGE: delivery,
        PULL: pulls.pull,
        CHECK: pulls.check,
        MERGE: pulls.merge,
        PRUNE: pruner(means.store, means.settings.fleet.keep_signals),
        **handlers(means.store, means.clock),
    }


def _services(means: Means) -> Sequence[Service]:
    from holdfast.fleet.fleet import Fleet  # noqa: PLC0415
    from holdfast.fleet.forges.watching import PullWatch  # noqa: PLC0415
    from holdfast.fleet.watch.service import Watch  # noqa: PLC0415

    return (Watch(means.one(Fleet)), PullWatch(means))


FLEET = Pack(
    name="fleet",
    package="holdfast.fleet",
    watched=(
        Watched(
            table="projects",
            entity="project",
            columns=(
                "id",
                "path",
                "agent",
                "forge",
                "checks",
                "max_sessions",
                "base",
                "setup",
                "copy",
                "link",
                "checks_how",
                "merge_by",
                "merge_how",
                "reactions",
            ),
            scope="id",
            json_columns=frozenset({"checks", "setup", "copy", "link", "reactions"}),
        ),
        Watched(
            table="sessions",
            entity="session",
            columns=(
                "id",
                "project",
                "agent",
                "kind",
                "title",
                "state",
                "reason",
                "evidence",
                "launch",
                "alive_since",
                "activity",
                "activity_source",
                "activity_at",
                "agent_session_id",
                "branch",
                "workspace",
                "wanted",
                "admitted_at",
                "kill_asked_at",
                "saga",
            ),
            updates_on=(
                "title",
                "state",
                "reason",
                "launch",
                "alive_since",
                "activity",
                "agent_session_id",
                "workspace",
                "wanted",
                "admitted_at",
                "kill_asked_at",
                "saga",
            ),
            scope="project",
            json_columns=frozenset({"evidence"}),
        ),
        Watched(
            table="episodes",
            entity="quarantine",
            columns=(
                "id",
                "session",
                "project",
                "launch",
                "cause",
                "started_at",
                "escalated_at",
                "closed_at",
                "outcome",
            ),
            updates_on=("escalated_at", "closed_at"),
            scope="project",
        ),
        Watched(
            table="messages",
            entity="message",
            columns=("id", "session", "project", "kind", "state", "reason", "launch"),
            updates_on=("state", "reason"),
            scope="project",
        ),
        Watched(
            table="kept_work",
            entity="kept_work",
            columns=("ref", "session", "project", "branch", "files", "bytes", "kept_at", "restored_at"),
            scope="project",
            key="ref",
        ),
        *WATCHED,
        Watched(
            table="incidents",
            entity="incident",
            columns=("id", "host", "runtime", "cause", "detail", "sessions", "started_at", "ended_at"),
            scope_of_all="fleet",
        ),
    ),
    audit=(
        AuditKind(projects.ADDED, "A repository was registered."),
        AuditKind(projects.CHANGED, "A project's settings were changed."),
        AuditKind(projects.REMOVED, "A project was forgotten; its repository was left as it was."),
        *table.ACTS,
    ),
    routes=(*projects.ROUTES, *table.ROUTES),
    kinds=(*KINDS, *FORGES, MESSAGE, PRUNE, *REACTIONS.values()),
    recurring=(HOURLY,),
    handlers=_handlers,
    services=_services,
    notices=NOTICES,
)
