"""The pack of notices: their table, its watched columns and their routes."""

from __future__ import annotations

from holdfast.core.changes.declare import Watched
from holdfast.core.pack import Pack
from holdfast.notify.routes import ROUTES

NOTIFY = Pack(
    name="notify",
    package="holdfast.notify",
    routes=ROUTES,
    watched=(
        Watched(
            table="notices",
            entity="notice",
            columns=("id", "kind", "subject", "text", "scope", "raised_at", "resolved_at"),
            scope="scope",
        ),
    ),
)
