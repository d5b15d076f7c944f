"""What SQLite reports, as the errors of our own tree: the same classes as PostgreSQL's reports become."""

from __future__ import annotations

import apsw

from holdfast.core import errors

_DUPLICATE = {
    apsw.SQLITE_CONSTRAINT_UNIQUE,
    apsw.SQLITE_CONSTRAINT_PRIMARYKEY,
    apsw.SQLITE_CONSTRAINT_ROWID,
}
# A reference with ON DELETE RESTRICT is reported as a trigger's refusal; only its text tells which one it was.
_REFERENCE_TEXT = "FOREIGN KEY constraint failed"


def _code(error: BaseException) -> int:
    """SQLite's own fine-grained code, which an error raised by a VFS of a test does not carry."""
    return int(getattr(error, "extendedresult", 0))


def _of_constraint(error: apsw.ConstraintError) -> tuple[type[errors.StoreError], str]:
    broken = _code(error)
    if broken in _DUPLICATE:
        return errors.DuplicateRow, "a row with this key is there already"
    if broken == apsw.SQLITE_CONSTRAINT_FOREIGNKEY or _REFERENCE_TEXT in str(error):
        return errors.MissingReference, "a row points at one that is not there, or others still point at it"
    return errors.BrokenRule, "the row breaks a rule of its table"


_KINDS: tuple[tuple[type[BaseException], type[errors.StoreError], str], ...] = (
    (apsw.FullError, errors.StoreFull, "the disk has no room for this; free some and try again"),
    (apsw.BusyError, errors.StoreBusy, "another program kept the store locked; find it with `fuser`, or try again"),
    (apsw.LockedError, errors.StoreBusy, "the table was locked by a statement in progress; try again"),
    (apsw.InterruptError, errors.UnitTooLong, "it ran past its time and was stopped; make it smaller"),
    (apsw.CorruptError, errors.StoreCorrupt, "the database file is damaged; stop the daemon and restore a backup"),
    (apsw.NotADBError, errors.StoreCorrupt, "the file is not a database; stop the daemon and restore a backup"),
    (apsw.ReadOnlyError, errors.StoreReadOnly, "the database file cannot be written; look at its folder and its disk"),
    (apsw.IOError, errors.StoreLost, "the disk under the store failed; look at the system's log"),
    (apsw.CantOpenError, errors.StoreLost, "the database file cannot be opened; look at its folder and its disk"),
    (apsw.MismatchError, errors.BrokenRule, "a value is of a type that its column does not take"),
    (apsw.TooBigError, errors.BrokenRule, "a value is too big for the store"),
    (OverflowError, errors.BrokenRule, "a number is too big for the store, which takes 64 bits"),
    (UnicodeEncodeError, errors.BrokenRule, "a text holds what is not a character (half of a surrogate pair)"),
    (KeyError, errors.StoreError, "a parameter of the statement was not given"),
    (TypeError, errors.StoreError, "a parameter is of a type that the store does not take"),
)

#: What the statements of a unit raise and `translated` understands.
RAISED = (apsw.Error, OverflowError, UnicodeEncodeError, KeyError, TypeError)


def translated(error: BaseException, what: str) -> errors.StoreError:
    """The typed error for what went wrong with `what` (a statement's name, a commit)."""
    if isinstance(error, apsw.ConstraintError):
        kind, said = _of_constraint(error)
    elif _code(error) == apsw.SQLITE_IOERR_SHMSIZE:
        kind, said = errors.StoreFull, "the disk has no room for the store's index of its log; free some and try again"
    else:
        for raised, kind, said in _KINDS:  # noqa: B007 - both are used after the loop
            if isinstance(error, raised):
                break
        else:
            kind, said = errors.StoreError, "SQLite refused it"
    return kind(f"{what}: {said} ({error})", statement=what)
