"""A pack that has had three releases: the later ones bring a column, a table, an index and a watched column more."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from holdfast.core.changes.declare import Watched
from holdfast.core.pack import Pack

_NUMBERS = count(1)

#: Each release's schema in the SQL that both engines share.
_NOTES = {
    1: "CREATE TABLE notes (\n    id TEXT NOT NULL PRIMARY KEY,\n    text TEXT NOT NULL\n);\n",
    2: (
        "CREATE TABLE notes (id TEXT NOT NULL PRIMARY KEY, text TEXT NOT NULL, colour TEXT);\n"
        "CREATE INDEX notes_by_colour ON notes (colour);\n"
    ),
}
_COLOUR = """\
ALTER TABLE notes ADD COLUMN colour TEXT;
CREATE INDEX notes_by_colour ON notes (colour);
UPDATE notes SET colour = 'white';
"""
_NOTES[3] = (
    _NOTES[2] + "CREATE TABLE tags (name TEXT NOT NULL PRIMARY KEY, note TEXT NOT NULL REFERENCES notes (id));\n"
)

#: What each release brought.
STEPS = {
    1: ("20260101000000_initial", _NOTES[1]),
    2: ("20260201000000_colour", _COLOUR),
    3: (
        "20260301000000_tags",
        "CREATE TABLE tags (name TEXT NOT NULL PRIMARY KEY, note TEXT NOT NULL REFERENCES notes (id));\n",
    ),
}
LATEST = 3


class Evolving:
    """Makes the pack as one release shipped it, as a Python package of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder / "packages"
        self._folder.mkdir()
        monkeypatch.syspath_prepend(str(self._folder))

    def at(self, release: int, *, schema: str | None = None, steps: dict[int, tuple[str, str]] | None = None) -> Pack:
        """The pack of that release; with a schema or steps of its own where a test wants a faulty one."""
        package = f"evolving_{next(_NUMBERS)}"
        home = self._folder / package
        (home / "migrations").mkdir(parents=True)
        (home / "__init__.py").write_text("")
        for dialect in ("sqlite", "postgres"):
            (home / f"schema.{dialect}.sql").write_text(schema or _NOTES[release])
            for number, (stem, text) in {**STEPS, **(steps or {})}.items():
                if number <= release:
                    (home / "migrations" / f"{stem}.{dialect}.sql").write_text(text)
        watched = Watched(table="notes", entity="note", columns=("id", "text"), scope_of_all="test")
        if release > 1:
            watched = replace(watched, columns=("id", "text", "colour"))
        return Pack("evolving", package, watched=(watched,))
