"""What goes in comes out the same on both engines, and what cannot go in is refused by the same error."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.core.errors import BrokenRule, StoreError
from holdfast.core.store.port import Reader, Store, Unit
from holdfast.core.store.sql import Query, query
from testpack import ACT, SQL

LARGEST = 2**63 - 1
THING: dict[str, Any] = {"id": "a", "title": "plain", "size": 1, "note": None, "body": "{}"}


async def kept(store: Store, **changes: Any) -> dict[str, Any]:
    thing = THING | changes
    await store.unit(ACT, lambda unit: unit.run(SQL.add_thing, **thing))
    row = await store.read(lambda reader: reader.one(SQL.thing, id=thing["id"]))
    assert row is not None
    return row


@pytest.mark.parametrize(
    "text", ["", " ", "5 % of %s and :it", 'o\'clock "x" \\n', "żółw 🐢 \u2028 \x1b[31m", "x" * 1_000_000]
)
async def test_text_comes_back_as_it_went_in(store: Store, text: str) -> None:
    row = await kept(store, title=text, note=text)
    assert (row["title"], row["note"]) == (text, text)


@pytest.mark.parametrize("size", [0, -1, 2**15, 2**31, LARGEST, -LARGEST - 1])
async def test_whole_numbers_of_64_bits_come_back_as_they_went_in(store: Store, size: int) -> None:
    row = await kept(store, size=size)
    assert row == THING | {"size": size}


async def test_one_statement_takes_small_and_large_numbers_by_turns(store: Store) -> None:
    sizes = [1, LARGEST, 70_000, 2, 2**40] * 4
    rows = [THING | {"id": f"t{n:02}", "size": size} for n, size in enumerate(sizes)]
    await store.unit(ACT, lambda unit: [unit.run(SQL.add_thing, **row) for row in rows])
    assert [row["size"] for row in await store.read(lambda reader: reader.all(SQL.things))] == sizes


@pytest.mark.parametrize(
    "wrong",
    [{"size": LARGEST + 1}, {"size": "many"}, {"title": None}, {"size": None}, {"title": "half \ud800 a pair"}],
    ids=["number beyond 64 bits", "text for a number", "no title", "no size", "half a character"],
)
async def test_a_value_that_does_not_fit_breaks_a_rule_and_writes_nothing(store: Store, wrong: dict[str, Any]) -> None:
    with pytest.raises(BrokenRule):
        await kept(store, **wrong)
    assert await store.read(lambda reader: reader.all(SQL.things)) == []
    assert await store.read(lambda reader: reader.all(SQL.log)) == []


async def test_text_sorts_by_its_characters_numbers(store: Store) -> None:
    names = ["Z", "a", "_", "ä", "é", "z", "B", "-", "1", "10", "2", "ż", "🐢", "a-b", "ab", "a b"]
    await store.unit(ACT, lambda unit: unit.many(SQL.add_thing, [THING | {"id": name} for name in names]))
    assert [row["id"] for row in await store.read(lambda reader: reader.all(SQL.things))] == sorted(names)


async def test_counts_and_sums_are_plain_numbers(store: Store) -> None:
    asked = query(
        "asked",
        sqlite="SELECT count(*) AS count, sum(size) AS sum, max(size) AS max, sum(size) > 3 AS more, "
        "count(*) = 0 AS none, avg(size) AS mean, max(note) AS note FROM things",
    )
    rows = [THING | {"id": str(n), "size": n} for n in range(4)]
    await store.unit(ACT, lambda unit: unit.many(SQL.add_thing, rows))
    row = await store.read(lambda reader: reader.one(asked))
    assert row == {"count": 4, "sum": 6, "max": 3, "more": 1, "none": 0, "mean": 1.5, "note": None}
    assert [type(value) for value in row.values()] == [int, int, int, int, int, float, type(None)]


async def test_a_write_tells_how_many_rows_it_touched(store: Store) -> None:
    every = query("every", sqlite="UPDATE things SET size = size + 1 WHERE size >= :least")
    rows = [THING | {"id": str(n), "size": n} for n in range(5)]

    def work(unit: Unit) -> list[int]:
        unit.many(SQL.add_thing, rows)
        unit.many(SQL.add_thing, [])
        return [unit.run(every, least=n) for n in (9, 3, 0)]

    assert await store.unit(ACT, work) == [0, 2, 5]


async def test_a_write_may_return_rows(store: Store) -> None:
    returning = query("returning", sqlite="UPDATE things SET size = size * 2 WHERE id = :id RETURNING id, size")
    await kept(store, size=21)
    assert await store.unit(ACT, lambda unit: unit.one(returning, id="a")) == {"id": "a", "size": 42}
    assert await store.unit(ACT, lambda unit: unit.all(returning, id="z")) == []
    log = await store.read(lambda reader: reader.all(SQL.log))
    assert [(row["event"], row["actor"]) for row in log] == [
        ("thing_created", ACT.actor),
        ("thing_updated", ACT.actor),
    ]


async def test_a_statement_without_its_parameter_is_an_error_not_a_null(store: Store) -> None:
    def work(reader: Reader) -> object:
        return reader.one(SQL.thing)

    with pytest.raises((KeyError, StoreError), match="id"):
        await store.read(work)
    with pytest.raises((KeyError, StoreError), match="title"):
        await store.unit(ACT, lambda unit: unit.run(SQL.add_plain_thing, id="a", size=1))
    assert await store.read(lambda reader: reader.all(SQL.things)) == []


WRITES_AFTER_WITH = query(
    "writes_after_with", sqlite="WITH gone AS (SELECT :id AS id) DELETE FROM things WHERE id IN (SELECT id FROM gone)"
)


@pytest.mark.parametrize("statement", [SQL.remove_thing, WRITES_AFTER_WITH], ids=lambda statement: statement.name)
async def test_a_read_cannot_write(store: Store, statement: Query) -> None:
    await kept(store)
    with pytest.raises(StoreError, match="writes"):
        await store.read(lambda reader: reader.all(statement, id="a"))
    assert len(await store.read(lambda reader: reader.all(SQL.things))) == 1


async def test_a_percent_sign_is_only_a_percent_sign(store: Store) -> None:
    plain = query("plain", sqlite="SELECT '5 %' AS text")
    given = query("given", sqlite="SELECT '5 %' || :unit AS text")
    assert await store.read(lambda reader: reader.one(plain)) == {"text": "5 %"}
    assert await store.read(lambda reader: reader.one(given, unit="s")) == {"text": "5 %s"}
