"""The pack of notices: their table and its watched columns."""

from __future__ import annotations

from holdfast.core.changes.declare import Watched
from holdfast.core.pack import Pack

NOTIFY = Pack(
    name="notify",
    package="holdfast.notify",
    watched=(
        Watched(
            table="notices",
            entity="notice",
            columns=("id", "kind", "subject", "text", "scope", "raised_at", "resolved_at"),
            scope="scope",
        ),
    ),
)
