"""Backups: a consistent copy of a store in use, and the store that is made of it."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import zipfile
from typing import TYPE_CHECKING

import msgspec
import pytest

from holdfast.core import errors
from holdfast.core.store.backup import back_up, restore_into
from holdfast.core.store.opening import StoreConfig
from holdfast.core.store.pack import CORE
from holdfast.core.store.prepare import DATABASE
from places import bytes_of, contents, rows
from testpack import ACT

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Place, StoreMaker
    from holdfast.core.store.port import Store


def config(place: Place) -> StoreConfig:
    return StoreConfig(place.data, (CORE,), url=place.url)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "safe"
    folder.mkdir()
    return folder / "backup"


@pytest.fixture
async def core_store(make_store: StoreMaker) -> Store:
    """A store with the core's own tables only, which have migrations from which they can be made again."""
    return await make_store(packs=(CORE,))


TOKEN = "INSERT INTO tokens (id, name, hash, scope, created_at) VALUES (:id, :name, :id, 'read', 'now')"


async def tokens(store: Store, *names: str) -> None:
    from holdfast.core.store.sql import query

    await store.unit(
        ACT, lambda unit: [unit.run(query("t", sqlite=TOKEN), id=name, name="a\tb\\c\nd") for name in names]
    )


@pytest.mark.guards(
    "A restored store has the rows of the backup, a new name, and holds its effects.",
    against="a drill or a second copy that acts on the world as if it were the original",
    breaks=("restored-store-is-the-original",),
)
async def test_a_restored_store_has_the_rows_a_new_name_and_holds_effects(
    make_store: StoreMaker, core_store: Store, target: Path
) -> None:
    await tokens(core_store, "one", "two")
    place = make_store.place_of(core_store)
    await asyncio.to_thread(back_up, place.data, target, url=place.url)
    await tokens(core_store, "three")
    await core_store.close()

    back = make_store.place()
    restore_into(target, config(back), make_store.lock(back))
    store = await make_store(packs=(CORE,), at=back)
    assert store.uuid != core_store.uuid
    assert store.effects_held
    await tokens(store, "four")
    await store.close()
    query = "SELECT {} FROM {} ORDER BY 1"
    assert [row["id"] for row in rows(back, query.format("id, name", "tokens"))] == ["four", "one", "two"]
    assert rows(back, query.format("name", "tokens"))[0]["name"] == "a\tb\\c\nd"
    assert [row["kind"] for row in rows(back, query.format("kind", "audit"))] == ["store.restored"]
    log = rows(back, query.format("seq, entity", "change_log"))
    assert [row["entity"] for row in log] == ["token", "token", "audit", "token"]
    assert [row["seq"] for row in log] == sorted({row["seq"] for row in log})

    again = await make_store(packs=(CORE,), at=back)
    assert (again.uuid, again.effects_held) == (store.uuid, True)


async def test_a_backup_is_one_instant_of_a_store_that_is_written_to(
    make_store: StoreMaker, core_store: Store, target: Path
) -> None:
    place = make_store.place_of(core_store)
    going = asyncio.Event()

    async def write() -> int:
        count = 0
        while not going.is_set():
            await tokens(core_store, f"{count}-a", f"{count}-b")  # two rows in each unit
            count += 1
        return count

    writing = asyncio.create_task(write())
    for number in range(3):
        await asyncio.to_thread(back_up, place.data, target.with_suffix(f".{number}"), url=place.url)
    going.set()
    assert await writing > 0
    for number in range(3):
        back = make_store.place()
        restore_into(target.with_suffix(f".{number}"), config(back), make_store.lock(back))
        await (await make_store(packs=(CORE,), at=back)).close()
        found = rows(back, "SELECT id FROM tokens")
        logged = rows(back, "SELECT entity_id FROM change_log WHERE entity = 'token'")
        assert len(found) % 2 == 0
        assert {row["id"] for row in found} == {row["entity_id"] for row in logged}


@pytest.mark.guards(
    "A backup never replaces a store that is there.",
    against="a restore into the wrong folder that destroys what it should have saved",
    breaks=("restore-replaces-a-store",),
)
async def test_a_backup_never_replaces_a_store(make_store: StoreMaker, core_store: Store, target: Path) -> None:
    place = make_store.place_of(core_store)
    back_up(place.data, target, url=place.url)
    await core_store.close()
    before = contents(place)
    with pytest.raises((errors.StoreRefused, errors.StoreForeign), match="never replaces a store"):
        restore_into(target, config(place), make_store.lock(place))
    assert contents(place) == before


async def test_nothing_is_restored_under_an_open_store(make_store: StoreMaker, core_store: Store, target: Path) -> None:
    place = make_store.place_of(core_store)
    back_up(place.data, target, url=place.url)
    with pytest.raises(errors.DataInUse):
        restore_into(target, config(place), make_store.lock(place))


@pytest.mark.parametrize("damage", ["cut", "text", "missing"])
async def test_a_damaged_backup_is_refused_and_nothing_is_made_of_it(
    make_store: StoreMaker, core_store: Store, target: Path, damage: str
) -> None:
    place = make_store.place_of(core_store)
    await tokens(core_store, *(f"token{number}" for number in range(200)))
    back_up(place.data, target, url=place.url)
    whole = target.read_bytes()
    if damage == "missing":
        target.unlink()
    else:
        target.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"no backup at all\n" * 500)
    back = make_store.place()
    make_store.lock(back)
    before = contents(back)
    with pytest.raises(errors.StoreRefused, match="backup"):
        restore_into(target, config(back), make_store.lock(back))
    assert contents(back) == before


@pytest.mark.guards(
    "Whichever byte of a backup of PostgreSQL is damaged, it is called damaged, in words.",
    against="a traceback of the archive's library in the middle of a restore",
    breaks=("backup-damage-is-untyped",),
)
def test_any_damaged_byte_of_an_archive_is_called_damage(target: Path) -> None:
    from holdfast.core.store import backup_postgres as archives

    manifest = archives.Manifest(1, "u", "v", "t", {}, {"audit": archives.Table(1, "x", "")}, {})
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("tables/audit.copy", bytes(range(256)) * 4)
        archive.writestr(archives._MANIFEST, msgspec.json.encode(manifest))
    whole, caught = target.read_bytes(), 0
    for offset in range(len(whole)):
        target.write_bytes(whole[:offset] + bytes([whole[offset] ^ 0xFF]) + whole[offset + 1 :])
        try:
            with archives._opened(target) as archive:
                archives._manifest(archive, target)
        except errors.StoreCorrupt:
            caught += 1
    assert caught > len(whole) / 2  # the rest are dates, rights and the like, which nobody reads


@pytest.mark.guards(
    "Whatever holds rows is made for its owner alone, whoever may look into the folder.",
    against="tokens and transcripts that every user of the machine can read",
    breaks=("store-is-for-everybody", "backup-is-for-everybody", "archive-is-for-everybody"),
)
async def test_the_store_and_its_backups_are_for_their_owner_alone(make_store: StoreMaker, target: Path) -> None:
    before = os.umask(0o022)
    try:
        place = make_store.place()
        place.data.mkdir(parents=True, exist_ok=True)
        place.data.chmod(0o755)
        store = await make_store(packs=(CORE,), at=place)
        await tokens(store, "one")
        back_up(place.data, target, url=place.url)
    finally:
        os.umask(before)
    found = _modes(place.data) | _modes(target.parent)
    assert target.name in found
    assert (DATABASE in found) == (place.url is None)
    assert set(found.values()) == {0o600}


def _modes(folder: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir() if file.is_file()}


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
async def test_a_backup_that_lacks_rows_is_refused(make_store: StoreMaker, core_store: Store, target: Path) -> None:
    place = make_store.place_of(core_store)
    await tokens(core_store, "one", "two")
    back_up(place.data, target, url=place.url)
    with zipfile.ZipFile(target) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    entries["tables/tokens.copy"] = entries["tables/tokens.copy"].splitlines(keepends=True)[0]
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    back = make_store.place()
    with pytest.raises(errors.StoreCorrupt, match="tokens has 1 of 2 rows"):
        restore_into(target, config(back), make_store.lock(back))
    assert json.loads(entries["manifest.json"])["tables"]["tokens"]["rows"] == 2


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_a_plain_copy_of_the_file_is_not_taken_for_a_backup(
    make_store: StoreMaker, core_store: Store, target: Path
) -> None:
    await core_store.close()
    target.write_bytes((make_store.place_of(core_store).data / DATABASE).read_bytes())
    back = make_store.place()
    with pytest.raises(errors.StoreRefused, match="not a backup but a store"):
        restore_into(target, config(back), make_store.lock(back))


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_a_backup_is_one_file_that_can_be_put_in_place_by_hand(
    make_store: StoreMaker, core_store: Store, target: Path
) -> None:
    await tokens(core_store, "one")
    place = make_store.place_of(core_store)
    back_up(place.data, target)
    assert list(bytes_of(target.parent)) == [target.name]
    await core_store.close()
    (place.data / DATABASE).write_bytes(target.read_bytes())  # the head of the lost store is still there
    store = await make_store(packs=(CORE,), at=place)
    assert store.uuid != core_store.uuid
    assert store.effects_held


async def test_a_backup_that_fails_leaves_nothing_behind(
    make_store: StoreMaker, core_store: Store, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from holdfast.core.store import backup, backup_postgres

    def broken(*_: object) -> dict[str, str]:
        raise errors.StoreFull("no room")

    monkeypatch.setattr(backup, "read_meta", broken)
    monkeypatch.setattr(backup_postgres, "read_meta", broken)
    place = make_store.place_of(core_store)
    with pytest.raises(errors.StoreFull):
        back_up(place.data, target, url=place.url)
    assert bytes_of(target.parent) == {}
