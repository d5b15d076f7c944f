"""Watched tables: the one declaration from which both engines' triggers are generated and their events named."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(r"^[a-z][a-z0-9_]*$")
#: The payload's own key: the columns that changed.
CHANGED = "changed"


@dataclass(frozen=True)
class Watched:
    """A table whose changes are events.

    The payload of an event is `columns` after the change, plus `changed`: their names that differ from before (all of
    them for a new row, none for a removed one, whose payload is the row as it last was).
    """

    table: str
    entity: str
    columns: tuple[str, ...]
    #: Where the scope of an event comes from: a column of the row, or (`scope_of_all`) one word for the whole table.
    scope: str | None = None
    scope_of_all: str | None = None
    key: str = "id"
    #: Columns that hold JSON text and stand in the payload as JSON, not as a string.
    json_columns: frozenset[str] = frozenset()
    #: Only a change of these is an update event; all of `columns` unless told.
    updates_on: tuple[str, ...] | None = None
    created: str | None = None
    updated: str | None = None
    removed: str | None = None
    #: A table in which rows that leave this one go on, under the same key: they are put there first, and then their
    #: removal here is no event.
    goes_on_in: str | None = None

    def __post_init__(self) -> None:
        """Refuse a declaration whose triggers would be wrong."""
        tables = (self.table, self.goes_on_in or self.table)
        for name in (*tables, self.entity, self.key, *self.columns, *(self.updates_on or ())):
            if not _NAME.match(name):
                message = f"watched table {self.table!r}: {name!r} is not a plain lower-case name"
                raise ValueError(message)
        if (self.scope is None) == (self.scope_of_all is None):
            message = f"watched table {self.table!r} needs either a scope column or a scope of all"
            raise ValueError(message)
        if CHANGED in self.columns:
            message = f"watched table {self.table!r}: a watched column cannot be called {CHANGED!r}"
            raise ValueError(message)
        stray = (self.json_columns | set(self.updates_on or ())) - set(self.columns)
        if stray or len(set(self.columns)) != len(self.columns) or not self.columns:
            message = f"watched table {self.table!r}: columns are empty, repeated, or lack {sorted(stray)}"
            raise ValueError(message)

    @property
    def created_event(self) -> str:
        """The event of a new row."""
        return self.created or f"{self.entity}_created"

    @property
    def updated_event(self) -> str:
        """The event of a changed row."""
        return self.updated or f"{self.entity}_updated"

    @property
    def removed_event(self) -> str:
        """The event of a removed row."""
        return self.removed or f"{self.entity}_removed"
