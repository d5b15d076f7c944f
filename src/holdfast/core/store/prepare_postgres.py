"""Prepares a PostgreSQL store: one daemon at a time looks, makes or migrates, in transactions."""

from __future__ import annotations

from pathlib import Path

from holdfast.core import faults
from holdfast.core.errors import StoreReadOnly, StoreRefused
from holdfast.core.store import backup, backup_postgres
from holdfast.core.store.migrate import SQL
from holdfast.core.store.postgres_connect import connected
from holdfast.core.store.prepare import Preparation, Prepared, Seen, StoreConfig
from holdfast.core.store.raw import RawPostgres

# How long to wait for another daemon that is migrating the same database.
_TURN_SECONDS = 60
_TURN = faults.point("prepare.turn", "it is this daemon's turn to prepare the database")


def prepare(config: StoreConfig) -> Prepared:
    """Make the store ready for the engine, or refuse it and leave everything as it was."""
    assert config.url is not None
    with connected(config.url) as raw:
        preparation = Preparation(config, raw.name)
        _check_server(raw)
        raw.all(SQL.wait_at_most, milliseconds=str(_TURN_SECONDS * 1000))
        raw.all(SQL.take_turn)  # until the connection closes
        _TURN()
        if not raw.all(SQL.relations):
            _create(preparation, raw)
        else:
            seen = preparation.inspect(raw)
            if not seen.ready:
                _bring_up(preparation, raw, seen)
        return preparation.prepared(raw)


def _check_server(raw: RawPostgres) -> None:
    (server,) = raw.all(SQL.server)
    if server["schema"] is None:
        raise StoreRefused(f"The {raw.name} has no schema on its search_path. Create one, or name it in the address.")
    if server["encoding"] != "UTF8":
        raise StoreRefused(f"The {raw.name} is encoded as {server['encoding']}. Holdfast needs one made with UTF8.")
    if server["read_only"] == "on":
        raise StoreReadOnly(f"The {raw.name} takes no writes (a standby, or set read-only). Use the primary server.")


def _create(preparation: Preparation, raw: RawPostgres) -> None:
    succession = preparation.refuse_if_lost()
    with raw.transaction():
        preparation.create(raw)
        if succession is not None:
            preparation.succeed(raw, succession)


def _bring_up(preparation: Preparation, raw: RawPostgres, seen: Seen) -> None:
    """Back up and migrate, or rename, an existing store, in one transaction."""
    saved: Path | None = None
    done = False
    try:
        if seen.pending:
            saved = backup.before_migration(preparation.config, ".pg.zip")
            backup_postgres.copy_postgres(raw, saved, preparation.config.clock)
        with raw.transaction():
            if saved is not None:
                preparation.migrate(raw, seen, saved)
            if seen.succession is not None:
                preparation.succeed(raw, seen.succession)
        done = True
    finally:
        if saved is not None and not done:
            saved.unlink(missing_ok=True)  # else a supervisor that tries again and again fills the disk
