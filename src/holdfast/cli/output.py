"""What reaches the terminal: tables and colour only on one, JSON on request, never a control character from outside."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer

# C0 and C1 controls but tab and newline, and the marks that turn the direction of writing around.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def clean(text: object) -> str:
    """Text of the outside world, safe for a terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(text))


def cell(value: object) -> str:
    """A value as it stands in one line of a table."""
    match value:
        case None:
            return "-"
        case str():
            shown = value
        case Mapping():
            shown = json.dumps(value, ensure_ascii=False)
        case list() | tuple():
            shown = ", ".join(map(str, value)) or "-"
        case _:
            shown = str(value)
    return clean(shown).replace("\n", " ").replace("\t", " ")


def say(text: str) -> None:
    """One line for the person."""
    typer.echo(clean(text))


def complain(text: str) -> None:
    """One line on the error stream."""
    typer.echo(clean(text), err=True)


def as_json(value: object, *, indent: int | None = 2) -> None:
    """A value for a program; what JSON leaves unescaped and a terminal would obey is escaped here."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    typer.echo(_CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text))


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, empty: str) -> None:
    """Rows under headings on a terminal; elsewhere one line a row with tabs, for `cut` and `awk`."""
    lines = [[cell(row.get(name)) for name in columns] for row in rows]
    if not sys.stdout.isatty():
        for line in lines:
            typer.echo("\t".join(line))
        return
    if not lines:
        typer.echo(empty)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        drawn.add_column(name.replace("_", " ").upper(), overflow="fold")
    for line in lines:
        drawn.add_row(*map(Text, line))
    Console().print(drawn)


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """Names and values, one a line."""
    known = [(name, cell(value)) for name, value in pairs]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        typer.echo(f"{name:<{width}}  {value}")
