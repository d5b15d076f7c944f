"""Owns backups: a consistent copy of a store taken while it runs, and making a store of such a copy.

A backup of SQLite is one database file; one of PostgreSQL is a zip archive of its tables, read in one snapshot.
A store made of a backup takes a new name and holds its effects when it is first opened.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from urllib.parse import quote

import apsw

from holdfast.core import faults
from holdfast.core.clock import SYSTEM, Clock
from holdfast.core.errors import StoreCorrupt, StoreRefused
from holdfast.core.store.files import clear, make_private, put_in_place, stamped
from holdfast.core.store.lock import DataLock
from holdfast.core.store.migrate import SQL
from holdfast.core.store.prepare import DATABASE, StoreConfig, read_meta
from holdfast.core.store.raw import RawSqlite

_TAKEN = faults.point("backup.taken", "a backup is complete under its working name")


def before_migration(config: StoreConfig, suffix: str) -> Path:
    """The name of the backup that precedes a migration; its folder is there."""
    config.backups.mkdir(mode=0o700, exist_ok=True)
    return config.backups / f"{stamped(config.clock)}-before-migration{suffix}"


def back_up(data: Path, target: Path, *, url: str | None = None, clock: Clock = SYSTEM) -> None:
    """Copy the store, as it is at one instant, into the file `target`; the store may be in use meanwhile."""
    if url is not None:
        from holdfast.core.store import backup_postgres  # noqa: PLC0415 - psycopg is an extra

        backup_postgres.back_up(url, target, clock)
        return
    connection = apsw.Connection(str(data / DATABASE), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        copy_sqlite(RawSqlite(connection), target, clock)
    finally:
        connection.close()


def restore_into(backup: Path, config: StoreConfig, lock: DataLock) -> None:
    """Put a backup where there is no store (any more); what opens it next gives it a new name and holds its effects."""
    lock.claim()
    try:
        if not backup.is_file():
            raise StoreRefused(
                f"There is no backup {backup}. Nothing was restored. Name a file that is there; the backups that were "
                f"taken before a migration are in {config.backups}."
            )
        if config.url is None:
            _restore_sqlite(backup, config.data)
        else:
            from holdfast.core.store import backup_postgres  # noqa: PLC0415 - psycopg is an extra

            backup_postgres.restore(backup, config)
    finally:
        lock.free()


def copy_sqlite(source: RawSqlite, target: Path, clock: Clock) -> None:
    """Copy page by page what `source` sees; the copy is one file that says whose it is."""
    new = target.with_name(target.name + ".new")
    make_private(new)
    done = False
    copy = RawSqlite(apsw.Connection(str(new)))
    try:
        copy.connection.pragma("synchronous", "off")  # synced as a whole below
        with copy.connection.backup("main", source.connection, "main") as running:
            running.step(-1)
        copy.connection.pragma("journal_mode", "delete")
        meta = read_meta(copy)
        with copy.transaction():
            copy.all(SQL.set_meta, name="backup_of", value=meta["uuid"])
            copy.all(SQL.set_meta, name="backed_up_at", value=clock.stamp())
        done = True
    finally:
        copy.connection.close()
        if not done:
            clear(new)
    _TAKEN()
    put_in_place(new, target)


def _restore_sqlite(backup: Path, data: Path) -> None:
    path = data / DATABASE
    there = [name for name in (DATABASE, f"{DATABASE}-wal") if (data / name).exists()]
    if there:
        raise StoreRefused(
            f"{data} already holds {' and '.join(there)}; a backup never replaces a store. Move them away first "
            "(together: the one belongs to the other), or restore into another folder with --data."
        )
    _check(backup)
    new = path.with_name(path.name + ".new")
    make_private(new)
    shutil.copyfile(backup, new)
    put_in_place(new, path)


def _check(backup: Path) -> None:
    """Refuse a file that is no backup, or a damaged one."""
    address = f"file:{quote(str(backup))}?immutable=1"
    try:
        raw = RawSqlite(apsw.Connection(address, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI))
        with contextlib.closing(raw.connection):
            found = raw.connection.pragma("integrity_check")
            meta = read_meta(raw) if found == "ok" else {}
    except apsw.Error as error:
        found, meta = str(error), {}
    if found != "ok":
        raise StoreCorrupt(f"The backup {backup} is damaged: {found}. Nothing was restored. Try an older one.")
    if "backup_of" not in meta:
        raise StoreRefused(
            f"{backup} is not a backup but a store itself, or a plain copy of one, which may lack what was in its "
            "write-ahead log. Nothing was restored. Name a backup, such as one that was taken before a migration (they "
            "are in the folder `backups` beside the store). To go on with the store itself, start the daemon where it "
            "and its log are: holdfast up --data DIR"
        )
