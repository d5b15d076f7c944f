"""The core's own pack: its tables, their watched columns, and the acts of the daemon itself."""

from __future__ import annotations

from holdfast.core.changes.declare import Watched
from holdfast.core.pack import AuditKind, Pack

CORE = Pack(
    name="core",
    package="holdfast.core.store",
    watched=(
        Watched(
            table="tokens",
            entity="token",
            columns=("id", "name", "scope", "revoked_at"),  # never the hash
            scope_of_all="system",
        ),
        Watched(
            table="audit",
            entity="audit",
            columns=("id", "kind", "subject", "detail"),
            scope_of_all="system",
            json_columns=frozenset({"detail"}),
        ),
    ),
    audit=(
        AuditKind("daemon.started", "The daemon came up on this store."),
        AuditKind("daemon.stopped", "The daemon went down as it was asked to."),
        AuditKind("token.created", "A bearer token was made."),
        AuditKind("token.revoked", "A bearer token was revoked."),
        AuditKind("store.migrated", "The schema was brought up to this version of Holdfast."),
        AuditKind("store.loss_accepted", "A store that lacked acknowledged writes was opened all the same."),
        AuditKind("store.restored", "The store was opened for the first time after it came from a backup."),
    ),
)
