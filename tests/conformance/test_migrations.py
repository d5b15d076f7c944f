"""Migrations: every released schema comes to the present one, in one transaction, after a backup."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from evolving import LATEST, STEPS, Evolving
from holdfast.core import errors, faults
from holdfast.core.store import migrate, schema
from holdfast.core.store.backup import restore_into
from holdfast.core.store.opening import StoreConfig
from holdfast.core.store.pack import CORE
from holdfast.core.store.port import Act
from holdfast.core.store.sql import query
from places import alter, bytes_of, contents, objects, rows

if TYPE_CHECKING:
    from conftest import Place, StoreMaker
    from holdfast.core.pack import Pack

ACT = Act("token:test", "request:test")
ADD = query("add", sqlite="INSERT INTO notes (id, text) VALUES (:id, :text)")
NOTES = "SELECT id, text, colour FROM notes ORDER BY id"


@pytest.fixture
def evolving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Evolving:
    return Evolving(tmp_path, monkeypatch)


async def closed(make_store: StoreMaker, pack: Pack, *, at: Place | None = None) -> Place:
    """A closed store made by that release of the pack."""
    store = await make_store(packs=(CORE, pack), at=at)
    await store.close()
    return at or make_store.place_of(store)


async def first_release(make_store: StoreMaker, evolving: Evolving) -> Place:
    """A closed store of the first release, with a note in it."""
    store = await make_store(packs=(CORE, evolving.at(1)))
    await store.unit(ACT, lambda unit: unit.run(ADD, id="n1", text="keep me"))
    await store.close()
    return make_store.place_of(store)


@pytest.mark.parametrize("release", range(1, LATEST))
@pytest.mark.guards(
    "A migrated store has the schema of a fresh one, and its rows.",
    against="a migration and a schema file that drift apart, so that old stores differ from new ones",
    breaks=("migrations-are-skipped", "migration-forgets-the-triggers"),
)
async def test_a_migrated_store_has_the_schema_of_a_fresh_one(
    make_store: StoreMaker, evolving: Evolving, release: int
) -> None:
    latest = evolving.at(LATEST)
    fresh = await closed(make_store, latest)
    migrated = await closed(make_store, evolving.at(release))
    await closed(make_store, latest, at=migrated)
    assert objects(migrated) == objects(fresh)


async def test_rows_stay_and_their_changes_are_logged_in_the_new_form(
    make_store: StoreMaker, evolving: Evolving
) -> None:
    place = await first_release(make_store, evolving)
    store = await make_store(packs=(CORE, evolving.at(2)), at=place)
    await store.unit(ACT, lambda unit: unit.run(ADD, id="n2", text="new"))
    await store.close()
    assert [(row["id"], row["colour"]) for row in rows(place, NOTES)] == [("n1", "white"), ("n2", None)]
    log = rows(place, "SELECT entity, payload, actor FROM change_log ORDER BY seq")
    assert [row["entity"] for row in log] == ["note", "audit", "note"]
    assert "colour" not in json.loads(log[0]["payload"])
    assert json.loads(log[2]["payload"])["colour"] is None


async def test_a_migration_is_on_record(make_store: StoreMaker, evolving: Evolving) -> None:
    place = await first_release(make_store, evolving)
    await closed(make_store, evolving.at(LATEST), at=place)
    (act,) = rows(place, "SELECT kind, detail FROM audit")
    assert act["kind"] == "store.migrated"
    detail = json.loads(act["detail"])
    assert detail["migrations"] == [f"evolving/{STEPS[2][0]}", f"evolving/{STEPS[3][0]}"]
    assert (place.data / "backups" / detail["backup"]).is_file()


async def test_a_pack_that_is_added_later_brings_its_tables(make_store: StoreMaker, evolving: Evolving) -> None:
    store = await make_store(packs=(CORE,))
    await store.close()
    place = make_store.place_of(store)
    await closed(make_store, evolving.at(LATEST), at=place)
    assert rows(place, NOTES) == []


async def test_a_store_that_is_up_to_date_is_neither_backed_up_nor_migrated(
    make_store: StoreMaker, evolving: Evolving
) -> None:
    place = await first_release(make_store, evolving)
    await closed(make_store, evolving.at(1), at=place)
    assert not (place.data / "backups").exists()
    assert rows(place, "SELECT kind FROM audit") == []


@pytest.mark.guards(
    "Before a migration the store is backed up, and the backup brings it back as it was.",
    against="a migration that goes wrong after it was committed, with nothing to return to",
    breaks=("migration-without-backup",),
)
async def test_the_backup_before_a_migration_brings_the_store_back(make_store: StoreMaker, evolving: Evolving) -> None:
    first = evolving.at(1)
    place = await first_release(make_store, evolving)
    await closed(make_store, evolving.at(2), at=place)
    (backup,) = (place.data / "backups").iterdir()
    assert "before-migration" in backup.name
    back = make_store.place()
    restore_into(backup, StoreConfig(back.data, (CORE, first), url=back.url), make_store.lock(back))
    store = await make_store(packs=(CORE, first), at=back)
    assert store.effects_held
    await store.close()
    assert rows(back, "SELECT id, text FROM notes") == [{"id": "n1", "text": "keep me"}]


@pytest.mark.guards(
    "A migration that fails leaves the store as it was, rows, schema and history.",
    against="a store that is half migrated and opens with neither version",
    breaks=("migration-is-not-one-transaction",),
)
@pytest.mark.parametrize("fault", ["statement", "outcome", "crash"])
async def test_a_migration_that_fails_leaves_the_store_as_it_was(
    make_store: StoreMaker, evolving: Evolving, fault: str
) -> None:
    place = await first_release(make_store, evolving)
    before = (objects(place), rows(place, "SELECT * FROM notes"), rows(place, "SELECT * FROM migrations ORDER BY name"))
    stem, text = STEPS[2]
    steps = {
        "statement": {2: (stem, text + "INSERT INTO nowhere VALUES (1);")},
        "outcome": {2: (stem, text + "CREATE INDEX strange ON notes (text);")},
        "crash": {},
    }[fault]
    pack = evolving.at(2, steps=steps)
    if fault == "crash":
        with (
            faults.armed("migrate.applied", faults.raising(errors.StoreLost("crash"))),
            pytest.raises(errors.StoreLost),
        ):
            await make_store(packs=(CORE, pack), at=place)
    else:
        with pytest.raises(errors.SchemaMismatch, match="nowhere" if fault == "statement" else "strange"):
            await make_store(packs=(CORE, pack), at=place)
    after = (objects(place), rows(place, "SELECT * FROM notes"), rows(place, "SELECT * FROM migrations ORDER BY name"))
    assert after == before
    assert list((place.data / "backups").iterdir()) == []  # a supervisor may try this a thousand times
    await closed(make_store, evolving.at(2), at=place)


async def test_a_store_of_a_later_release_is_refused_by_an_earlier_one(
    make_store: StoreMaker, evolving: Evolving
) -> None:
    place = await first_release(make_store, evolving)
    await closed(make_store, evolving.at(2), at=place)
    before = contents(place)
    with pytest.raises(errors.StoreNewer, match=STEPS[2][0]):
        await make_store(packs=(CORE, evolving.at(1)), at=place)
    assert contents(place) == before


async def test_a_store_that_lost_writes_is_refused_before_it_is_migrated(
    make_store: StoreMaker, evolving: Evolving
) -> None:
    place = await first_release(make_store, evolving)
    head = json.loads((place.data / "head").read_text())
    (place.data / "head").write_text(json.dumps({**head, "seq": head["seq"] + 3}))
    before = contents(place)
    with pytest.raises(errors.StoreBehind, match="3 changes"):
        await make_store(packs=(CORE, evolving.at(2)), at=place)
    assert contents(place) == before


async def test_a_store_that_lacks_what_a_migration_needs_is_refused_untouched(
    make_store: StoreMaker, evolving: Evolving
) -> None:
    place = await first_release(make_store, evolving)
    alter(place, "DROP TABLE notes")
    with pytest.raises(errors.SchemaMismatch, match="notes"):
        await make_store(packs=(CORE, evolving.at(2)), at=place)
    assert ("table", "notes") not in objects(place)
    assert list((place.data / "backups").iterdir()) == []


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_a_migration_that_leaves_dangling_rows_is_taken_back(make_store: StoreMaker, evolving: Evolving) -> None:
    place = await first_release(make_store, evolving)
    stem, text = STEPS[3]
    pack = evolving.at(3, steps={3: (stem, text + "INSERT INTO tags (name, note) VALUES ('t', 'gone');")})
    with pytest.raises(errors.BrokenRule, match="tags -> notes"):
        await make_store(packs=(CORE, pack), at=place)
    assert ("table", "tags") not in objects(place)


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
async def test_two_hosts_that_meet_an_old_database_migrate_it_once(make_store: StoreMaker, evolving: Evolving) -> None:
    one = await first_release(make_store, evolving)
    two = type(one)(make_store.place().data, one.url)
    pack = evolving.at(LATEST)
    await asyncio.gather(make_store(packs=(CORE, pack), at=one), make_store(packs=(CORE, pack), at=two))
    assert [row["kind"] for row in rows(one, "SELECT kind FROM audit")] == ["store.migrated"]


# --- the files -----------------------------------------------------------------------------------------------------


def test_migrations_of_all_packs_run_in_the_order_of_time(evolving: Evolving) -> None:
    known = migrate.known((evolving.at(LATEST), CORE))
    assert [migration.stamp for migration in known] == sorted(migration.stamp for migration in known)
    assert {migration.name.partition("/")[0] for migration in known} == {"core", "evolving"}


def test_a_migration_that_one_engine_lacks_is_refused(evolving: Evolving, tmp_path: Path) -> None:
    pack = evolving.at(1)
    (file,) = (tmp_path / "packages" / pack.package / "migrations").glob("*.postgres.sql")
    file.unlink()
    with pytest.raises(ValueError, match="is there for sqlite only"):
        migrate.known((pack,))


def test_a_file_with_another_form_of_name_is_refused(evolving: Evolving, tmp_path: Path) -> None:
    pack = evolving.at(1)
    (tmp_path / "packages" / pack.package / "migrations" / "0042_late.sqlite.sql").write_text("SELECT 1;")
    with pytest.raises(ValueError, match="0042_late"):
        migrate.known((pack,))


def test_two_branches_that_chose_the_same_second_both_run(evolving: Evolving) -> None:
    steps = {2: ("20260101000000_other", STEPS[2][1])}
    names = [migration.name for migration in migrate.known((evolving.at(2, steps=steps),))]
    assert names == ["evolving/20260101000000_initial", "evolving/20260101000000_other"]


def test_comments_spaces_and_needless_quotes_make_no_difference() -> None:
    plain = schema._written("CREATE TABLE t (a TEXT, CHECK (a <> ' x  -- y'))")
    assert schema._written("CREATE TABLE \"t\" (\n  a TEXT, -- the a\n  CHECK (a<>' x  -- y')\n)") == plain
    assert schema._written("CREATE TABLE t (a TEXT, CHECK (a <> ' x -- y'))") != plain


def test_looking_at_a_store_leaves_no_trace(tmp_path: Path) -> None:
    from contextlib import closing

    import apsw

    from holdfast.core.store.prepare_sqlite import looking

    with closing(apsw.Connection(str(tmp_path / "a.db"))) as connection:
        connection.pragma("journal_mode", "wal")
        connection.execute("CREATE TABLE t (a)")
        copy = tmp_path / "copy"
        copy.mkdir()
        for name in ("a.db", "a.db-wal"):
            (copy / name).write_bytes((tmp_path / name).read_bytes())
    before = bytes_of(copy)
    assert before["a.db-wal"]
    with looking(copy / "a.db") as found:
        assert schema.objects(found)
    assert bytes_of(copy) == before
