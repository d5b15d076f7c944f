"""Backups of a PostgreSQL store: its tables read in one snapshot into one archive, and put back from it."""

from __future__ import annotations

import hashlib
import lzma
import struct
import zipfile
import zlib
from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from typing import IO

import msgspec
import psycopg

from holdfast.core import faults
from holdfast.core.clock import Clock
from holdfast.core.errors import StoreCorrupt, StoreForeign
from holdfast.core.store import migrate, schema
from holdfast.core.store.files import clear, make_private, put_in_place
from holdfast.core.store.postgres_connect import connected
from holdfast.core.store.prepare import StoreConfig, read_meta
from holdfast.core.store.raw import RawPostgres
from holdfast.core.store.sql import load

SQL = load("holdfast.core.store", "backup.sql")

_FORMAT = 1
_MANIFEST = "manifest.json"
_CHUNK = 1 << 20
#: What reading an archive raises when its bytes are not those that were written: a flag that now says "encrypted" is a
#: RuntimeError, a name that is no text a ValueError, another method of compression its decoder's error.
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, RuntimeError, ValueError)
_READ = faults.point("backup.read", "a backup of PostgreSQL has every table, under its working name")


class Table(msgspec.Struct, frozen=True):
    """What the archive holds of one table."""

    rows: int
    sha256: str
    give: str  # the statement that takes it back in


class Manifest(msgspec.Struct, frozen=True):
    """What the archive is, and what it must contain to be whole."""

    format: int
    uuid: str
    version: str
    taken_at: str
    migrations: dict[str, str]
    tables: dict[str, Table]
    sequences: dict[str, int]


def back_up(url: str, target: Path, clock: Clock) -> None:
    """Copy the store, as it is at one instant, into an archive; the store may be in use meanwhile."""
    with connected(url) as raw:
        copy_postgres(raw, target, clock)


def copy_postgres(raw: RawPostgres, target: Path, clock: Clock) -> None:
    """Read every table in one snapshot."""
    new = target.with_name(target.name + ".new")
    make_private(new)
    connection = raw.connection
    isolation, read_only = connection.isolation_level, connection.read_only
    connection.isolation_level, connection.read_only = psycopg.IsolationLevel.REPEATABLE_READ, True
    done = False
    try:
        with raw.transaction(), zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            meta = read_meta(raw)
            manifest = Manifest(
                format=_FORMAT,
                uuid=meta["uuid"],
                version=meta.get("version", ""),
                taken_at=clock.stamp(),
                migrations=migrate.applied(raw),
                tables={row["name"]: _take(raw, archive, **row) for row in raw.all(SQL.copies)},
                sequences={row["name"]: row["last"] for row in raw.all(SQL.sequences)},
            )
            archive.writestr(_MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
        done = True
    finally:
        connection.isolation_level, connection.read_only = isolation, read_only
        if not done:
            clear(new)
    _READ()
    put_in_place(new, target)


def _take(raw: RawPostgres, archive: zipfile.ZipFile, *, name: str, take: str, give: str, **_: str) -> Table:
    digest = hashlib.sha256()
    with (
        archive.open(_entry(name), "w", force_zip64=True) as out,
        raw.connection.cursor() as cursor,
    ):
        with cursor.copy(take.encode()) as copy:
            for block in copy:
                digest.update(block)
                out.write(block)
        return Table(cursor.rowcount, digest.hexdigest(), give)


def restore(backup: Path, config: StoreConfig) -> None:
    """Fill an empty database from an archive, in one transaction: tables as they were, then their rows."""
    assert config.url is not None
    with _opened(backup) as archive, connected(config.url) as raw:
        manifest = _manifest(archive, backup)
        have = migrate.known(config.packs)
        pending = migrate.pending(manifest.migrations, have, str(backup), manifest.version)
        with raw.transaction():
            found = raw.all(migrate.SQL.relations)
            if found:
                raise StoreForeign(
                    f"The database {raw.name} is not empty (it holds {found[0]['name']}); a backup never replaces a "
                    "store. Restore into a fresh database."
                )
            for step in have:
                if step.name in manifest.migrations:
                    raw.script(step.postgres)
            _give(raw, archive, manifest, backup)
            raw.all(migrate.SQL.set_meta, name="backup_of", value=manifest.uuid)
            raw.all(migrate.SQL.set_meta, name="backed_up_at", value=manifest.taken_at)
            if not pending:  # otherwise the migration that is still to come makes them
                raw.script(schema.triggers(config.packs, "postgres"))


def _give(raw: RawPostgres, archive: zipfile.ZipFile, manifest: Manifest, backup: Path) -> None:
    tables = {row["name"]: row["clear"] for row in raw.all(SQL.copies)}
    if tables.keys() != manifest.tables.keys():
        odd = ", ".join(sorted(tables.keys() ^ manifest.tables.keys()))
        raise StoreCorrupt(f"The backup {backup} and its migrations do not agree on: {odd}. Nothing was restored.")
    for statement in tables.values():
        raw.script(statement)
    for name in _parents_first(raw, tables):
        table = manifest.tables[name]
        with archive.open(_entry(name)) as source:
            rows, sha256 = _fill(raw, table.give, source)
        if (rows, sha256) != (table.rows, table.sha256):
            raise StoreCorrupt(
                f"The backup {backup} is damaged: {name} has {rows} of {table.rows} rows, or other ones. Nothing was "
                "restored. Try an older one."
            )
    for name, last in manifest.sequences.items():
        raw.all(SQL.set_sequence, name=name, last=last)


def _fill(raw: RawPostgres, give: str, source: IO[bytes]) -> tuple[int, str]:
    digest = hashlib.sha256()
    with raw.connection.cursor() as cursor:
        with cursor.copy(give.encode()) as copy:
            while block := source.read(_CHUNK):
                digest.update(block)
                copy.write(block)
        return cursor.rowcount, digest.hexdigest()


def _parents_first(raw: RawPostgres, tables: Mapping[str, str]) -> list[str]:
    order: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(tables, ()))
    for row in raw.all(SQL.references):
        order.add(row["child"], row["parent"])
    return list(order.static_order())


def _opened(backup: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(backup)
    except _DAMAGE as error:
        raise StoreCorrupt(f"{backup} is not a backup of a PostgreSQL store, or is damaged: {error}.") from error


def _manifest(archive: zipfile.ZipFile, backup: Path) -> Manifest:
    try:
        manifest = msgspec.json.decode(archive.read(_MANIFEST), type=Manifest)
        broken = archive.testzip()
    except (KeyError, msgspec.MsgspecError, *_DAMAGE) as error:
        raise StoreCorrupt(
            f"The backup {backup} is damaged: {error}. Nothing was restored. Try an older one."
        ) from error
    if broken or manifest.format != _FORMAT:
        why = f"{broken} cannot be read" if broken else f"it is of format {manifest.format}, known is {_FORMAT}"
        raise StoreCorrupt(f"The backup {backup} cannot be used: {why}. Nothing was restored.")
    return manifest


def _entry(table: str) -> str:
    return f"tables/{table}.copy"
