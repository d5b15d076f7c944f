"""Every schema that was ever released: none is edited, and each comes to the present one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from holdfast.app import packs
from holdfast.core import ids
from holdfast.core.store import migrate, schema
from holdfast.core.store.migrate import SQL
from holdfast.core.store.prepare import DATABASE
from places import objects, raw
from schemas.freeze import DIALECTS, HERE, LIST, digest, present

if TYPE_CHECKING:
    from conftest import Place, StoreMaker

RELEASED: list[dict[str, Any]] = json.loads(LIST.read_text())
AGAIN = "add a migration (an empty one where only watched columns changed); what was released is never edited"


@pytest.mark.parametrize("release", RELEASED, ids=lambda release: release["version"])
@pytest.mark.guards(
    "No released migration or frozen schema is ever edited, and none is left out.",
    against="a migration that was changed after stores had run it, so that they differ from all others",
    breaks=("released-migration-is-edited",),
)
def test_what_was_released_is_never_edited(release: dict[str, Any]) -> None:
    have = {migration.name: migration.checksum for migration in migrate.known(packs())}
    assert {name: have.get(name) for name in release["migrations"]} == release["migrations"], AGAIN
    for dialect in DIALECTS:
        frozen = (HERE / f"{release['version']}.{dialect}.sql").read_text()
        assert digest(frozen) == release["tables"][dialect], "a frozen schema is never edited"


def test_a_changed_schema_or_trigger_comes_with_a_migration() -> None:
    now, last = present(), RELEASED[-1]
    if now["migrations"] == last["migrations"]:
        assert (now["tables"], now["triggers"]) == (last["tables"], last["triggers"]), AGAIN
    newest = max(name.partition("/")[2] for name in last["migrations"])
    fresh = now["migrations"].keys() - last["migrations"].keys()
    assert [name for name in fresh if name.partition("/")[2] <= newest] == [], (
        "a new migration is dated after the released"
    )


def store_of(release: dict[str, Any], place: Place) -> None:
    """A store as that release left it."""
    if place.url is None:
        import apsw

        apsw.Connection(str(place.data / DATABASE)).pragma("journal_mode", "wal")
    have = {migration.name: migration for migration in migrate.known(packs())}
    with raw(place) as connection, connection.transaction():
        connection.script((HERE / f"{release['version']}.{connection.dialect}.sql").read_text())
        migrate.record(connection, [have[name] for name in release["migrations"]], "2026-01-01T00:00:00.000000Z")
        for name, value in (("uuid", ids.new_store_uuid()), ("version", release["version"])):
            connection.all(SQL.set_meta, name=name, value=value)
        if have.keys() == release["migrations"].keys():  # otherwise the next migration makes them anew
            connection.script(schema.triggers(packs(), connection.dialect))


@pytest.mark.parametrize("release", RELEASED, ids=lambda release: release["version"])
async def test_a_store_of_every_release_comes_to_the_present_schema(
    make_store: StoreMaker, release: dict[str, Any]
) -> None:
    old = make_store.place()
    store_of(release, old)
    fresh = await make_store(packs=packs())
    migrated = await make_store(packs=packs(), at=old)
    await fresh.close()
    await migrated.close()
    assert objects(old) == objects(make_store.place_of(fresh))


async def test_running_every_migration_gives_the_schema_of_a_fresh_store(make_store: StoreMaker) -> None:
    fresh = await make_store(packs=packs())
    await fresh.close()
    grown = make_store.place()
    if grown.url is None:
        import apsw

        apsw.Connection(str(grown.data / DATABASE)).pragma("journal_mode", "wal")
    with raw(grown) as connection, connection.transaction():
        for migration in migrate.known(packs()):
            connection.script(migration.script(connection.dialect))
        connection.script(schema.triggers(packs(), connection.dialect))
    assert objects(grown) == objects(make_store.place_of(fresh))
