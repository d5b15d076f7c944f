"""Owns migrations: what each pack brings, what a store has had, and the one transaction between the two."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from holdfast import __version__
from holdfast.core import faults
from holdfast.core.errors import BrokenRule, SchemaMismatch, StoreNewer
from holdfast.core.pack import Pack
from holdfast.core.store import schema
from holdfast.core.store.port import Dialect
from holdfast.core.store.raw import Raw
from holdfast.core.store.sql import load

SQL = load("holdfast.core.store", "prepare.sql")

_FILE = re.compile(r"^(?P<stem>\d{14}_[a-z0-9_]+)\.(?P<dialect>sqlite|postgres)\.sql$")
_APPLIED = faults.point("migrate.applied", "every pending migration has run, nothing is committed yet")


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of a pack's schema, written once for each engine and never changed after its release."""

    name: str  # <pack>/<timestamp>_<what it does>
    sqlite: str
    postgres: str

    @property
    def stamp(self) -> str:
        """When it was written; the order in which migrations run, whichever pack they belong to."""
        return self.name.partition("/")[2]

    @property
    def checksum(self) -> str:
        """The same in both engines, so that a store can move from one to the other."""
        return hashlib.sha256(f"{self.sqlite}\0{self.postgres}".encode()).hexdigest()

    def script(self, dialect: Dialect) -> str:
        """Its statements for this engine."""
        return self.sqlite if dialect == "sqlite" else self.postgres


def known(packs: Iterable[Pack]) -> list[Migration]:
    """Every migration of these packs, in the order in which they run."""
    return sorted((m for pack in packs for m in _of(pack)), key=lambda m: m.stamp)


def _of(pack: Pack) -> list[Migration]:
    folder = resources.files(pack.package).joinpath("migrations")
    texts: dict[str, dict[str, str]] = {}
    for file in folder.iterdir() if folder.is_dir() else ():
        if not file.name.endswith(".sql"):
            continue
        match = _FILE.match(file.name)
        if match is None:
            raise ValueError(f"{pack.package}: {file.name} is not <14 digits>_<words>.<sqlite|postgres>.sql")
        texts.setdefault(match["stem"], {})[match["dialect"]] = file.read_text("utf-8")
    for stem, both in texts.items():
        if len(both) != 2:  # noqa: PLR2004 - there are two dialects
            raise ValueError(f"{pack.package}: migration {stem} is there for {', '.join(both)} only")
    return [Migration(f"{pack.name}/{stem}", both["sqlite"], both["postgres"]) for stem, both in texts.items()]


def applied(raw: Raw) -> dict[str, str]:
    """The migrations that the store has had, with their checksums."""
    return {row["name"]: row["checksum"] for row in raw.all(SQL.applied)}


def pending(had: Mapping[str, str], have: Sequence[Migration], where: str, written_by: str) -> list[Migration]:
    """What is still to run; refuses a store from a newer version, and one whose history is not ours."""
    ours = {migration.name: migration for migration in have}
    unknown = sorted(had.keys() - ours.keys())
    if unknown:
        raise StoreNewer(
            f"{where} was written by a newer version of Holdfast ({written_by}; this is {__version__}): this version "
            f"does not know its migrations {', '.join(unknown)}. Nothing was changed. Install that version, or "
            "restore a backup that was made before the upgrade.",
            unknown=unknown,
        )
    changed = sorted(name for name, checksum in had.items() if ours[name].checksum != checksum)
    if changed:
        raise SchemaMismatch(
            f"{where} was migrated by other statements than this version of Holdfast has under the same name: "
            f"{', '.join(changed)}. Nothing was changed. Install the version that wrote it ({written_by}).",
            changed=changed,
        )
    return [migration for migration in have if migration.name not in had]


def record(raw: Raw, migrations: Iterable[Migration], at: str) -> None:
    """Note that these have run, or that a fresh store needs them no more."""
    for migration in migrations:
        raw.all(SQL.record_migration, name=migration.name, checksum=migration.checksum, at=at)


def migrate(raw: Raw, steps: Sequence[Migration], packs: Sequence[Pack], where: str, at: str) -> None:
    """Run the steps, make the triggers anew and compare the outcome with the declaration; inside one transaction.

    Whoever changes watched columns writes a migration, be it an empty one: only then are triggers made anew.
    """
    for row in raw.all(schema.SQL.drop_generated):
        raw.script(row["statement"])
    for step in steps:
        raw.script(step.script(raw.dialect))
    record(raw, steps, at)
    raw.script(schema.triggers(packs, raw.dialect))
    dangling = raw.all(schema.SQL.dangling)
    if dangling:
        raise BrokenRule(
            f"Migrating {where} would leave rows that point at nothing: "
            + ", ".join(f"{row['name']} -> {row['parent']}" for row in dangling)
            + ". Nothing was changed; this is a fault of the migration."
        )
    _APPLIED()
    schema.check(raw, schema.declared(raw, packs), where)
