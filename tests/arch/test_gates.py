"""Every gate is shown red on a sample and green on its mended form; the allow-list can only shrink."""

from __future__ import annotations

import ast

import pytest

import gates
from gate_rules import BROAD_EXCEPTS, COMPOSE_SQL, OWNED_CALLS, OWNED_IMPORTS, RULES, Finding, Source

SRC = "src/holdfast/core/sample.py"
DOC = '"""What it owns."""\n'


def lines(count: int) -> str:
    return "".join(f"    x{number} = {number}\n" for number in range(count))


def methods(count: int) -> str:
    return "".join(f"    def m{number}(self): ...\n" for number in range(count))


def arguments(count: int) -> str:
    return ", ".join(f"a{number}" for number in range(count))


# gate -> (path, a sample that breaks it, the same thing as it should be)
SAMPLES = {
    "file-size": (SRC, "x = 1\n" * 401, "x = 1\n" * 400),
    "body-size": (SRC, f"def f():\n{lines(41)}", f"def f():\n{lines(40)}"),
    "class-size": (SRC, f"class A:\n{methods(21)}", f"class A:\n{methods(20)}"),
    "constructor-size": (
        SRC,
        f"class A:\n    def __init__(self, {arguments(9)}): ...",
        f"class A:\n    def __init__(self, {arguments(8)}): ...",
    ),
    "sql-string": (SRC, 'run("SELECT a FROM b")', 'say("SELECT what you want")'),
    "owned-call": (SRC, "from time import sleep\nsleep(1)", "from holdfast.core.clock import SYSTEM\nSYSTEM.sleep(1)"),
    "owned-import": (SRC, "import sqlite3", "import apsw"),
    "broad-except": (
        SRC,
        "try:\n    f()\nexcept Exception:\n    pass",
        "try:\n    f()\nexcept Exception:\n    undo()\n    raise",
    ),
    "pure-decider": ("src/holdfast/fleet/decide.py", "import asyncio", "import dataclasses"),
    "module-docstring": (SRC, "x = 1", DOC + "x = 1"),
    "file-name": ("src/holdfast/core/utils.py", "x = 1", None),
    "sleeping-test": ("tests/unit/test_x.py", "import time\ntime.sleep(1)", "import asyncio\nasyncio.sleep(0)"),
    "uncounted-skip": ("tests/unit/test_x.py", "import pytest\npytest.skip('no')", "import pytest\npytest.mark.needs"),
}

# More ways to break a gate that a rule could miss.
ALSO_RED = [
    ("body-size", SRC, f"async def f():\n{lines(41)}"),
    ("class-size", SRC, "class A:\n" + "".join(f"    f{n}: int\n" for n in range(13))),
    ("class-size", SRC, "class A:\n    def __init__(self):\n" + "".join(f"        self.f{n} = 0\n" for n in range(13))),
    ("sql-string", SRC, 'q = f"select {x} from t"'),
    ("sql-string", SRC, "q = '''\n  INSERT INTO t VALUES (1)'''"),
    ("sql-string", SRC, 'q = "BEGIN IMMEDIATE"'),
    ("sql-string", SRC, 'q = "COMMIT"'),
    ("sql-string", SRC, 'q = "PRAGMA journal_mode=WAL"'),
    ("sql-string", SRC, 'q = "update t set a=1"'),
    ("owned-call", SRC, "import asyncio\nasyncio.create_task(f())"),
    ("owned-call", SRC, "async def f(group):\n    group.create_task(g())"),
    ("owned-call", SRC, "from datetime import datetime as d\nd.now()"),
    ("owned-call", SRC, "import datetime\ndatetime.datetime.now(datetime.UTC)"),
    ("owned-call", SRC, "from uuid import uuid4\nfactory = uuid4"),
    ("owned-call", SRC, "def f():\n    import time as t\n    t.sleep(1)"),
    ("owned-import", SRC, "from random import choice"),
    ("owned-import", SRC, "def f():\n    import duckdb"),
    ("owned-import", SRC, "import secrets"),
    ("broad-except", SRC, "try:\n    f()\nexcept:\n    pass"),
    ("broad-except", SRC, "try:\n    f()\nexcept (ValueError, BaseException):\n    pass"),
    ("broad-except", SRC, "import contextlib\nwith contextlib.suppress(Exception):\n    f()"),
    ("pure-decider", "src/holdfast/core/propagation/schedule.py", "from holdfast.core.clock import SYSTEM"),
    ("pure-decider", "src/holdfast/fleet/reducers/pulls.py", "from holdfast.core.store.port import Unit"),
    ("file-name", "tests/unit/test_issue_12.py", "x = 1"),
    ("file-name", "src/holdfast/core/manager2.py", "x = 1"),
    ("file-name", "src/holdfast/common/x.py", "x = 1"),
    ("uncounted-skip", "tests/unit/test_x.py", "import pytest\n@pytest.mark.skipif(True)\ndef test(): ..."),
    ("sleeping-test", "tests/unit/test_x.py", "import asyncio\nasync def test():\n    await asyncio.sleep(0.1)"),
]


def source(path: str, text: str) -> Source:
    return Source(path, text, ast.parse(text))


def broken(gate: str, path: str, text: str) -> list[Finding]:
    return list(RULES[gate](source(path, text)))


def test_every_gate_has_a_sample() -> None:
    assert set(SAMPLES) == set(RULES)


@pytest.mark.parametrize("gate", SAMPLES)
def test_a_gate_is_red_on_its_sample_and_green_on_the_mended_one(gate: str) -> None:
    path, bad, good = SAMPLES[gate]
    assert [finding.gate for finding in broken(gate, path, bad)] == [gate]
    if good is None:
        path, good = SRC, bad
    assert broken(gate, path, good) == []


@pytest.mark.parametrize(("gate", "path", "text"), ALSO_RED)
def test_a_gate_sees_through_another_spelling(gate: str, path: str, text: str) -> None:
    assert broken(gate, path, text)


@pytest.mark.parametrize(("size", "hard"), [(401, False), (700, False), (701, True)])
def test_beyond_the_second_number_no_line_of_the_allow_list_helps(size: int, hard: bool) -> None:
    (finding,) = broken("file-size", SRC, "x = 1\n" * size)
    assert finding.hard is hard
    assert bool(gates.judge([finding], {finding.key: 1000})) is True  # too generous, or not to be lifted
    assert bool(gates.judge([finding], {finding.key: size})) is hard


def test_an_owner_may_do_what_it_owns() -> None:
    for name, owners in OWNED_CALLS.items():
        for owner in owners:
            module, _, call = name.rpartition(".")
            assert broken("owned-call", owner, f"import {module.partition('.')[0]}\n{module}.{call}()") == []
    for module, owners in OWNED_IMPORTS.items():
        for owner in owners:
            assert broken("owned-import", owner, f"import {module}") == []


def test_the_modules_named_as_owners_and_exceptions_exist() -> None:
    named = {*BROAD_EXCEPTS, *COMPOSE_SQL, *(o for owners in OWNED_CALLS.values() for o in owners)}
    assert [path for path in sorted(named) if not (gates.ROOT / path).exists()] == []


FINDING = Finding("body-size", SRC, "f", "50 lines", 50)


def test_an_allowed_finding_passes_at_exactly_its_size() -> None:
    assert gates.judge([FINDING], {FINDING.key: 50}) == []


@pytest.mark.parametrize("size", [49, 51])
def test_a_size_that_grew_or_fell_must_be_looked_at(size: int) -> None:
    assert gates.judge([FINDING], {FINDING.key: size})


def test_a_line_that_is_no_longer_needed_must_go() -> None:
    assert gates.judge([], {FINDING.key: 50}) == [
        "tools/gates.allow: body-size " + SRC + " f is mended: take the line out"
    ]


def test_the_allow_list_cannot_grow() -> None:
    first = {FINDING.key: 50}
    assert gates.grown({FINDING.key: 40}, first) == []
    assert gates.grown({FINDING.key: 51}, first)
    assert gates.grown({("sql-string", SRC, "f"): 0}, first)


def test_a_line_of_the_allow_list_states_its_reason() -> None:
    assert gates.allowed("# a heading\nbody-size a.py f 50 # generated\n") == {("body-size", "a.py", "f"): 50}
    with pytest.raises(SystemExit):
        gates.allowed("body-size a.py f 50")
