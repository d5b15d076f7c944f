"""Opens a store: prepares it synchronously off the event loop, then starts the engine and keeps its head file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.core import faults
from holdfast.core.errors import StoreBehind, StoreRefused
from holdfast.core.store import prepare_sqlite
from holdfast.core.store.files import refusal
from holdfast.core.store.head import read_head, write_head
from holdfast.core.store.kept import Keeping, KeptSqlite
from holdfast.core.store.lock import DataLock
from holdfast.core.store.port import Store
from holdfast.core.store.prepare import DATABASE, Prepared, StoreConfig
from holdfast.core.store.uninterrupted import uninterrupted

if TYPE_CHECKING:
    from holdfast.core.store.kept_postgres import KeptPostgres

__all__ = ["StoreConfig", "open_store"]

_PREPARED = faults.point("opening.prepared", "the store may be opened, no engine runs yet")


async def open_store(config: StoreConfig, lock: DataLock) -> Store:
    """Open the store of the data folder that `lock` holds, made or migrated if need be, or refuse it untouched."""
    if lock.data != config.data:
        raise StoreRefused(f"The lock that is held is of {lock.data}, not of {config.data}.")
    lock.claim()
    keeping: Keeping | None = None
    try:
        # Whoever is cancelled meanwhile waits for its end: as long as it prepares the store, nobody else may.
        prepared = await uninterrupted(lambda: _prepare(config))
        keeping = Keeping(config, prepared.head, lock)
        store = _engine(config, prepared, keeping)
        await store.start()
        return store
    finally:
        if keeping is None or not keeping.begun:
            lock.free()


def _prepare(config: StoreConfig) -> Prepared:
    try:
        prepared = _prepared(config)
        _write_first_head(config, prepared)
    except OSError as error:
        raise refusal(config.data, error) from error
    _PREPARED()
    return prepared


def _prepared(config: StoreConfig) -> Prepared:
    if config.url is None:
        return prepare_sqlite.prepare(config)
    try:
        from holdfast.core.store import prepare_postgres  # noqa: PLC0415 - psycopg is an extra
    except ModuleNotFoundError as error:
        raise StoreRefused(
            "PostgreSQL needs the driver psycopg, which is not installed: pip install 'holdfast[postgres]'."
        ) from error
    return prepare_postgres.prepare(config)


def _write_first_head(config: StoreConfig, prepared: Prepared) -> None:
    """Replace a head that lags behind or carries a former name; a damaged one has been judged by now."""
    head = prepared.head
    try:
        known = read_head(config.data)
    except StoreBehind:
        known = None
    if known is None or (known.uuid, known.writes, known.seq) != (head.uuid, head.writes, head.seq):
        write_head(config.data, head)


def _engine(config: StoreConfig, prepared: Prepared, keeping: Keeping) -> KeptSqlite | KeptPostgres:
    uuid, held, clock, options = prepared.head.uuid, prepared.effects_held, config.clock, config.options
    if config.url is None:
        sqlite = KeptSqlite(config.data / DATABASE, uuid=uuid, effects_held=held, clock=clock, options=options)
        sqlite.keeping = keeping
        return sqlite
    from holdfast.core.store.kept_postgres import KeptPostgres  # noqa: PLC0415 - psycopg is an extra

    postgres = KeptPostgres(config.url, uuid=uuid, effects_held=held, clock=clock, options=options)
    postgres.keeping = keeping
    return postgres
