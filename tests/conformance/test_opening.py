"""Opening a store: what is made, what is refused, and that whoever refuses has written nothing."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from holdfast.core import errors, faults
from holdfast.core.store import opening, sqlite
from holdfast.core.store.head import HEAD, Head, read_head, write_head
from holdfast.core.store.prepare import DATABASE
from opened import add, filled, postgres_only, refused, things
from places import alter, rows
from testpack import SQL

if TYPE_CHECKING:
    from conftest import StoreMaker

AUDITED = "SELECT kind, subject, detail FROM audit ORDER BY id"
#: Where an opening that is held up by a test stands: prepared, without an engine.
PREPARED = opening._PREPARED


# --- what goes well ------------------------------------------------------------------------------------------------


async def test_a_store_is_the_same_one_when_it_is_opened_again(make_store: StoreMaker) -> None:
    first = await make_store()
    await add(first, "one", "two")
    await first.close()
    again = await make_store(at=make_store.place_of(first))
    assert again.uuid == first.uuid
    assert not again.effects_held
    assert await things(again) == ["one", "two"]
    assert again.position().seq == 2


async def test_every_fresh_store_has_a_name_of_its_own(make_store: StoreMaker) -> None:
    assert (await make_store()).uuid != (await make_store()).uuid


async def test_the_head_says_after_the_close_how_far_the_store_had_come(make_store: StoreMaker) -> None:
    store = await make_store()
    await add(store, "one", "two")
    await store.close()
    await store.close()
    head = read_head(make_store.place_of(store).data)
    assert head is not None
    assert head.uuid == store.uuid
    assert head.position == store.position()
    assert head.seq == 2


async def test_a_data_folder_without_a_head_is_believed(make_store: StoreMaker) -> None:
    place = await filled(make_store)
    (place.data / HEAD).unlink()
    again = await make_store(at=place)
    assert await things(again) == ["one", "two"]


# --- one at a time -------------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "Of several concurrent opens in one process one wins and the others are refused.",
    against="two engines on one store, each with a writer of its own",
    breaks=("opening-claims-nothing",),
)
async def test_concurrent_opens_do_not_race(make_store: StoreMaker) -> None:
    place, gate = make_store.place(), faults.Gate(limit=5)
    with faults.armed(PREPARED, gate):
        winner = asyncio.create_task(make_store(at=place))
        await asyncio.to_thread(gate.reached.wait, 20)
        for _ in range(3):
            with pytest.raises(errors.DataInUse, match="already open, or being opened"):
                await make_store(at=place)
        gate.open()
        store = await winner
    await add(store, "one")
    with pytest.raises(errors.DataInUse):
        await make_store(at=place)
    await store.close()
    assert await things(await make_store(at=place)) == ["one"]


async def test_a_cancelled_open_lets_nobody_in_before_its_thread_is_done(make_store: StoreMaker) -> None:
    place, gate = make_store.place(), faults.Gate(limit=5)
    with faults.armed(PREPARED, gate):
        opening = asyncio.create_task(make_store(at=place))
        await asyncio.to_thread(gate.reached.wait, 20)
        for _ in range(3):  # one that is impatient
            opening.cancel()
            await asyncio.wait({opening}, timeout=0.01)
        with pytest.raises(errors.DataInUse):
            await make_store(at=place)
        gate.open()
        with pytest.raises(asyncio.CancelledError):
            await opening
    assert await things(await make_store(at=place)) == []


@pytest.mark.guards(
    "An open that is cancelled while its engine starts brings the engine down before anybody else may open the store.",
    against="two engines on one store, one of which nobody can close",
    breaks=("sqlite-start-leaves-its-engine", "postgres-close-leaves-its-threads"),
)
async def test_an_open_cancelled_while_the_engine_starts_leaves_no_engine(
    make_store: StoreMaker, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, gate = make_store.place(), faults.Gate(limit=20)
    kind, name = _connecting(engine)
    connect = getattr(kind, name)

    def held_up(*args: Any, **options: Any) -> Any:
        gate()
        return connect(*args, **options)

    monkeypatch.setattr(kind, name, held_up)
    opening = asyncio.create_task(make_store(at=place))
    await asyncio.to_thread(gate.reached.wait, 20)
    for _ in range(3):  # one that is impatient
        opening.cancel()
        await asyncio.wait({opening}, timeout=0.01)
    with pytest.raises(errors.DataInUse):
        await make_store(at=place)
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("holdfast-")] == []
    assert await things(await make_store(at=place)) == []


def _connecting(engine: str) -> tuple[Any, str]:
    """Where an engine that starts opens a connection."""
    if engine == "sqlite":
        return sqlite, "connect"
    from holdfast.core.store.postgres_session import Session

    return Session, "_connected"


async def test_an_open_that_failed_can_be_tried_again_at_once(make_store: StoreMaker) -> None:
    place = make_store.place()
    crash = faults.raising(errors.StoreLost("gone"))
    with faults.armed(PREPARED, crash), pytest.raises(errors.StoreLost):
        await make_store(at=place)
    assert await things(await make_store(at=place)) == []


async def test_a_store_is_opened_only_under_the_lock_of_its_own_folder(make_store: StoreMaker, tmp_path: Path) -> None:
    place, other = make_store.place(), make_store.place()
    make_store._locks[place.data] = make_store.lock(other)
    with pytest.raises(errors.StoreRefused, match="lock that is held"):
        await make_store(at=place)
    assert not (place.data / DATABASE).exists()


# --- stores that went back in time ---------------------------------------------------------------------------------


@pytest.mark.guards(
    "A store that lacks acknowledged writes is refused, untouched, and the refusal says by how much.",
    against="a truncated or replaced store that goes on as if nothing were missing",
    breaks=("head-is-not-compared",),
)
async def test_a_store_behind_its_head_is_refused_and_says_by_how_much(make_store: StoreMaker) -> None:
    place = await filled(make_store)
    head = read_head(place.data)
    assert head is not None
    write_head(place.data, msgspec.structs.replace(head, writes=head.writes + 5, seq=head.seq + 7))
    message = await refused(make_store, place, errors.StoreBehind)
    assert "7 changes" in message
    assert "--accept-loss" in message


@pytest.mark.guards(
    "Accepted loss gives the store a new name, holds its effects and is on record.",
    against="cursors and workers that trust what they remember of the writes that are gone",
    breaks=("loss-keeps-the-name",),
)
async def test_accepted_loss_gives_a_new_name_holds_effects_and_is_on_record(make_store: StoreMaker) -> None:
    place = await filled(make_store)
    head = read_head(place.data)
    assert head is not None
    write_head(place.data, msgspec.structs.replace(head, seq=head.seq + 7))
    store = await make_store(at=place, accept_loss=True)
    assert store.uuid != head.uuid
    assert store.effects_held
    assert await things(store) == ["one", "two"]
    log = await store.read(lambda reader: reader.all(SQL.log))
    assert (log[-1]["entity"], log[-1]["actor"], log[-1]["cause"]) == ("audit", "daemon", "opening")
    await store.close()
    assert [row["kind"] for row in rows(place, AUDITED)] == ["store.loss_accepted"]
    again = await make_store(at=place)
    assert (again.uuid, again.effects_held) == (store.uuid, True)
    await again.close()
    assert len(rows(place, AUDITED)) == 1


async def test_a_crash_between_the_new_name_and_its_head_is_no_second_loss(make_store: StoreMaker) -> None:
    place = await filled(make_store)
    head = read_head(place.data)
    assert head is not None
    write_head(place.data, msgspec.structs.replace(head, seq=head.seq + 7))
    crash = faults.raising(errors.StoreLost("crash"))
    with faults.armed("head.written", crash), pytest.raises(errors.StoreLost):
        await make_store(at=place, accept_loss=True)
    found = read_head(place.data)
    assert found is not None
    assert found.uuid == head.uuid
    store = await make_store(at=place)
    assert store.uuid != head.uuid
    assert store.effects_held


async def test_accepting_loss_where_there_is_none_changes_nothing(make_store: StoreMaker) -> None:
    place = await filled(make_store)
    head = read_head(place.data)
    store = await make_store(at=place, accept_loss=True)
    assert head is not None
    assert store.uuid == head.uuid
    assert not store.effects_held


async def test_the_store_of_another_data_folder_is_refused(make_store: StoreMaker) -> None:
    place = await filled(make_store)
    write_head(place.data, Head("0123456789abcdef", 0, 0, "2026-01-02T03:04:05.000000Z"))
    assert "belongs to another one" in await refused(make_store, place, errors.StoreBehind)
    store = await make_store(at=place, accept_loss=True)
    assert store.effects_held


async def test_a_damaged_head_is_refused_until_loss_is_accepted(make_store: StoreMaker) -> None:
    place = await filled(make_store)
    (place.data / HEAD).write_bytes(b"\0" * 64)
    assert "is damaged" in await refused(make_store, place, errors.StoreBehind)
    store = await make_store(at=place, accept_loss=True)
    assert store.effects_held
    assert await things(store) == ["one", "two"]


async def test_a_vanished_store_is_not_replaced_by_an_empty_one(make_store: StoreMaker) -> None:
    place, empty = await filled(make_store), make_store.place()
    if place.url is None:
        (place.data / DATABASE).unlink()
        gone = place
    else:
        gone = type(place)(place.data, empty.url)
    assert "There is no store" in await refused(make_store, gone, errors.StoreBehind)
    store = await make_store(at=gone, accept_loss=True)
    assert await things(store) == []
    assert store.effects_held


# --- stores that are not ours, or not for us -----------------------------------------------------------------------


async def test_a_database_that_holds_something_else_is_refused_untouched(make_store: StoreMaker) -> None:
    place = make_store.place()
    make_store.lock(place)
    if place.url is None:
        import apsw

        apsw.Connection(str(place.data / DATABASE)).close()
        (place.data / DATABASE).touch()
        connection = apsw.Connection(str(place.data / DATABASE))
        connection.execute("CREATE TABLE recipes (name TEXT)")
        connection.close()
    else:
        alter(place, "CREATE TABLE recipes (name TEXT)")
    assert "it holds recipes" in await refused(make_store, place, errors.StoreForeign)


@pytest.mark.guards(
    "A store written by a newer version is refused and left as it is.",
    against="an old version that writes into tables whose new rules it does not know",
    breaks=("newer-store-is-opened",),
)
async def test_a_newer_store_is_refused_untouched(make_store: StoreMaker) -> None:
    place = await filled(make_store)
    alter(
        place,
        "INSERT INTO migrations (name, checksum, applied_at) VALUES ('core/29991231235959_from_the_future', 'x', 'y')",
        "UPDATE store_meta SET value = '9.9.9' WHERE name = 'version'",
        "ALTER TABLE tokens ADD COLUMN colour TEXT",
    )
    message = await refused(make_store, place, errors.StoreNewer)
    assert "core/29991231235959_from_the_future" in message
    assert "9.9.9" in message


async def test_a_history_that_is_not_ours_is_refused_untouched(make_store: StoreMaker) -> None:
    place = await filled(make_store)
    alter(place, "UPDATE migrations SET checksum = 'other' WHERE name LIKE 'core/%initial'")
    assert "_initial" in await refused(make_store, place, errors.SchemaMismatch)


async def test_a_store_without_a_name_is_refused(make_store: StoreMaker) -> None:
    place = await filled(make_store)
    alter(place, "DELETE FROM store_meta WHERE name = 'uuid'")
    assert "has lost its name" in await refused(make_store, place, errors.StoreCorrupt)


# --- PostgreSQL ----------------------------------------------------------------------------------------------------


@postgres_only
async def test_a_server_that_is_not_there_is_named_without_its_password(make_store: StoreMaker) -> None:
    place = make_store.place()
    nowhere = type(place)(place.data, "postgresql://me:secret@127.0.0.1:1/nothing")
    with pytest.raises(errors.StoreLost, match=r"nothing at 127\.0\.0\.1") as caught:
        await make_store(at=nowhere)
    assert "secret" not in caught.value.message


@postgres_only
async def test_an_address_that_cannot_be_read_is_refused(make_store: StoreMaker) -> None:
    place = make_store.place()
    with pytest.raises(errors.StoreRefused, match="has the form postgresql://"):
        await make_store(at=type(place)(place.data, "my database, please"))


@postgres_only
async def test_two_hosts_that_meet_an_empty_database_make_one_store(make_store: StoreMaker) -> None:
    one = make_store.place()
    two = type(one)(make_store.place().data, one.url)
    first, second = await asyncio.gather(make_store(at=one), make_store(at=two))
    assert first.uuid == second.uuid
    await add(first, "one")
    assert await things(second) == ["one"]


@postgres_only
async def test_a_database_that_takes_no_writes_is_refused(make_store: StoreMaker) -> None:
    place = await filled(make_store)
    assert place.url is not None
    read_only = "format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database())"
    alter(place, f"DO $$ BEGIN EXECUTE {read_only}; END $$")
    with pytest.raises(errors.StoreReadOnly, match="takes no writes"):
        await make_store(at=place)
