"""What reaches the terminal: tables and colour only on one, JSON on request, never a control character from outside."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import typer

from holdfast.cli.failures import CommandError

# C0 and C1 controls but tab and newline, the marks that turn the direction of writing around, and what is no character
# at all: a byte of a file's name that is not UTF-8.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class ReaderGoneError(Exception):
    """Whoever read our output has seen enough."""


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
    _print(clean(text))


def complain(text: str) -> None:
    """One line on the error stream."""
    with suppress(OSError):  # there is nowhere left to complain to
        typer.echo(clean(text), err=True)


def as_json(value: object, *, indent: int | None = 2) -> None:
    """A value for a program; what JSON leaves unescaped and a terminal would obey is escaped here."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    _print(_CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text))


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, empty: str) -> None:
    """Rows under headings on a terminal; elsewhere one line a row with tabs, for `cut` and `awk`."""
    lines = [[cell(row.get(name)) for name in columns] for row in rows]
    if not sys.stdout.isatty():
        for line in lines:
            _print("\t".join(line))
        return
    if not lines:
        _print(empty)
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
        _print(f"{name:<{width}}  {value}")


def _print(text: str) -> None:
    try:
        typer.echo(text)
    except OSError as error:
        # What could not be written is still in the buffer: nothing more may be written, not even by the interpreter's
        # end, which would fail once more.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            # Not as the OSError that it is: for that one the command line library has an exit status of its own.
            raise ReaderGoneError from None
        message = f"The output cannot be written ({os.strerror(error.errno) if error.errno else error})."
        raise CommandError(message) from None
