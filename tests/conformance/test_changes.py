"""The change log on both engines: what a write leaves in it, and how it is read."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import apsw
import psycopg
import pytest

from conftest import StoreMaker
from holdfast.core.changes import log
from holdfast.core.changes.cursors import Filter
from holdfast.core.errors import BrokenRule, StoreError
from holdfast.core.instants import parse_stamp
from holdfast.core.store.port import Act, Row, Store, Unit
from holdfast.core.store.sql import query
from testpack import ACT, SQL

LAST = 1 << 60


async def logged(store: Store) -> list[log.Change]:
    return await store.read(lambda reader: log.page(reader, after=0, upto=LAST, limit=10_000))


async def payloads(store: Store) -> list[dict[str, Any]]:
    return [json.loads(change.payload) for change in await logged(store)]


def add(unit: Unit, key: str = "a", **other: Any) -> None:
    given = {"title": "one", "size": 1, "note": None, "body": '{"deep": [1, 2.50, null]}'} | other
    unit.run(SQL.add_thing, id=key, **given)


@pytest.mark.guards(
    "A change-log row holds the watched columns after the change and names exactly those that changed.",
    against="Consumers that act on the wrong column, or miss that one changed.",
    breaks=("changes-names-every-column", "changes-shows-the-row-before"),
)
async def test_a_row_is_logged_as_it_is_after_the_change_with_what_changed(store: Store) -> None:
    await store.unit(ACT, add)
    await store.unit(ACT, lambda u: u.run(SQL.change_thing, id="a", title="one", size=2, note="n", body="{}"))
    await store.unit(ACT, lambda u: u.run(SQL.remove_thing, id="a"))
    new = {"id": "a", "title": "one", "size": 1, "note": None, "body": {"deep": [1, 2.5, None]}}
    now = {"id": "a", "title": "one", "size": 2, "note": "n", "body": {}}
    assert await payloads(store) == [
        new | {"changed": ["id", "title", "size", "note", "body"]},
        now | {"changed": ["size", "note", "body"]},
        now | {"changed": []},
    ]
    assert [(c.scope, c.entity, c.entity_id, c.event) for c in await logged(store)] == [
        ("test", "thing", "a", "thing_created"),
        ("test", "thing", "a", "thing_updated"),
        ("test", "thing", "a", "thing_removed"),
    ]


async def test_a_table_may_name_its_own_events_and_take_the_scope_from_a_column(store: Store) -> None:
    def work(unit: Unit) -> None:
        add(unit)
        unit.run(SQL.add_part, id="p", thing="a", state="red")
        unit.run(SQL.move_part, id="p", state="green")
        unit.run(SQL.remove_part, id="p")

    await store.unit(ACT, work)
    assert [(c.scope, c.entity, c.event) for c in await logged(store)][1:] == [
        ("a", "part", "part_recorded"),
        ("a", "part", "part_recorded"),
        ("a", "part", "part_removed"),
    ]


@pytest.mark.guards(
    "A write that changes nothing watched leaves no row in the change log.",
    against="Nudges, pages and webhooks for rows that were only written again.",
    breaks=("changes-logs-every-write",),
)
async def test_a_write_that_changes_nothing_leaves_no_row(store: Store) -> None:
    await store.unit(ACT, add)
    await store.unit(ACT, lambda u: u.run(SQL.retitle_thing, id="a", title="one"))
    await store.unit(ACT, lambda u: u.run(SQL.retitle_thing, id="nothing", title="two"))
    assert len(await logged(store)) == 1


@pytest.mark.guards(
    "A row that goes on in another table is not told as removed; one that is gone is.",
    against="A removal told for everything that is merely done, or none told for what is lost.",
    breaks=("changes-tell-what-goes-on-as-removed", "changes-forgets-removals"),
)
async def test_a_row_that_goes_on_elsewhere_is_not_told_as_removed_and_one_that_is_gone_is(store: Store) -> None:
    def add_both(unit: Unit) -> None:
        for key in ("done", "gone"):
            unit.run(SQL.add_errand, id=key, title="one")

    def finish_one(unit: Unit) -> None:
        unit.run(SQL.finish_errand, id="done")
        for key in ("done", "gone"):
            unit.run(SQL.remove_errand, id=key)

    await store.unit(ACT, add_both)
    await store.unit(ACT, finish_one)
    seen = [(change.event, change.entity_id) for change in await logged(store)]
    assert seen == [("errand_created", "done"), ("errand_created", "gone"), ("errand_removed", "gone")]


@pytest.mark.guards(
    "Actor, cause and time of the unit of work stand on every row it caused, and on no other.",
    against="Kills without an audit; acts ascribed to whoever came before.",
    breaks=("changes-nobody-acts",),
)
async def test_every_row_carries_the_actor_the_cause_and_the_one_time_of_its_unit(store: Store) -> None:
    times = []

    def work(unit: Unit) -> None:
        times.append(unit.at)
        add(unit, "a")
        add(unit, "b")

    await store.unit(Act("session:s1", "signal:9"), work)
    await store.unit(Act("token:t2", "request:7"), lambda u: u.run(SQL.resize_thing, id="b", size=5))
    first, second, third = await logged(store)
    assert {(c.actor, c.cause, c.at) for c in (first, second)} == {("session:s1", "signal:9", times[-1])}
    assert (third.actor, third.cause) == ("token:t2", "request:7")


async def test_a_write_from_outside_any_unit_is_logged_as_such_at_its_own_time(
    make_store: StoreMaker, store: Store
) -> None:
    await store.unit(ACT, lambda u: add(u, "a"))
    place = make_store.place_of(store)
    await store.close()
    if place.url is None:
        with apsw.Connection(str(place.data / "holdfast.db")) as connection:
            connection.execute("UPDATE things SET size = 7")
            rows = list(connection.execute(SQL.log.sqlite))
        connection.close()
    else:
        with psycopg.connect(place.url) as server:
            server.execute("UPDATE things SET size = 7")
            rows = server.execute(SQL.log.postgres).fetchall()
    *_, actor, cause, at = rows[-1]
    assert (actor, cause) == ("outside", "")
    assert parse_stamp(at) >= parse_stamp(rows[0][-1]) - timedelta(seconds=1)


@pytest.mark.parametrize("name", ["rekey_thing", "rescope_part"])
async def test_neither_the_key_nor_the_scope_of_a_row_can_change(store: Store, name: str) -> None:
    def make(unit: Unit) -> None:
        add(unit, "a")
        add(unit, "b")
        unit.run(SQL.add_part, id="p", thing="a", state="red")

    await store.unit(ACT, make)
    rescope = query("rescope", sqlite="UPDATE parts SET thing = :to WHERE id = :id")
    change = SQL.rekey_thing if name == "rekey_thing" else rescope
    with pytest.raises(BrokenRule, match="cannot change"):
        await store.unit(ACT, lambda u: u.run(change, id="b" if name == "rekey_thing" else "p", to="b2"))
    assert len(await logged(store)) == 3


async def test_the_change_log_cannot_be_rewritten(store: Store) -> None:
    await store.unit(ACT, add)
    forge = query("forge", sqlite="UPDATE change_log SET actor = 'nobody'")
    with pytest.raises(StoreError, match="immutable"):
        await store.unit(ACT, lambda u: u.run(forge))
    assert [c.actor for c in await logged(store)] == [ACT.actor]


async def test_a_unit_that_fails_leaves_nothing_in_the_log(store: Store) -> None:
    def work(unit: Unit) -> None:
        add(unit)
        message = "no"
        raise LookupError(message)

    with pytest.raises(LookupError):
        await store.unit(ACT, work)
    assert await logged(store) == []


async def test_text_that_is_not_json_in_a_json_column_is_refused(store: Store) -> None:
    with pytest.raises(StoreError):
        await store.unit(ACT, lambda u: add(u, body="{not json"))
    assert await logged(store) == []
    assert await store.read(lambda reader: reader.all(SQL.things)) == []


async def test_a_change_is_one_line_of_json_however_its_payload_was_stored(store: Store) -> None:
    await store.unit(ACT, lambda u: add(u, title="two\nlines\r", body='{\n "a":\r\n "x\\ny" }'))
    (change,) = await logged(store)
    line = log.encode(change)
    assert b"\n" not in line
    assert b"\r" not in line
    shown: Row = json.loads(line)
    assert shown["payload"]["body"] == {"a": "x\ny"}
    assert shown["payload"]["title"] == "two\nlines\r"
    assert list(shown) == ["seq", "scope", "entity", "entity_id", "event", "payload", "actor", "cause", "at"]


async def test_pages_follow_each_other_without_a_hole_and_stop_where_they_are_told(store: Store) -> None:
    for number in range(9):
        await store.unit(ACT, lambda u, n=number: add(u, f"t{n}"))
    seen: list[int] = []
    after = 0
    while page := await store.read(lambda r, a=after: log.page(r, after=a, upto=8, limit=3)):
        assert len(page) <= 3
        seen += [change.seq for change in page]
        after = seen[-1]
    assert seen == list(range(1, 9))


async def test_pages_hold_only_the_scopes_and_events_that_are_wanted(store: Store) -> None:
    def work(unit: Unit) -> None:
        add(unit, "a")
        add(unit, "b")
        for thing in ("a", "b"):
            unit.run(SQL.add_part, id=f"p{thing}", thing=thing, state="red")
            unit.run(SQL.remove_part, id=f"p{thing}")

    await store.unit(ACT, work)

    async def seqs(*, after: int = 0, **wanted: list[str]) -> list[int]:
        chosen = Filter.of(**wanted)
        page = await store.read(lambda r: log.page(r, after=after, upto=LAST, limit=50, filter=chosen))
        return [change.seq for change in page]

    assert await seqs() == [1, 2, 3, 4, 5, 6]
    assert await seqs(scopes=["a"]) == [3, 4]
    assert await seqs(scopes=["a,b"]) == [3, 4, 5, 6]
    assert await seqs(scopes=["test", "b"], after=1) == [2, 5, 6]
    assert await seqs(events=["part_removed", "thing_created"]) == [1, 2, 4, 6]
    assert await seqs(scopes=["a", "b"], events=["part_recorded"]) == [3, 5]
    assert await seqs(scopes=["a';--"]) == []


async def test_the_bounds_of_an_empty_log_let_a_reader_begin(store: Store) -> None:
    assert await store.read(log.bounds) == (1, 0)
    await store.unit(ACT, add)
    assert await store.read(log.bounds) == (1, 1)
