"""Owns the declared schema: makes it in a fresh store, and names every difference between it and a store's own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib import resources

import apsw

from holdfast.core.changes import triggers as generator
from holdfast.core.errors import SchemaMismatch
from holdfast.core.pack import Pack
from holdfast.core.store.port import Dialect
from holdfast.core.store.raw import Raw, RawPostgres, RawSqlite
from holdfast.core.store.sql import load

SQL = load("holdfast.core.store", "schema.sql")
PREPARE = load("holdfast.core.store", "prepare.sql")

#: Kind and name of a thing in the schema (`("column", "tokens.hash")`), and its definition in one written form.
Objects = Mapping[tuple[str, str], str]

# Text in quotes, quoted names, comments, words, and any other single character.
_TOKEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|\w+|\S", re.DOTALL)
_PLAIN = re.compile(r'^"[a-z_][a-z0-9_]*"$')


def fresh(packs: Iterable[Pack], dialect: Dialect) -> str:
    """The statements that make a fresh store: every pack's tables, then the generated triggers."""
    packs = tuple(packs)
    file = f"schema.{dialect}.sql"
    tables = [resources.files(pack.package).joinpath(file).read_text("utf-8") for pack in packs]
    return "\n".join([*tables, triggers(packs, dialect)])


def triggers(packs: Iterable[Pack], dialect: Dialect) -> str:
    """The statements that make the change log's triggers."""
    watched = tuple(table for pack in packs for table in pack.watched)
    return "".join(f"{statement};\n" for statement in generator.statements(watched, dialect))


def objects(raw: Raw) -> Objects:
    """Everything that is physically there."""
    sqlite = raw.dialect == "sqlite"
    return {
        (row["kind"], row["name"]): _written(row["definition"]) if sqlite else row["definition"]
        for row in raw.all(SQL.objects)
    }


def declared(raw: Raw, packs: Iterable[Pack]) -> Objects:
    """Everything that should be there, as the engine itself describes it once it has made it somewhere else."""
    if not isinstance(raw, RawPostgres):
        scratch = RawSqlite(apsw.Connection(":memory:"))
        scratch.script(fresh(packs, "sqlite"))
        return objects(scratch)
    with raw.undone():
        raw.all(PREPARE.make_scratch)
        raw.all(PREPARE.use_scratch)
        raw.script(fresh(packs, "postgres"))
        return objects(raw)


def check(raw: Raw, should: Objects, where: str) -> None:
    """Refuse a store whose schema is not the declared one, naming every difference."""
    found = differences(should, objects(raw))
    if found:
        raise SchemaMismatch(
            f"The schema of {where} is not the one that this version of Holdfast declares: {'; '.join(found)}. "
            "Nothing was changed. If somebody altered the store by hand, undo that; otherwise restore a backup.",
            differences=found,
        )


def differences(should: Objects, found: Objects) -> list[str]:
    """Each difference in words; one cause is named once."""
    missing = (key for key in sorted(should.keys() - found.keys()) if _tells(key, found))
    strange = (key for key in sorted(found.keys() - should.keys()) if _tells(key, should))
    return [
        *(f"{kind} {name} is missing" for kind, name in missing),
        *(f"{kind} {name} is not ours" for kind, name in strange),
        *_altered(should, found),
    ]


def _tells(key: tuple[str, str], other: Objects) -> bool:
    # A table that is missing as a whole says so once, not again for each column.
    kind, name = key
    return kind not in {"column", "constraint"} or ("table", name.partition(".")[0]) in other


def _altered(should: Objects, found: Objects) -> Iterable[str]:
    keys = sorted(key for key in should.keys() & found.keys() if should[key] != found[key])
    columns = {name.partition(".")[0] for kind, name in (*keys, *(should.keys() ^ found.keys())) if kind == "column"}
    for kind, name in keys:
        if kind == "table" and name in columns:
            continue  # its text differs because its columns do
        if kind == "column":
            yield f"column {name} is {found[kind, name]!r}, declared {should[kind, name]!r}"
        else:
            yield f"{kind} {name} is defined differently"


def _written(definition: str) -> str:
    """One written form of a statement: no comments, single spaces, no needless quotes."""
    tokens = (token for token in _TOKEN.findall(definition) if not token.startswith(("--", "/*")))
    return " ".join(token[1:-1] if _PLAIN.match(token) else token for token in tokens)
