"""Generates both engines' change-log triggers from the declarations; no other code writes to the change log.

Every name made here starts with `hf_`, so that what an older version made can be found and dropped. SQLite triggers
read who acts from the one-row table `unit`, PostgreSQL ones from `holdfast.*` settings of the transaction; a write
from outside a unit of work is logged as `outside`, never lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from holdfast.core.changes.declare import CHANGED, Watched

if TYPE_CHECKING:
    from holdfast.core.store.port import Dialect

#: What the name of every generated trigger and function starts with.
PREFIX = "hf_"
#: The actor of a write that no unit of work made.
OUTSIDE = "outside"

_COLUMNS = "scope, entity, entity_id, event, payload, actor, cause, at"
_SQLITE_NOW = "strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z'"
_POSTGRES_NOW = "to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"


def statements(watched: tuple[Watched, ...], dialect: Dialect) -> list[str]:
    """Every statement that creates the triggers of these tables, in order."""
    tables = [table.table for table in watched]
    twice = sorted({name for name in tables if tables.count(name) > 1})
    if twice:
        message = f"tables are watched twice: {', '.join(twice)}"
        raise ValueError(message)
    make = _sqlite if dialect == "sqlite" else _postgres
    return [statement for table in watched for statement in make(table)]


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _trigger(table: Watched, what: str) -> str:
    return f"{PREFIX}{table.table}_{what}"


def _fixed(table: Watched) -> tuple[str, ...]:
    """What never changes once a row is there: its key, and its scope, so that no reader of a scope misses it."""
    return (table.key,) if table.scope is None else tuple(dict.fromkeys((table.key, table.scope)))


def _told(table: Watched) -> tuple[str, ...]:
    """The columns whose change is an event."""
    return table.updates_on or table.columns


def _update_of(columns: Iterable[str]) -> str:
    # A statement that sets none of them pays nothing for the trigger.
    return f"UPDATE OF {', '.join(_name(column) for column in columns)}"


def _refusal(table: Watched) -> str:
    return f"{' and '.join(_fixed(table))} of a row of {table.table} cannot change: remove the row and add another"


def _is_gone(table: Watched) -> str | None:
    """What holds when a row that is deleted does not go on elsewhere."""
    if table.goes_on_in is None:
        return None
    there = _name(table.goes_on_in)
    return f"NOT EXISTS (SELECT 1 FROM {there} WHERE {there}.{_name(table.key)} = OLD.{_name(table.key)})"


def _scope(table: Watched, row: str) -> str:
    return _text(table.scope_of_all) if table.scope_of_all is not None else f"{row}.{_name(table.scope or '')}"


# --- SQLite ----------------------------------------------------------------------------------------------------


def _sqlite(table: Watched) -> list[str]:
    names = ",".join(f'"{column}"' for column in table.columns)
    differs = " OR ".join(_sqlite_differs(column) for column in _told(table))
    moved = " OR ".join(_sqlite_differs(column) for column in _fixed(table))
    new = _sqlite_log(table, "NEW", table.created_event, _text(f"[{names}]"))
    changed = _sqlite_log(table, "NEW", table.updated_event, _sqlite_changed(table.columns))
    old = _sqlite_log(table, "OLD", table.removed_event, _text("[]"))
    refuse = f"  SELECT RAISE(ABORT, {_text(_refusal(table))});"
    return [
        _sqlite_trigger(table, "insert", "AFTER INSERT", new),
        _sqlite_trigger(table, "update", f"AFTER {_update_of(_told(table))}", changed, when=differs),
        _sqlite_trigger(table, "delete", "AFTER DELETE", old, when=_is_gone(table)),
        _sqlite_trigger(table, "fixed", f"BEFORE {_update_of(_fixed(table))}", refuse, when=moved),
    ]


def _sqlite_trigger(table: Watched, what: str, moment: str, body: str, *, when: str | None = None) -> str:
    condition = f"WHEN {when}\n" if when else ""
    return f"CREATE TRIGGER {_trigger(table, what)} {moment} ON {_name(table.table)}\n{condition}BEGIN\n{body}\nEND"


def _sqlite_differs(column: str) -> str:
    # Byte by byte, whatever collation the column was declared with.
    return f"NEW.{_name(column)} IS NOT OLD.{_name(column)} COLLATE BINARY"


def _sqlite_changed(columns: Iterable[str]) -> str:
    listed = " || ".join(f"CASE WHEN {_sqlite_differs(column)} THEN ',\"{column}\"' ELSE '' END" for column in columns)
    return f"'[' || substr({listed}, 2) || ']'"


def _sqlite_log(table: Watched, row: str, event: str, changed: str) -> str:
    values = []
    for column in table.columns:
        value = f"{row}.{_name(column)}"
        values.append(f"{_text(column)}, {f'json({value})' if column in table.json_columns else value}")
    payload = f"json_object({', '.join(values)}, {_text(CHANGED)}, json({changed}))"
    # The outer join: were the row of `unit` ever missing, the change would still be logged.
    return (
        f"  INSERT INTO change_log({_COLUMNS})\n"
        f"  SELECT {_scope(table, row)}, {_text(table.entity)}, {row}.{_name(table.key)}, {_text(event)},\n"
        f"    {payload},\n"
        f"    coalesce(unit.actor, {_text(OUTSIDE)}), coalesce(unit.cause, ''), coalesce(unit.at, {_SQLITE_NOW})\n"
        f"  FROM (SELECT 1) LEFT JOIN unit ON unit.id = 1;"
    )


# --- PostgreSQL ------------------------------------------------------------------------------------------------


def _postgres(table: Watched) -> list[str]:
    differs = " OR ".join(_postgres_differs(column) for column in _told(table))
    moved = " OR ".join(_postgres_differs(column) for column in _fixed(table))
    everything = ", ".join(_text(column) for column in table.columns)
    refuse = f"  RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = {_text(_refusal(table))};"
    empty = (
        f"  RAISE EXCEPTION USING ERRCODE = 'check_violation', "
        f"MESSAGE = {_text(f'{table.table} cannot be truncated: no change would be logged; delete its rows')};"
    )
    return [
        *_postgres_pair(
            table, "insert", "AFTER INSERT", _postgres_log(table, "NEW", table.created_event, f"ARRAY[{everything}]")
        ),
        *_postgres_pair(
            table,
            "update",
            f"AFTER {_update_of(_told(table))}",
            _postgres_log(table, "NEW", table.updated_event, _postgres_changed(table.columns)),
            when=differs,
        ),
        *_postgres_pair(table, "delete", "AFTER DELETE", _postgres_removed(table)),
        *_postgres_pair(table, "fixed", f"BEFORE {_update_of(_fixed(table))}", refuse, when=moved),
        *_postgres_pair(table, "truncate", "BEFORE TRUNCATE", empty, each="STATEMENT"),
    ]


def _postgres_removed(table: Watched) -> str:
    logged = _postgres_log(table, "OLD", table.removed_event, "ARRAY[]::text[]")
    is_gone = _is_gone(table)  # a trigger's own condition cannot ask another table
    return logged if is_gone is None else f"  IF {is_gone} THEN\n{logged}\n  END IF;"


def _postgres_pair(
    table: Watched, what: str, moment: str, body: str, *, when: str | None = None, each: str = "ROW"
) -> list[str]:
    """A function, and the trigger that calls it."""
    name = _trigger(table, what)
    condition = f"WHEN ({when}) " if when else ""
    head = f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $hf$"
    place = f"CREATE TRIGGER {name} {moment} ON {_name(table.table)}"
    return [
        f"{head}\nBEGIN\n{body}\n  RETURN NULL;\nEND $hf$",
        f"{place}\nFOR EACH {each} {condition}EXECUTE FUNCTION {name}()",
    ]


def _postgres_differs(column: str) -> str:
    return f"OLD.{_name(column)} IS DISTINCT FROM NEW.{_name(column)}"


def _postgres_changed(columns: Iterable[str]) -> str:
    listed = ", ".join(f"CASE WHEN {_postgres_differs(column)} THEN {_text(column)} END" for column in columns)
    return f"array_remove(ARRAY[{listed}]::text[], NULL)"


def _postgres_log(table: Watched, row: str, event: str, changed: str) -> str:
    values = []
    for column in table.columns:
        value = f"{row}.{_name(column)}" + ("::json" if column in table.json_columns else "")
        values.append(f"{value} AS {_name(column)}")
    return (
        f"  INSERT INTO change_log({_COLUMNS})\n"
        f"  SELECT {_scope(table, row)}, {_text(table.entity)}, {row}.{_name(table.key)}::text, {_text(event)},\n"
        f"    row_to_json(payload)::text,\n"
        f"    {_setting('actor', _text(OUTSIDE))}, {_setting('cause', _text(''))}, {_setting('at', _POSTGRES_NOW)}\n"
        f"  FROM (SELECT {', '.join(values)}, {changed} AS {_name(CHANGED)}) AS payload;"
    )


def _setting(name: str, otherwise: str) -> str:
    # A setting that a transaction made is '' afterwards, not NULL, for the rest of its session.
    return f"coalesce(nullif(current_setting('holdfast.{name}', true), ''), {otherwise})"
