"""Prepares an SQLite store: looks at the file without leaving a trace, and makes or migrates it where that is due."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import apsw

from holdfast.core import faults
from holdfast.core.clock import Clock
from holdfast.core.errors import (
    SchemaMismatch,
    StoreBehind,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreLost,
    StoreReadOnly,
)
from holdfast.core.store import backup
from holdfast.core.store.files import make_private, put_in_place, stamped
from holdfast.core.store.prepare import DATABASE, Preparation, Prepared, Seen, StoreConfig, Succession
from holdfast.core.store.raw import RawSqlite

# A quick look at every page would take seconds in a big store: this much of it costs no start.
_LOOK_SECONDS = 0.005
_LOOK_STEPS = 1_000
_MAGIC = b"SQLite format 3\0"
_BUSY_MILLISECONDS = 2_000

_BUILT = faults.point("prepare.built", "a fresh store is complete under its working name")
_IN_PLACE = faults.point("prepare.in_place", "a fresh store has its name")


def prepare(config: StoreConfig) -> Prepared:
    """Make the store ready for the engine, or refuse it and leave everything as it was."""
    path = config.data / DATABASE
    preparation = Preparation(config, str(path))
    with _explained(path):
        if not path.exists():
            _create(preparation, path)
        else:
            seen, prepared = _examine(preparation, path)
            if seen.ready:
                return prepared
            _bring_up(preparation, path, seen)
        with looking(path) as raw:
            return preparation.prepared(raw)


@contextlib.contextmanager
def looking(path: Path) -> Iterator[RawSqlite]:
    """A connection that leaves no trace on the disk: no file is made, no log folded in.

    Without a write-ahead log the file is read as if on a read-only medium. With one it is recovered: exclusively,
    so that its index is in memory, and without the checkpoint that usually ends the last connection.
    """
    wal = path.with_name(path.name + "-wal")
    if wal.exists() and wal.stat().st_size:
        connection = _recovered(path)
    else:
        address = f"file:{quote(str(path))}?immutable=1"
        connection = apsw.Connection(address, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    try:
        yield RawSqlite(connection)
    finally:
        connection.close()


def _recovered(path: Path) -> apsw.Connection:
    """A connection that sees what the write-ahead log holds."""
    for mode in ("exclusive", "normal"):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.set_busy_timeout(_BUSY_MILLISECONDS if mode == "normal" else 0)
        connection.pragma("locking_mode", mode)
        try:
            connection.pragma("schema_version")
        except apsw.BusyError:
            # Another program is reading: then the index is on the disk already, and can be shared.
            connection.close()
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise StoreBusy(f"Another program has {path} open and locked. Close it and try again.")


def _examine(preparation: Preparation, path: Path) -> tuple[Seen, Prepared]:
    """Judge an existing file; the reasons to refuse it come in the order of what they explain."""
    with path.open("rb") as file:  # before SQLite has it open: closing this later would drop SQLite's own locks
        magic = file.read(len(_MAGIC))
    if magic != _MAGIC:
        raise _corrupt(path, "it is empty" if not magic else "it is not an SQLite database")
    if not os.access(path, os.R_OK | os.W_OK) or not os.access(path.parent, os.W_OK | os.X_OK):
        raise _read_only(path, "this user may not write it")
    with looking(path) as raw:
        _look(raw.connection, path, preparation.config.clock)
        seen = preparation.inspect(raw)
        return seen, preparation.prepared(raw)


def _look(connection: apsw.Connection, path: Path, clock: Clock) -> None:
    """Search for damage, for a moment; what a moment does not reach is found when it is read."""
    until = clock.monotonic() + _LOOK_SECONDS
    connection.set_progress_handler(lambda: clock.monotonic() > until, _LOOK_STEPS)
    try:
        found = connection.pragma("quick_check")
    except apsw.InterruptError:
        return
    finally:
        connection.set_progress_handler(None)
    if found != "ok":
        raise _corrupt(path, str(found))


def _create(preparation: Preparation, path: Path) -> None:
    """Build the store under another name: a file called `holdfast.db` is complete at any instant."""
    succession = _lost(preparation, path)
    new = path.with_name(path.name + ".new")
    make_private(new)  # its log and index are made as readable as it is
    raw = RawSqlite(apsw.Connection(str(new)))
    try:
        raw.connection.pragma("journal_mode", "off")  # nobody sees it before it is synced as a whole
        raw.connection.pragma("synchronous", "off")
        with raw.transaction():
            preparation.create(raw)
            if succession is not None:
                preparation.succeed(raw, succession)
        raw.connection.pragma("journal_mode", "wal")
    finally:
        raw.connection.close()
    _BUILT()
    put_in_place(new, path)
    _IN_PLACE()


def _lost(preparation: Preparation, path: Path) -> Succession | None:
    succession = preparation.refuse_if_lost()
    wal = path.with_name(path.name + "-wal")
    if wal.exists() and wal.stat().st_size:
        # A fresh database would take the log of the lost one for its own.
        if not preparation.config.accept_loss:
            raise StoreBehind(
                f"{path} is not there, but its write-ahead log {wal.name} is. Put the database back beside it, or "
                "start empty with `holdfast up --accept-loss`, which keeps the log under another name. "
                "Nothing was changed."
            )
        wal.rename(wal.with_name(f"{wal.name}.lost-{stamped(preparation.config.clock)}"))
    return succession


def _bring_up(preparation: Preparation, path: Path, seen: Seen) -> None:
    """Back up and migrate, or rename, an existing store, in one transaction."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.set_busy_timeout(_BUSY_MILLISECONDS)
    raw = RawSqlite(connection)
    saved: Path | None = None
    done = False
    try:
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full")
        if seen.pending:
            saved = backup.before_migration(preparation.config, ".db")
            backup.copy_sqlite(raw, saved, preparation.config.clock)
        with raw.transaction():
            if saved is not None:
                preparation.migrate(raw, seen, saved)
            if seen.succession is not None:
                preparation.succeed(raw, seen.succession)
        done = True
    finally:
        connection.close()
        if saved is not None and not done:
            saved.unlink(missing_ok=True)  # else a supervisor that tries again and again fills the disk


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (apsw.NotADBError, apsw.CorruptError) as error:
        raise _corrupt(path, str(error)) from error
    except (apsw.ReadOnlyError, apsw.CantOpenError, PermissionError) as error:
        raise _read_only(path, str(error)) from error
    except apsw.FullError as error:
        raise StoreFull(
            f"The disk of {path} is full: {error}. Nothing was changed. Make room and try again."
        ) from error
    except (apsw.BusyError, apsw.LockedError) as error:
        raise StoreBusy(f"Another program has {path} open and locked. Close it and try again.") from error
    except apsw.SQLError as error:
        raise SchemaMismatch(f"{path} lacks something that every store has: {error}. Nothing was changed.") from error
    except apsw.IOError as error:
        raise StoreLost(
            f"The disk under {path} failed: {error}. Nothing was changed. Look at the system's log."
        ) from error
    except apsw.Error as error:
        raise StoreError(f"{path} could not be opened: {error}. Nothing was changed.") from error


def _corrupt(path: Path, why: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"{path} is damaged: {why}. It was left exactly as it is. Keep a copy, move it away, and restore a backup from "
        f"{path.parent / 'backups'}."
    )


def _read_only(path: Path, why: str) -> StoreReadOnly:
    return StoreReadOnly(
        f"{path} cannot be written ({why}). Nothing was changed. Give this user the right to write the file and its "
        "folder, mount it writable, or choose another folder with --data."
    )
