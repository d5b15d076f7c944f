"""Maps what PostgreSQL and the connection to it say onto the one tree of errors."""

from __future__ import annotations

from typing import Any

import psycopg

from holdfast.core.errors import (
    BrokenRule,
    DuplicateRow,
    MissingReference,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreLost,
    StoreReadOnly,
    UnitTooLong,
)


class Conflicted(StoreBusy):
    """Two units of work crossed: this one has to run again. Never leaves the engine."""


class ConnectionBroke(StoreLost):
    """The connection broke before the commit was sent, so nothing was written. Never leaves the engine."""


class CommitInDoubt(StoreLost):
    """The connection broke while the commit was on its way. Never leaves the engine."""


#: By SQLSTATE, then by its class (the first two letters).
_STATES: dict[str, tuple[type[StoreError], str]] = {
    "23505": (DuplicateRow, "a row with this key is there already"),
    "23503": (MissingReference, "the row points at one that is not there, or others still point at it"),
    "40001": (Conflicted, "the unit of work crossed another one"),
    "40P01": (Conflicted, "the unit of work and another one waited for each other"),
    "55P03": (StoreBusy, "another unit of work held a row for too long; try again"),
    "57014": (UnitTooLong, "the statement ran past its time and was stopped; nothing was written"),
    "25P03": (UnitTooLong, "the unit of work ran past its time and was stopped; nothing was written"),
    "25P04": (UnitTooLong, "the unit of work ran past its time and was stopped; nothing was written"),
    "25006": (StoreReadOnly, "the database takes no writes here: this is a read, or the server is a standby"),
    "53100": (StoreFull, "the database server's disk is full; make room there"),
    "42804": (BrokenRule, "a value is of a type that its column does not take"),
    "P0001": (BrokenRule, "a rule written in a trigger was broken"),
    "23": (BrokenRule, "the row breaks a rule of its table"),
    "22": (BrokenRule, "a value does not fit its column"),
    "53": (StoreBusy, "the database server is out of resources; try again"),
    "57": (StoreLost, "the database server ended the connection or is going down"),
    "58": (StoreLost, "the database server's disk failed; look into its log"),
    "08": (StoreLost, "the connection to the database broke"),
    "XX": (StoreCorrupt, "the database is damaged; nothing was replaced, restore a backup"),
}


def translated(error: Exception, connection: psycopg.Connection[Any] | None) -> StoreError:
    """The error as the rest of the code knows it; its message keeps what the server said."""
    state = getattr(error, "sqlstate", None) or ""
    said = " ".join(str(error).split())
    known = _STATES.get(state) or _STATES.get(state[:2])
    broken = connection is None or connection.closed or connection.broken
    if broken and (known is None or known[0] is not UnitTooLong):
        return ConnectionBroke(f"the connection to the database broke, nothing was written; try again ({said})")
    if known is not None:
        kind, meaning = known
        return kind(f"{meaning} ({said})", sqlstate=state)
    if isinstance(error, psycopg.DataError | UnicodeError):
        return BrokenRule(f"a value does not fit its column ({said})")
    return StoreError(f"the database refused a statement ({said})", sqlstate=state)
