"""Named SQL: statements live in `.sql` files, are loaded at import, and are written once for both engines.

A file holds blocks of `-- name: NAME` (both engines) or `-- name: NAME [sqlite]` / `[postgres]`, each followed by one
statement with `:parameter` placeholders.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

_HEADING = re.compile(r"^-- name: (?P<name>[a-z][a-z0-9_]*)(?: \[(?P<dialect>sqlite|postgres)\])?\s*$", re.MULTILINE)
# What must not be read for placeholders (quoted text, comments, casts), then a placeholder.
_TOKEN = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|::|:(?P<param>[a-z][a-z0-9_]*)")
_READS = re.compile(r"^\s*(select|values|with(?![\s\S]*\b(insert|update|delete)\b))\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Query:
    """One named statement in both dialects."""

    name: str
    sqlite: str
    postgres: str
    params: frozenset[str]
    #: Whether the statement only reads, in each dialect.
    sqlite_reads: bool
    postgres_reads: bool


class Queries:
    """The statements of one file, as attributes."""

    def __init__(self, source: str, found: dict[str, Query]) -> None:
        self._source = source
        self._found = found

    def __getattr__(self, name: str) -> Query:
        """The statement of that name; a wrong name fails where it is used first, which is at import."""
        try:
            return self._found[name]
        except KeyError:
            known = ", ".join(sorted(self._found))
            message = f"{self._source} has no statement {name!r}; it has: {known}"
            raise AttributeError(message) from None

    def __iter__(self) -> Iterator[Query]:
        """Every statement of the file."""
        return iter(self._found.values())


def for_postgres(sql: str) -> str:
    """`:name` placeholders as psycopg wants them; a literal % is doubled."""

    def swap(match: re.Match[str]) -> str:
        param = match["param"]
        return f"%({param})s" if param else match[0].replace("%", "%%")

    pieces, last = [], 0
    for match in _TOKEN.finditer(sql):
        pieces += [sql[last : match.start()].replace("%", "%%"), swap(match)]
        last = match.end()
    return "".join([*pieces, sql[last:].replace("%", "%%")])


def query(name: str, *, sqlite: str, postgres: str | None = None) -> Query:
    """A statement made by the trigger generator, the filter composer or a test."""
    text = postgres if postgres is not None else sqlite
    params = frozenset(m["param"] for m in _TOKEN.finditer(sqlite + "\n" + text) if m["param"])
    reads = [_READS.match(each) is not None for each in (sqlite, text)]
    return Query(name, sqlite, for_postgres(text), params, *reads)


def parse(text: str, source: str) -> Queries:
    """The statements of a file's text."""
    headings = list(_HEADING.finditer(text))
    texts: dict[str, dict[str, str]] = {}
    for index, heading in enumerate(headings):
        end = headings[index + 1].start() if index + 1 < len(headings) else len(text)
        body = text[heading.end() : end].strip().removesuffix(";")
        dialects = [heading["dialect"]] if heading["dialect"] else ["sqlite", "postgres"]
        for dialect in dialects:
            if dialect in texts.setdefault(heading["name"], {}):
                message = f"{source}: statement {heading['name']!r} is there twice for {dialect}"
                raise ValueError(message)
            texts[heading["name"]][dialect] = body
    for name, both in texts.items():
        if len(both) != 2:  # noqa: PLR2004 - there are two dialects
            message = f"{source}: statement {name!r} is there for {', '.join(both)} only"
            raise ValueError(message)
    return Queries(source, {n: query(n, sqlite=t["sqlite"], postgres=t["postgres"]) for n, t in texts.items()})


def load(package: str, file: str) -> Queries:
    """The statements of `file` beside the modules of `package`."""
    return parse(resources.files(package).joinpath(file).read_text("utf-8"), f"{package}/{file}")
