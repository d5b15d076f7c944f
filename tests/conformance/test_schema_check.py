"""The comparison of what is physically there with what is declared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from holdfast.core import errors
from places import alter, contents

if TYPE_CHECKING:
    from conftest import StoreMaker

#: What somebody did to the store, and what the refusal must name.
ALTERATIONS = {
    "missing column": ("ALTER TABLE things DROP COLUMN size", "column things.size is missing"),
    "strange column": ("ALTER TABLE tokens ADD COLUMN colour TEXT", "column tokens.colour is not ours"),
    "missing table": ("DROP TABLE idempotency", "table idempotency is missing"),
    "strange table": ("CREATE TABLE recipes (name TEXT)", "table recipes is not ours"),
    "missing index": ("DROP INDEX change_log_by_scope", "index change_log_by_scope is missing"),
    "strange index": ("CREATE INDEX mine ON audit (at)", "index mine is not ours"),
    "renamed column": ("ALTER TABLE tokens RENAME COLUMN name TO title", "column tokens.title is not ours"),
}
_DIALECTS = {
    "missing trigger": {
        "sqlite": "DROP TRIGGER hf_things_update",
        "postgres": "DROP TRIGGER hf_things_update ON things",
    },
    "missing guard of the log": {
        "sqlite": "DROP TRIGGER change_log_is_immutable",
        "postgres": "DROP TRIGGER change_log_is_immutable ON change_log",
    },
    "other index": {
        "sqlite": "DROP INDEX change_log_by_scope; CREATE INDEX change_log_by_scope ON change_log (scope)",
        "postgres": "DROP INDEX change_log_by_scope; CREATE INDEX change_log_by_scope ON change_log (scope)",
    },
    "other trigger": {
        "sqlite": "DROP TRIGGER hf_things_delete; CREATE TRIGGER hf_things_delete AFTER DELETE ON things "
        "BEGIN SELECT 1; END",
        "postgres": "DROP TRIGGER hf_things_delete ON things; CREATE TRIGGER hf_things_delete AFTER DELETE ON parts "
        "FOR EACH ROW EXECUTE FUNCTION hf_things_delete()",
    },
    "other column": {
        "sqlite": "PRAGMA writable_schema = on; "
        "UPDATE sqlite_schema SET sql = replace(sql, 'size INTEGER', 'size TEXT') WHERE name = 'things'",
        "postgres": "ALTER TABLE parts ALTER COLUMN state DROP NOT NULL",
    },
    "rules only": {
        "sqlite": "PRAGMA writable_schema = on; "
        "UPDATE sqlite_schema SET sql = replace(sql, ' REFERENCES things (id)', '') WHERE name = 'parts'",
        "postgres": "ALTER TABLE parts DROP CONSTRAINT parts_thing_fkey",
    },
    "history gone": {"sqlite": "DROP TABLE migrations", "postgres": "DROP TABLE migrations"},
    "name gone": {"sqlite": "DROP TABLE store_meta", "postgres": "DROP TABLE store_meta"},
}
_NAMED = {
    "missing trigger": "trigger hf_things_update is missing",
    "missing guard of the log": "trigger change_log_is_immutable is missing",
    "other index": "index change_log_by_scope is defined differently",
    "other trigger": "trigger hf_things_delete is defined differently",
    "other column": "column (things.size|parts.state) is '",
    "rules only": "(table parts is defined differently|constraint parts.parts_thing_fkey is missing)",
    "history gone": "table migrations is missing",
    "name gone": "table store_meta is missing",
}


async def altered(make_store: StoreMaker, *statements: str) -> str:
    """The refusal of a store to which this was done; nothing is written."""
    store = await make_store()
    await store.close()
    place = make_store.place_of(store)
    alter(place, *statements)
    before = contents(place)
    with pytest.raises(errors.SchemaMismatch) as caught:
        await make_store(at=place)
    assert contents(place) == before
    return caught.value.message


@pytest.mark.parametrize("what", [name for name in ALTERATIONS if "column" not in name])
async def test_a_table_or_index_that_is_missing_or_strange_is_named(make_store: StoreMaker, what: str) -> None:
    statement, named = ALTERATIONS[what]
    assert named in await altered(make_store, statement)


@pytest.mark.guards(
    "A missing, strange or different column, table, index or trigger is refused by name, and nothing is written.",
    against="a daemon that runs on tables whose changes are not logged, or whose queries fail one by one",
    breaks=("schema-is-not-compared",),
)
@pytest.mark.parametrize("what", _DIALECTS)
async def test_what_differs_is_named(make_store: StoreMaker, what: str) -> None:
    import re

    message = await altered(make_store, _DIALECTS[what][make_store.engine])
    assert re.search(_NAMED[what], message), message


@pytest.mark.parametrize("what", ["strange column", "renamed column"])
async def test_a_strange_column_is_named_once(make_store: StoreMaker, what: str) -> None:
    statement, named = ALTERATIONS[what]
    message = await altered(make_store, statement)
    assert named in message
    assert "table tokens is defined differently" not in message


async def test_a_missing_column_is_named(make_store: StoreMaker) -> None:
    message = await altered(make_store, "ALTER TABLE idempotency DROP COLUMN body")
    assert "column idempotency.body is missing" in message


async def test_every_difference_is_named_at_once(make_store: StoreMaker) -> None:
    message = await altered(make_store, "DROP TABLE idempotency", "DROP INDEX change_log_by_scope", "DROP TABLE parts")
    for named in ("table idempotency is missing", "index change_log_by_scope is missing", "table parts is missing"):
        assert named in message
    assert "column parts.state" not in message  # its table is missing as a whole


async def test_what_the_engine_keeps_for_itself_is_not_held_against_the_store(make_store: StoreMaker) -> None:
    store = await make_store()
    await store.close()
    place = make_store.place_of(store)
    alter(place, "ANALYZE")
    await make_store(at=place)
