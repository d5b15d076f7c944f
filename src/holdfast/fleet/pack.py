"""The fleet's pack: its tables, their watched columns, its routes and acts."""

from __future__ import annotations

from holdfast.core.changes.declare import Watched
from holdfast.core.pack import AuditKind, Pack
from holdfast.fleet import projects

FLEET = Pack(
    name="fleet",
    package="holdfast.fleet",
    watched=(
        Watched(
            table="projects",
            entity="project",
            columns=("id", "path", "agent", "forge", "checks", "max_sessions"),
            scope="id",
            json_columns=frozenset({"checks"}),
        ),
    ),
    audit=(
        AuditKind(projects.ADDED, "A repository was registered."),
        AuditKind(projects.CHANGED, "A project's settings were changed."),
        AuditKind(projects.REMOVED, "A project was forgotten; its repository was left as it was."),
    ),
    routes=projects.ROUTES,
)
