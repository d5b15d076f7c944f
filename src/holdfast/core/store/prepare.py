"""Decides, before an engine runs, whether a store may be opened and under which name; the same for both engines.

Reads first and judges everything; whoever refuses has written nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast import __version__
from holdfast.core import ids
from holdfast.core.clock import SYSTEM, Clock
from holdfast.core.errors import StoreBehind, StoreCorrupt, StoreForeign
from holdfast.core.pack import Pack
from holdfast.core.store import migrate, schema
from holdfast.core.store.head import DamagedHead, Head, read_head
from holdfast.core.store.migrate import SQL, Migration
from holdfast.core.store.options import StoreOptions
from holdfast.core.store.port import Position
from holdfast.core.store.raw import Raw

#: The SQLite database in the data folder.
DATABASE = "holdfast.db"
#: The folder of the backups in the data folder.
BACKUPS = "backups"
_ACTOR, _CAUSE = "daemon", "opening"


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """What a store is opened with."""

    data: Path
    packs: tuple[Pack, ...]
    #: The database, if it is PostgreSQL; SQLite in the data folder otherwise.
    url: str | None = None
    clock: Clock = SYSTEM
    #: Go on with a store that lacks acknowledged writes, under a new name.
    accept_loss: bool = False
    options: StoreOptions = field(default_factory=StoreOptions)

    @property
    def backups(self) -> Path:
        """Where automatic backups go."""
        return self.data / BACKUPS


@dataclass(frozen=True, slots=True)
class Prepared:
    """A store that may be opened now."""

    head: Head
    effects_held: bool


@dataclass(frozen=True, slots=True)
class Succession:
    """Why a store takes a new name: whoever knew the old one must not trust what they remember of it."""

    kind: str  # of the audit row
    detail: dict[str, Any]
    came_from: str  # the name that cursors and the head file still carry


@dataclass(frozen=True, slots=True)
class Seen:
    """What an existing store is, and what has to be done before it opens."""

    meta: dict[str, str]
    position: Position
    pending: list[Migration]
    succession: Succession | None

    @property
    def ready(self) -> bool:
        """Whether it can be opened as it is."""
        return not self.pending and self.succession is None


class Preparation:
    """The steps of one opening, on whatever connection they are given."""

    def __init__(self, config: StoreConfig, where: str) -> None:
        self.config = config
        self.where = where
        self._migrations = migrate.known(config.packs)

    def inspect(self, raw: Raw) -> Seen:
        """Read everything that could forbid the opening; writes nothing."""
        self._ours(raw)
        if "migrations" not in _relations(raw):
            schema.check(raw, schema.declared(raw, self.config.packs), self.where)
        meta = read_meta(raw) if "store_meta" in _relations(raw) else {}
        pending = migrate.pending(migrate.applied(raw), self._migrations, self.where, _version(meta))
        if not pending:
            schema.check(raw, schema.declared(raw, self.config.packs), self.where)
        if "uuid" not in meta:
            raise StoreCorrupt(f"{self.where} has lost its name (store_meta has no uuid). Restore a backup.")
        position = position_of(raw)
        return Seen(meta, position, pending, self._succession(meta, position, exact=raw.dialect == "sqlite"))

    def refuse_if_lost(self) -> Succession | None:
        """Refuse to make a fresh store where there was one; called when there is none."""
        try:
            head = read_head(self.config.data)
        except DamagedHead as damaged:
            return self._accept(damaged, came_from="")
        if head is None or not head.writes + head.seq:
            return None
        return self._accept(
            StoreBehind(
                f"There is no store in {self.where}, but this data folder had one: {_told(head)}. Put the store back, "
                "restore a backup, choose another data folder, or start empty with `holdfast up --accept-loss`.",
                missing_writes=head.writes,
                missing_changes=head.seq,
            ),
            came_from=head.uuid,
        )

    def create(self, raw: Raw) -> None:
        """Make a fresh store; inside a transaction."""
        at = self.config.clock.stamp()
        raw.script(schema.fresh(self.config.packs, raw.dialect))
        migrate.record(raw, self._migrations, at)
        for name, value in (("uuid", ids.new_store_uuid()), ("created_at", at), ("version", __version__)):
            raw.all(SQL.set_meta, name=name, value=value)

    def migrate(self, raw: Raw, seen: Seen, backup: Path) -> None:
        """Bring an existing store up to date; inside a transaction."""
        at = self.config.clock.stamp()
        migrate.migrate(raw, seen.pending, self.config.packs, self.where, at)
        raw.all(SQL.set_meta, name="version", value=__version__)
        detail = {
            "from": _version(seen.meta),
            "to": __version__,
            "migrations": [migration.name for migration in seen.pending],
            "backup": backup.name,
        }
        self._audit(raw, "store.migrated", detail, at)

    def succeed(self, raw: Raw, succession: Succession) -> None:
        """Give the store a new name and hold its effects; inside a transaction."""
        at = self.config.clock.stamp()
        raw.all(SQL.set_meta, name="uuid", value=ids.new_store_uuid())
        raw.all(SQL.set_meta, name="came_from", value=succession.came_from)
        raw.all(SQL.set_meta, name="effects_held_at", value=at)
        raw.all(SQL.drop_meta, name="backup_of")
        self._audit(raw, succession.kind, succession.detail, at)

    def prepared(self, raw: Raw) -> Prepared:
        """The store as it is now."""
        meta, position = read_meta(raw), position_of(raw)
        head = Head(meta["uuid"], position.writes, position.seq, self.config.clock.stamp())
        return Prepared(head, "effects_held_at" in meta)

    def _ours(self, raw: Raw) -> None:
        found = _relations(raw)
        if not {"store_meta", "migrations"} & set(found):
            holds = f"it holds {', '.join(found[:5])}" if found else "it holds no tables"
            raise StoreForeign(
                f"{self.where} is not a store of Holdfast's: {holds}. Nothing was changed. "
                "Choose another data folder (--data) or database (--database)."
            )

    def _succession(self, meta: dict[str, str], position: Position, *, exact: bool) -> Succession | None:
        if "backup_of" in meta:  # whoever put a backup here knows that it is older
            return Succession("store.restored", {"backup_of": meta["backup_of"]}, meta["backup_of"])
        try:
            head = read_head(self.config.data)
        except DamagedHead as damaged:
            return self._accept(damaged, came_from=meta["uuid"])
        # A new name is committed before the head is rewritten; a crash between the two leaves the former one there.
        if head is None or head.uuid == meta.get("came_from"):
            return None
        if head.uuid != meta["uuid"]:
            return self._accept(self._mixed(meta["uuid"], head), came_from=head.uuid)
        # PostgreSQL's count of writes is the engine's own affair; its change-log numbers are not.
        writes = max(0, head.writes - position.writes) if exact else 0
        changes = max(0, head.seq - position.seq)
        if not writes and not changes:
            return None
        return self._accept(self._behind(head, position, writes, changes), came_from=head.uuid)

    def _accept(self, refusal: StoreBehind, came_from: str) -> Succession:
        if not self.config.accept_loss:
            raise refusal
        return Succession("store.loss_accepted", {"because": refusal.message, **refusal.details}, came_from)

    def _behind(self, head: Head, position: Position, writes: int, changes: int) -> StoreBehind:
        return StoreBehind(
            f"The store in {self.where} has gone back in time: {_told(head)}, but it ends at change {position.seq}; "
            f"{changes} changes and {writes} writes that were acknowledged are missing. The database or its "
            "write-ahead log was cut short or put back to an earlier state. "
            "Put the right files back, or go on without "
            "what is missing with `holdfast up --accept-loss`. Nothing was changed.",
            missing_writes=writes,
            missing_changes=changes,
        )

    def _mixed(self, uuid: str, head: Head) -> StoreBehind:
        return StoreBehind(
            f"The store in {self.where} is {uuid}, but this data folder belongs to another one: {_told(head)}. Put the "
            "right database here, choose another data folder, or go on with this one with `holdfast up --accept-loss`. "
            "Nothing was changed.",
        )

    def _audit(self, raw: Raw, kind: str, detail: dict[str, Any], at: str) -> None:
        raw.all(SQL.enter_unit, actor=_ACTOR, cause=_CAUSE, at=at)
        raw.all(SQL.add_audit, id=ids.new_id("aud"), kind=kind, subject="store", detail=json.dumps(detail), at=at)
        raw.all(SQL.leave_unit)


def read_meta(raw: Raw) -> dict[str, str]:
    """What the store says of itself."""
    return {row["name"]: row["value"] for row in raw.all(SQL.meta)}


def position_of(raw: Raw) -> Position:
    """How far the store has come."""
    (row,) = raw.all(SQL.position)
    return Position(row["writes"], row["seq"])


def _relations(raw: Raw) -> Sequence[str]:
    return [row["name"] for row in raw.all(SQL.relations)]


def _version(meta: dict[str, str]) -> str:
    return meta.get("version", "unknown")


def _told(head: Head) -> str:
    return f"its head file says store {head.uuid}, change {head.seq}, write {head.writes} at {head.at}"
