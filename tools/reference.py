"""Writes docs/reference and the table of AGENTS.md from the code; with `--check` it fails when a page is stale."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import typer

import fleet_reference
import holdfast
import notify_reference
from holdfast import settings
from holdfast.cli.main import app
from holdfast.core import faults
from holdfast.core.errors import HoldfastError
from holdfast.core.pack import Pack
from holdfast.core.propagation import view
from holdfast.core.propagation.kinds import Kind
from holdfast.core.web.routes import Route

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = "docs/reference"
AGENTS = "AGENTS.md"
#: Where the generated part of AGENTS.md begins.
_FILES = "<!-- files: generated from the modules' docstrings by `make docs`; do not edit below -->\n"
_NOTE = "Generated from the code by `make docs`; do not edit.\n"


def modules() -> list[ModuleType]:
    """Every module of the package, imported; only the one that would run the program is left out."""
    names = [info.name for info in pkgutil.walk_packages(holdfast.__path__, "holdfast.")]
    return [holdfast, *(importlib.import_module(name) for name in names if not name.endswith("__main__"))]


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|") or "-"


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    names = list(head)
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    lines += [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _commands(command: Any, words: str) -> Iterator[tuple[str, Any]]:
    if command.hidden:
        return
    yield words, command
    for name in sorted(getattr(command, "commands", {})):
        yield from _commands(command.commands[name], f"{words} {name}")


def cli() -> str:
    """The help of every command."""
    parts = [
        "# The command line\n",
        _NOTE,
        "Exit codes: 0 done, 1 the daemon or the operation failed, 2 wrong usage, 3 the daemon is not running.\n",
    ]
    for words, command in _commands(typer.main.get_command(app), "holdfast"):
        parts.append(f"## `{words}`\n")
        context = command.make_context(words, [], resilient_parsing=True, terminal_width=100, color=False)
        text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
        parts.append(f"```text\n{text}\n```\n")
    return "\n".join(parts)


def _of_type(found: list[ModuleType], kind: type[Any]) -> list[Any]:
    """Every object of a kind that stands in a module, alone or in a table; each once."""
    seen: dict[int, Any] = {}
    for module in found:
        for value in vars(module).values():
            for item in value if isinstance(value, tuple | list) else (value,):
                if isinstance(item, kind):
                    seen.setdefault(id(item), item)
    return list(seen.values())


def routes(found: list[ModuleType]) -> str:
    """Every route with its access rule."""
    rows = sorted(_of_type(found, Route), key=lambda route: (route.path, route.method))
    listed = [
        (
            f"`{route.method} {route.path}`",
            route.access.value,
            route.summary,
            f"`{route.audit}`" if route.audit else "-",
            ", ".join(map(str, route.statuses)),
            ", ".join(f"`{error.code}`" for error in route.errors) or "-",
        )
        for route in rows
    ]
    head = ("route", "access", "what it does", "act on record", "status", "errors of its own")
    words = "The full shapes are in the OpenAPI 3.1 document at `/api/v1/openapi.json` of a running daemon.\n"
    return "\n".join(["# HTTP routes\n", _NOTE, words, table(head, listed)])


def _kind(annotation: object) -> str:
    text = annotation.__name__ if type(annotation) is type else str(annotation)
    return re.sub(r"\b(?:typing|pathlib|holdfast\.sections)\.(?:_local\.)?", "", text)


def _default(field: Any) -> str:
    value = field.get_default(call_default_factory=False)
    if field.is_required():
        return "-"
    return f"`{json.dumps(value, default=str)}`"


def settings_page() -> str:
    """Every setting: its key in the file, its variable, its default."""
    rows = [
        (f"`{key}`", f"`{settings.variable(key)}`", f"`{_kind(field.annotation)}`", _default(field), field.description)
        for key, field in settings.walk()
    ]
    words = (
        f"In `{settings.FILE}` of the data folder (or the file named by `--config`), a dotted key is a section and a "
        "name: `log.level` is `level` under `[log]`. A variable goes before the file, the command line before both. An "
        "unknown key is an error that names the nearest known one.\n"
    )
    listed = table(("key", "variable", "type", "default", "meaning"), rows)
    return "\n".join(["# Settings\n", _NOTE, words, listed, notify_reference.channel_settings(table, _default)])


def points() -> str:
    """Every fault point."""
    rows = [(f"`{name}`", point.doc) for name, point in sorted(faults.points().items())]
    words = (
        "A test arms a point to wait, raise or die there; in production they cost one truth test. A process of its own "
        "is armed by `HOLDFAST_FAULTS=<point>=<die|stop|raise>[@<nth hit>]`.\n"
    )
    return "\n".join(["# Fault points\n", _NOTE, words, table(("point", "where it is"), rows)])


def _errors(kind: type[HoldfastError]) -> Iterator[type[HoldfastError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _errors(child)


def errors() -> str:
    """Every error that Holdfast can explain."""
    known: dict[str, type[HoldfastError]] = {}
    for kind in _errors(HoldfastError):
        if kind is not faults.FaultRaisedError:
            known.setdefault(kind.code, kind)  # a refinement without a code of its own never leaves its module
    rows = [
        (f"`{code}`", kind.http_status, "yes" if kind.retryable else "no", kind.__doc__)
        for code, kind in sorted(known.items())
    ]
    words = (
        '`{"error":{"code","message","details","request_id"}}`; the message says what happened, to what, what to do.\n'
    )
    return "\n".join(["# Errors\n", _NOTE, words, table(("code", "HTTP", "try again", "meaning"), rows)])


def events(packs: list[Pack]) -> str:
    """Every watched table and its events."""
    rows = []
    for pack in packs:
        for watched in pack.watched:
            scope = f"`{watched.scope_of_all}`" if watched.scope_of_all else f"the row's `{watched.scope}`"
            on = f" (of {', '.join(watched.updates_on)})" if watched.updates_on else ""
            names = f"`{watched.created_event}`, `{watched.updated_event}`{on}, `{watched.removed_event}`"
            columns = ", ".join(f"`{name}`" for name in watched.columns)
            rows.append((pack.name, f"`{watched.table}`", f"`{watched.entity}`", scope, names, columns))
    words = (
        "The payload of a change is the watched columns as they are after it, and `changed`: the names of those that "
        "differ from before (all for a new row, none for a removed one, whose payload is the row as it last was).\n"
    )
    head = ("pack", "table", "entity", "scope", "events: created, updated, removed", "watched columns")
    return "\n".join(["# Events of the change log\n", _NOTE, words, table(head, rows)])


def acts(packs: list[Pack]) -> str:
    """Every act that is kept on record."""
    rows = [(pack.name, f"`{kind.name}`", kind.doc) for pack in packs for kind in pack.audit]
    words = "What people, tokens and the daemon itself do; read them with `holdfast audit`.\n"
    return "\n".join(["# Acts on record\n", _NOTE, words, table(("pack", "act", "meaning"), rows)])


def _ceilings(kind: Kind[Any]) -> str:
    return f"dead at failure {kind.max_attempts}, or at {kind.max_starts} starts without an outcome"


def _order(kind: Kind[Any]) -> str:
    """What its rules are besides its ceilings, in words."""
    rules = {"pending": ["one of a key while pending"], "forever": ["a key is used once for ever"], "no": []}[
        kind.unique
    ]
    if kind.ordered:
        rules.append("in order, behind what is dead too" if kind.dead_blocks else "in order")
    if kind.jitter:
        rules.append("full jitter")
    if not kind.held_after_restore:
        rules.append("not held after a restore")
    return "; ".join([*rules, *(f"only if {condition.name}: {condition.doc}" for condition in kind.conditions)])


def propagations(packs: list[Pack]) -> str:
    """Every kind of effect, and every table of delays."""
    tables = [
        (f"`{table.name}`", table.doc, table.attempts, table.horizon, ", ".join(map(view.spoken, table.delays)))
        for table in view.schedules()
    ]
    kinds = [
        (
            pack.name,
            f"`{kind.name}`",
            kind.doc,
            f"`{kind.schedule.name}`, {view.spoken(kind.horizon.total_seconds())}",
            _ceilings(kind),
            f"{kind.timeouts.call:g} < {kind.timeouts.item:g} < {kind.timeouts.lease:g} s",
            f"{kind.concurrency} x {kind.batch}",
            _order(kind),
        )
        for pack in packs
        for kind in sorted(pack.kinds, key=lambda kind: kind.name)
    ]
    words = (
        "Effects on the outside world, each a row that is owed until it is done. A failure is tried again after the "
        "next delay of its kind's schedule; the failure after the last delay is its death. The horizon is the time "
        "from the first failure to the last, without jitter. `holdfast jobs` shows them and redrives the dead.\n"
    )
    head = ("pack", "kind", "what it does", "schedule, horizon", "ceilings", "call, item, lease", "at once", "rules")
    schedules = table(("schedule", "meant for", "tries", "horizon", "delays"), tables)
    listed = table(head, kinds) if kinds else "No kind is registered.\n"
    return f"# Propagations\n\n{_NOTE}\n{words}\n## Schedules\n\n{schedules}\n## Kinds\n\n{listed}"


def _layer(path: str) -> str:
    """The part of the code that a file belongs to: two folders deep in the core, one elsewhere."""
    parts = path.removeprefix("src/holdfast/").split("/")[:-1]
    return "/".join(parts[:2]) if parts and parts[0] == "core" else (parts[0] if parts else "-")


def files() -> str:
    """Layer, file, responsibility: what each module says of itself."""
    rows = []
    for path in sorted((ROOT / "src" / "holdfast").rglob("*.py")):
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        name = path.relative_to(ROOT).as_posix()
        if path.name != "__init__.py":
            rows.append((_layer(name), f"`{name.removeprefix('src/holdfast/')}`", doc.split("\n\n")[0]))
    order = sorted(rows, key=lambda row: (row[0] != "-", row[0], row[1]))
    return "\nPaths are below `src/holdfast/`.\n\n" + table(("layer", "file", "responsibility"), order)


def agents(present: str) -> str:
    """AGENTS.md with its table written anew."""
    return present.partition(_FILES)[0] + _FILES + files()


def pages() -> dict[str, str]:
    """Every generated file by its path."""
    found = modules()
    packs = sorted(_of_type(found, Pack), key=lambda pack: (pack.name != "core", pack.name))
    made: dict[str, Callable[[], str]] = {
        "cli": cli,
        "routes": lambda: routes(found),
        "settings": settings_page,
        "faults": points,
        "errors": errors,
        "events": lambda: events(packs),
        "acts": lambda: acts(packs),
        "propagations": lambda: propagations(packs),
        "notices": lambda: notify_reference.notices(_NOTE, packs, table),
        "sessions": lambda: fleet_reference.sessions(_NOTE),
        "reactions": lambda: fleet_reference.reactions(_NOTE),
        "agents": lambda: fleet_reference.agents(_NOTE, table),
    }
    written = {f"{REFERENCE}/{name}.md": make().rstrip() + "\n" for name, make in made.items()}
    return {**written, AGENTS: agents((ROOT / AGENTS).read_text(encoding="utf-8"))}


def stale(made: dict[str, str], root: Path = ROOT) -> list[str]:
    """The files that differ from what the code says, and pages that the code says nothing of."""
    there = {f"{REFERENCE}/{path.name}" for path in (root / REFERENCE).glob("*.md")}
    wrong = there - made.keys()
    for name, text in made.items():
        path = root / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            wrong.add(name)
    return sorted(wrong)


def main() -> int:
    """Write, or compare."""
    made = pages()
    if sys.argv[1:] == ["--check"]:
        wrong = stale(made)
        for name in wrong:
            print(f"{name} is stale: run `make docs`")
        return 1 if wrong else 0
    (ROOT / REFERENCE).mkdir(parents=True, exist_ok=True)
    for name, text in made.items():
        (ROOT / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
