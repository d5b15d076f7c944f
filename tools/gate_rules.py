"""The rules of the house as code: each reads one parsed file and yields what breaks it. Nothing here reads the disk."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

# Sizes: beyond the first number a line in the allow-list is needed, the second no line can lift.
FILE_LINES = (400, 700)
BODY_LINES = (40, 80)
CLASS_METHODS = 20
CLASS_FIELDS = 12
INIT_ARGUMENTS = 8

#: The only places that catch everything: whatever runs in these loops must not end them.
BROAD_EXCEPTS = {
    "src/holdfast/core/store/sqlite_writer.py",
    "src/holdfast/core/store/postgres_workers.py",
    "src/holdfast/core/lifecycle.py",
    "src/holdfast/core/web/boundary.py",
    "src/holdfast/core/propagation/foreign.py",
}
#: What composes SQL: the trigger generator; a composer of filters may join it when a list needs one.
COMPOSE_SQL = {"src/holdfast/core/changes/triggers.py"}

_LIFECYCLE = "src/holdfast/core/lifecycle.py"
_CLOCK = "src/holdfast/core/clock.py"
_IDS = "src/holdfast/core/ids.py"
#: What may be called only by the modules that own it.
OWNED_CALLS = {
    "asyncio.create_task": {_LIFECYCLE},
    "asyncio.ensure_future": {_LIFECYCLE},
    "datetime.datetime.now": {_CLOCK},
    "datetime.datetime.utcnow": {_CLOCK},
    "datetime.datetime.today": {_CLOCK},
    "datetime.date.today": {_CLOCK},
    "time.sleep": {_CLOCK},
    "time.time": {_CLOCK, _IDS},
    "time.time_ns": {_CLOCK, _IDS},
    "uuid.uuid1": {_IDS},
    "uuid.uuid4": {_IDS},
    "os.urandom": {_IDS},
}
#: What may be imported only by the modules that own it; an empty set means by nobody.
OWNED_IMPORTS: dict[str, set[str]] = {
    "random": {_IDS},
    "secrets": {_IDS},
    # A second SQLite library in the process breaks the locks of the first when it closes the same file.
    "sqlite3": set(),
    "aiosqlite": set(),
    "adbc_driver_sqlite": set(),
    "connectorx": set(),
    "duckdb": set(),
    # Third-party SSE helpers encode per subscriber.
    "sse_starlette": set(),
}
DECIDERS = re.compile(r"(^|/)(decide[rs]?|decide_\w+|reducers?|schedules?|folds?|decoders?)(/|\.py$)")
_IMPURE = re.compile(r"^(asyncio|time|random|socket|subprocess|threading|apsw|psycopg|holdfast\.core\.(store|clock))\b")
BAD_NAMES = re.compile(r"^(utils?|helpers?|common|misc|stuff|.*\w2|.*(issue|ticket|bug|gh)_?\d+.*)$")

_WORDS = (
    r"SELECT\b[\s\S]+?\bFROM\b|SELECT\s+\w+\(|INSERT\s+(OR\s+\w+\s+)?INTO\b|REPLACE\s+INTO\b|UPDATE\s+\S+\s+SET\b|"
    r"DELETE\s+FROM\b|CREATE\s+(TEMP\s+|TEMPORARY\s+|UNIQUE\s+|OR\s+REPLACE\s+)?(TABLE|INDEX|TRIGGER|VIEW|SCHEMA|"
    r"FUNCTION)\b|ALTER\s+(TABLE|SYSTEM|DATABASE)\b|DROP\s+(TABLE|INDEX|TRIGGER|VIEW|SCHEMA|FUNCTION|DATABASE)\b|"
    r"PRAGMA\s+\w+|WITH\s+\w+\s+AS\s*\(|TRUNCATE\s+\w+|ATTACH\s+\S+\s+AS\b|SET\s+(LOCAL|SESSION|TRANSACTION)\b|"
    r"SAVEPOINT\s+\w+|RELEASE\s+\w+$|ROLLBACK\s+TO\b|BEGIN\s+(IMMEDIATE|EXCLUSIVE|DEFERRED|ISOLATION)|COPY\s+\S+\s+"
    r"(TO|FROM)\b|LOCK\s+TABLE\b|VACUUM\s+INTO\b"
)
_SQL = re.compile(rf"^\s*(--[^\n]*\n\s*)*({_WORDS})", re.IGNORECASE)
# Words that are plain English in lower case.
_SQL_SHOUTED = re.compile(r"^\s*(BEGIN|COMMIT|ROLLBACK|LISTEN \S+|NOTIFY \S+|UNLISTEN \S+|VACUUM|ANALYZE)\b\s*;?\s*$")


@dataclass(frozen=True)
class Source:
    """One Python file, by its path from the root."""

    path: str
    text: str
    tree: ast.Module

    def below(self, *folders: str) -> bool:
        """Whether the file lies in one of these folders."""
        return self.path.startswith(tuple(f"{folder}/" for folder in folders))


@dataclass(frozen=True)
class Finding:
    """What breaks a gate; `where` names it without line numbers, so that an allowed one keeps its name."""

    gate: str
    path: str
    where: str
    message: str
    size: int = 0
    hard: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        """What the allow-list calls it."""
        return self.gate, self.path, self.where


Rule = Callable[[Source], Iterator[Finding]]
RULES: dict[str, Rule] = {}


def rule(name: str) -> Callable[[Rule], Rule]:
    """Register a gate under its name."""

    def register(check: Rule) -> Rule:
        RULES[name] = check
        return check

    return register


def scopes(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Every class and function with its dotted name."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.ClassDef | FunctionNode):
            name = f"{prefix}{child.name}"
            yield name, child
            yield from scopes(child, f"{name}.")
        else:
            yield from scopes(child, prefix)


def enclosing(source: Source) -> dict[int, str]:
    """The dotted name around every node, by the node's identity."""
    around: dict[int, str] = {}

    def walk(node: ast.AST, name: str) -> None:
        for child in ast.iter_child_nodes(node):
            around[id(child)] = name
            inner = f"{name}.{child.name}".lstrip(".") if isinstance(child, ast.ClassDef | FunctionNode) else name
            walk(child, inner)

    walk(source.tree, "")
    return around


def imported(tree: ast.AST) -> dict[str, str]:
    """What every imported name stands for, wherever in the file it is imported."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def dotted(node: ast.AST, names: dict[str, str]) -> str:
    """The full name of `a.b.c` with its first part looked up among the imports; empty for anything else."""
    match node:
        case ast.Name(id=name):
            return names.get(name, "")
        case ast.Attribute(value=value, attr=attr):
            base = dotted(value, names)
            return f"{base}.{attr}" if base else ""
        case _:
            return ""


def modules_imported(tree: ast.AST) -> Iterator[str]:
    """The full name of every module, or name in a module, that is imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _over(gate: str, source: Source, where: str, size: int, limits: tuple[int, int]) -> Iterator[Finding]:
    soft, hard = limits
    if size > soft:
        text = f"{size} lines, more than {soft}" + (f" and than {hard}, which nothing lifts" if size > hard else "")
        yield Finding(gate, source.path, where, text, size, hard=size > hard)


@rule("file-size")
def file_size(source: Source) -> Iterator[Finding]:
    """A file that grows past a screenful of screens does too many things."""
    yield from _over("file-size", source, "-", len(source.text.splitlines()), FILE_LINES)


@rule("body-size")
def body_size(source: Source) -> Iterator[Finding]:
    """A function body, without its docstring."""
    if source.below("tests", "bench"):
        return
    for name, node in scopes(source.tree):
        if isinstance(node, FunctionNode):
            body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1
            yield from _over("body-size", source, name, lines, BODY_LINES)


def _fields(node: ast.ClassDef) -> set[str]:
    found = set()
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            if "ClassVar" not in ast.unparse(item.annotation):
                found.add(item.target.id)
        elif isinstance(item, FunctionNode) and item.name == "__init__":
            for inner in ast.walk(item):
                if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
                    found.add(inner.attr)
    return found


@rule("class-size")
def class_size(source: Source) -> Iterator[Finding]:
    """A class of many methods or fields is several classes."""
    if source.below("tests", "bench"):
        return
    for name, node in scopes(source.tree):
        if not isinstance(node, ast.ClassDef):
            continue
        methods = {item.name for item in node.body if isinstance(item, FunctionNode)}
        if len(methods) > CLASS_METHODS:
            text = f"{len(methods)} methods, more than {CLASS_METHODS}"
            yield Finding("class-size", source.path, f"{name}.methods", text, len(methods))
        fields = _fields(node)
        if len(fields) > CLASS_FIELDS:
            text = f"{len(fields)} fields, more than {CLASS_FIELDS}"
            yield Finding("class-size", source.path, f"{name}.fields", text, len(fields))


@rule("constructor-size")
def constructor_size(source: Source) -> Iterator[Finding]:
    """What needs many things to be made should be given fewer, larger ones."""
    for name, node in scopes(source.tree):
        if isinstance(node, FunctionNode) and node.name == "__init__":
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs][1:]
            if len(given) > INIT_ARGUMENTS:
                text = f"{len(given)} constructor arguments, more than {INIT_ARGUMENTS}"
                yield Finding("constructor-size", source.path, name, text, len(given))


def _strings(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | FunctionNode) and ast.get_docstring(node) is not None:
            first = node.body[0]
            if isinstance(first, ast.Expr):
                inside.add(id(first.value))
        if isinstance(node, ast.JoinedStr):
            inside.update(id(part) for part in node.values)
            yield node, "".join(str(p.value) if isinstance(p, ast.Constant) else "x" for p in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node, node.value


@rule("sql-string")
def sql_string(source: Source) -> Iterator[Finding]:
    """SQL lives in `.sql` files, where it is named, reviewed and written once for both engines."""
    if not source.below("src") or source.path in COMPOSE_SQL:
        return
    around = enclosing(source)
    for node, text in _strings(source.tree):
        if _SQL.match(text) or _SQL_SHOUTED.match(text):
            where = around.get(id(node), "") or "module"
            sample = " ".join(text.split())[:50]
            yield Finding("sql-string", source.path, where, f"line {getattr(node, 'lineno', 0)}: SQL: {sample!r}")


@rule("owned-call")
def owned_call(source: Source) -> Iterator[Finding]:
    """Time, randomness and tasks come from the modules that own them, so that a test can own them instead."""
    if not source.below("src"):
        return
    names, around = imported(source.tree), enclosing(source)
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Name | ast.Attribute):
            continue
        name = dotted(node, names)
        if isinstance(node, ast.Attribute) and node.attr == "create_task":
            name = "asyncio.create_task"
        if name in OWNED_CALLS and source.path not in OWNED_CALLS[name]:
            owners = " or ".join(sorted(OWNED_CALLS[name]))
            where = around.get(id(node), "") or "module"
            yield Finding("owned-call", source.path, where, f"line {node.lineno}: {name} belongs to {owners}")


@rule("owned-import")
def owned_import(source: Source) -> Iterator[Finding]:
    """Libraries that only one module, or none, may load."""
    if not source.below("src"):
        return
    for module in modules_imported(source.tree):
        top = module.partition(".")[0]
        if top in OWNED_IMPORTS and source.path not in OWNED_IMPORTS[top]:
            owners = " or ".join(sorted(OWNED_IMPORTS[top])) or "nobody"
            yield Finding("owned-import", source.path, top, f"{top} may be imported by {owners}")


@rule("broad-except")
def broad_except(source: Source) -> Iterator[Finding]:
    """Catching everything hides bugs; one that cleans up and raises again hides nothing."""
    if not source.below("src") or source.path in BROAD_EXCEPTS:
        return
    around = enclosing(source)
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        broad = any(item is None or ast.unparse(item) in {"Exception", "BaseException"} for item in caught)
        last = node.body[-1]
        if broad and not (isinstance(last, ast.Raise) and last.exc is None):
            where = around.get(id(node), "") or "module"
            yield Finding("broad-except", source.path, where, f"line {node.lineno}: catches everything and goes on")
    names = imported(source.tree)
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call) or dotted(node.func, names) != "contextlib.suppress":
            continue
        if any(ast.unparse(item) in {"Exception", "BaseException"} for item in node.args):
            where = around.get(id(node), "") or "module"
            yield Finding("broad-except", source.path, where, f"line {node.lineno}: suppresses everything")


@rule("pure-decider")
def pure_decider(source: Source) -> Iterator[Finding]:
    """Deciders, schedules, folds and decoders take facts and a time, and give facts and effects."""
    if not source.below("src") or not DECIDERS.search(source.path):
        return
    for module in modules_imported(source.tree):
        if _IMPURE.match(module):
            yield Finding("pure-decider", source.path, module, f"a decider imports {module}")


@rule("module-docstring")
def module_docstring(source: Source) -> Iterator[Finding]:
    """A module says in one line what it owns."""
    if source.below("tests") and not source.below("tests/plugins"):
        return
    doc = ast.get_docstring(source.tree) or ""
    first = doc.split("\n\n")[0].strip()
    if not first:
        yield Finding("module-docstring", source.path, "-", "no docstring says what this module owns")


@rule("file-name")
def file_name(source: Source) -> Iterator[Finding]:
    """A file is named by the thing in it, in the words of the domain."""
    for part in (*PurePosixPath(source.path).parts[:-1], PurePosixPath(source.path).stem):
        if BAD_NAMES.match(part.removeprefix("test_")):
            yield Finding("file-name", source.path, part, f"{part!r} says nothing, or names a ticket")


@rule("sleeping-test")
def sleeping_test(source: Source) -> Iterator[Finding]:
    """A test waits for a signal, never for a while; giving way once (`asyncio.sleep(0)`) is no wait."""
    if not source.below("tests"):
        return
    names, around = imported(source.tree), enclosing(source)
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call) or dotted(node.func, names) not in {"time.sleep", "asyncio.sleep"}:
            continue
        if not (node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0):
            where = around.get(id(node), "") or "module"
            yield Finding("sleeping-test", source.path, where, f"line {node.lineno}: sleeps instead of waiting")


@rule("uncounted-skip")
def uncounted_skip(source: Source) -> Iterator[Finding]:
    """A test is skipped only by `needs`, which names the program that is missing and is counted."""
    if not source.below("tests") or source.path == "tests/plugins/needs.py":
        return
    names, around = imported(source.tree), enclosing(source)
    forbidden = {"pytest.skip", "pytest.xfail", "pytest.importorskip", "pytest.mark.skip", "pytest.mark.skipif"}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Name | ast.Attribute) and dotted(node, names) in {*forbidden, "pytest.mark.xfail"}:
            where = around.get(id(node), "") or "module"
            yield Finding("uncounted-skip", source.path, where, f"line {node.lineno}: skips without `needs`")
