"""The generated triggers on SQLite's own terms; what both engines promise is in the conformance suite."""

from __future__ import annotations

import json
from collections.abc import Iterator

import apsw
import pytest

from holdfast.core.changes.declare import Watched
from holdfast.core.changes.triggers import statements

LOG = """
CREATE TABLE change_log (seq INTEGER PRIMARY KEY AUTOINCREMENT, scope TEXT NOT NULL, entity TEXT NOT NULL,
    entity_id TEXT NOT NULL, event TEXT NOT NULL, payload TEXT NOT NULL, actor TEXT NOT NULL, cause TEXT NOT NULL,
    at TEXT NOT NULL) STRICT;
CREATE TABLE unit (id INTEGER PRIMARY KEY, actor TEXT, cause TEXT, at TEXT, position INTEGER NOT NULL) STRICT;
INSERT INTO unit (id, position) VALUES (1, 0);
"""


@pytest.fixture
def db() -> Iterator[apsw.Connection]:
    connection = apsw.Connection(":memory:")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(LOG)
    yield connection
    connection.close()


def watch(db: apsw.Connection, *watched: Watched) -> None:
    for statement in statements(watched, "sqlite"):
        db.execute(statement)


def events(db: apsw.Connection) -> list[tuple[str, str]]:
    return list(db.execute("SELECT event, entity_id FROM change_log ORDER BY seq"))


def changed(db: apsw.Connection) -> list[str]:
    ((payload,),) = db.execute("SELECT payload FROM change_log ORDER BY seq DESC LIMIT 1")
    names: list[str] = json.loads(payload)["changed"]
    return names


def test_columns_may_carry_the_names_of_sql_words(db: apsw.Connection) -> None:
    db.execute('CREATE TABLE "group" (id TEXT PRIMARY KEY, "order" INTEGER, "select" TEXT) STRICT')
    watch(db, Watched("group", "group", ("id", "order", "select"), scope="select"))
    db.execute("""INSERT INTO "group" VALUES ('g', 1, 's')""")
    db.execute("""UPDATE "group" SET "order" = 2""")
    assert events(db) == [("group_created", "g"), ("group_updated", "g")]
    assert changed(db) == ["order"]


def test_a_scope_or_event_with_a_quote_is_text_and_not_sql(db: apsw.Connection) -> None:
    db.execute("CREATE TABLE t (id TEXT PRIMARY KEY) STRICT")
    watch(db, Watched("t", "t", ("id",), scope_of_all="it's", created="that's"))
    db.execute("INSERT INTO t VALUES ('a')")
    assert list(db.execute("SELECT scope, event FROM change_log")) == [("it's", "that's")]


def test_a_change_of_case_is_seen_under_a_collation_that_ignores_it(db: apsw.Connection) -> None:
    db.execute("CREATE TABLE t (id TEXT PRIMARY KEY, title TEXT COLLATE NOCASE) STRICT")
    watch(db, Watched("t", "t", ("id", "title"), scope_of_all="all"))
    db.execute("INSERT INTO t VALUES ('a', 'one')")
    db.execute("UPDATE t SET title = 'ONE'")
    assert changed(db) == ["title"]


def test_an_upsert_is_a_new_row_or_a_changed_one_never_both(db: apsw.Connection) -> None:
    db.execute("CREATE TABLE t (id TEXT PRIMARY KEY, n INTEGER) STRICT")
    watch(db, Watched("t", "t", ("id", "n"), scope_of_all="all"))
    for n in (1, 2, 2):
        db.execute("INSERT INTO t VALUES ('a', ?) ON CONFLICT DO UPDATE SET n = excluded.n", (n,))
    assert events(db) == [("t_created", "a"), ("t_updated", "a")]


def test_rows_that_go_with_their_parent_are_logged_too(db: apsw.Connection) -> None:
    db.execute("CREATE TABLE p (id TEXT PRIMARY KEY) STRICT")
    db.execute("CREATE TABLE c (id TEXT PRIMARY KEY, p TEXT REFERENCES p ON DELETE CASCADE) STRICT")
    watch(db, Watched("p", "p", ("id",), scope_of_all="all"), Watched("c", "c", ("id", "p"), scope="p"))
    db.execute("INSERT INTO p VALUES ('p'); INSERT INTO c VALUES ('c', 'p'); DELETE FROM p")
    assert sorted(events(db)[2:]) == [("c_removed", "c"), ("p_removed", "p")]


def test_deleting_everything_at_once_logs_every_row(db: apsw.Connection) -> None:
    db.execute("CREATE TABLE t (id TEXT PRIMARY KEY) STRICT")
    watch(db, Watched("t", "t", ("id",), scope_of_all="all"))
    db.execute("INSERT INTO t VALUES ('a'), ('b'); DELETE FROM t")
    assert events(db)[2:] == [("t_removed", "a"), ("t_removed", "b")]


def test_a_key_that_is_a_number_is_logged_as_text(db: apsw.Connection) -> None:
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER) STRICT")
    watch(db, Watched("t", "t", ("id", "n"), scope_of_all="all"))
    db.execute("INSERT INTO t VALUES (9007199254740993, 1)")
    assert events(db) == [("t_created", "9007199254740993")]


def test_a_change_is_logged_even_where_the_row_that_names_the_actor_is_missing(db: apsw.Connection) -> None:
    db.execute("CREATE TABLE t (id TEXT PRIMARY KEY) STRICT")
    watch(db, Watched("t", "t", ("id",), scope_of_all="all"))
    db.execute("DELETE FROM unit")
    db.execute("INSERT INTO t VALUES ('a')")
    assert list(db.execute("SELECT actor, cause, length(at) FROM change_log")) == [("outside", "", 27)]


def test_a_table_watched_twice_is_refused() -> None:
    twice = (Watched("t", "a", ("id",), scope_of_all="all"), Watched("t", "b", ("id",), scope_of_all="all"))
    for dialect in ("sqlite", "postgres"):
        with pytest.raises(ValueError, match="watched twice: t"):
            statements(twice, dialect)


def test_every_generated_name_starts_alike_so_that_old_ones_can_be_found() -> None:
    watched = (Watched("t", "t", ("id",), scope_of_all="all"),)
    for dialect in ("sqlite", "postgres"):
        made = [s for s in statements(watched, dialect) if s.startswith("CREATE")]
        assert made
        for statement in made:
            words = statement.replace("OR REPLACE ", "").split()
            assert words[2].startswith("hf_t_"), statement
