"""The pack of propagations: their tables, their watched columns, and the acts of people on them."""

from __future__ import annotations

from holdfast.core.changes.declare import Watched
from holdfast.core.pack import AuditKind, Pack
from holdfast.core.propagation import upkeep
from holdfast.core.web.propagations import ROUTES

#: What a reader of the change log sees of a row, in the queue and in the ledger alike. Never the payload.
_SHOWN = ("id", "kind", "key", "state", "reason", "error", "attempts", "progress")

PROPAGATION = Pack(
    name="propagation",
    package="holdfast.core.propagation",
    watched=(
        Watched(
            table="propagations",
            entity="propagation",
            columns=(*_SHOWN, "next_attempt_at"),
            # Leasing a row, and letting the lease go on, changes nothing that is owed.
            updates_on=("state", "reason", "error", "attempts", "progress", "next_attempt_at"),
            scope_of_all="system",
            json_columns=frozenset({"progress"}),
            goes_on_in="propagation_ledger",
        ),
        Watched(
            table="propagation_ledger",
            entity="propagation",
            columns=(*_SHOWN, "finished_at"),
            created="propagation_updated",
            scope_of_all="system",
            json_columns=frozenset({"progress"}),
        ),
    ),
    audit=(
        AuditKind("propagation.redriven", "Effects that were dead were started afresh."),
        AuditKind("propagation.cancelled", "An effect that was owed, or dead, was taken back."),
        AuditKind("effects.released", "The effects of a restored store were released."),
    ),
    routes=ROUTES,
    kinds=upkeep.KINDS,
    handlers=upkeep.handlers,
    recurring=upkeep.RECURRING,
)
