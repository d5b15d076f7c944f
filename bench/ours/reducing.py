"""Ours for what an observation of a pull costs: the reducer, and a log made ready to be compared; without a store.

Beside each, in turns, the least that could be done with the same: the observation encoded and decoded once, and one
pass of one expression over the log that takes the escape codes out.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable

import msgspec

from bench.peers.answer import Answer, serve
from holdfast.fleet.pulls.facts import Check, Observation, Pull, Sight
from holdfast.fleet.pulls.reducer import reduce
from holdfast.fleet.reactions.signature import normalise

CHECKS, STEPS, LOG = 30, 4, 65_536
_TAIL = 4_096
_NOW = "2026-11-21T10:00:00.000000Z"
_HEAD, _BASE = "a" * 40, "b" * 40
_REPEATS = {"same": 40, "news": 20, "log": 3}
_CODES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_WORDS = (
    *("error", "warning", "unused", "variable", "expected", "found", "the", "of", "type", "in", "function", "trait"),
    *("bound", "is", "not", "satisfied", "help", "consider", "using", "note", "required", "by", "this", "roof", "wall"),
    *("src", "main", "lib", "build", "debug", "target"),
)


def _checks(state: str, log: str = "") -> tuple[Check, ...]:
    ended = {"step": "exit status 1", "exit_status": 1, "tail": log, "finished_at": _NOW} if log else {}
    told = {"commit": _HEAD, "base_commit": _BASE, "state": state, "started_at": _NOW, **ended}
    return tuple(msgspec.convert({"name": f"check {number}", **told}, Check) for number in range(CHECKS))


def _pull(checks: tuple[Check, ...]) -> Pull:
    return Pull(
        id="bench.1", project="bench", number=1, forge="local", session="bench-1", opened_by="bench-1", opened_at=_NOW,
        branch="holdfast/bench-1", base="main", head=_HEAD, base_commit=_BASE, title="A pull", checks=checks,
        expected=tuple(check.name for check in checks),
    )  # fmt: skip


def _observation(pull: Pull, checks: tuple[Check, ...]) -> Observation:
    sight = Sight(**{name: getattr(pull, name) for name in Sight.__struct_fields__})
    return Observation(pull=pull.id, sight=sight, checks=checks)


def _logs() -> dict[str, str]:
    """Logs of three kinds, always the same ones."""
    some = random.Random(1)
    lines_of: dict[str, Callable[[int], str]] = {
        "tests": _of_tests, "stamped": _of_stamps, "words": lambda _: _of_words(some)
    }  # fmt: skip
    logs = {}
    for kind, line in lines_of.items():
        lines = [line(some.randint(1, 99_999)) for _ in range(2 * LOG // 40)]
        logs[kind] = "".join(lines)[:LOG]
        assert len(logs[kind]) == LOG
    return logs


def _of_tests(n: int) -> str:
    """As a test runner prints, with a failure now and then."""
    line = f"tests/unit/test_roof_{n % 999}.py::test_wall_{n % 999} \x1b[32mPASSED\x1b[0m [ {n % 100}%]\n"
    if n % 7:
        return line
    return (
        f"{line}>       assert roof.height(tmp_path) == {n}\nE       AssertionError: assert {n + 1} == {n}\n"
        f"E        + where {n + 1} = <Roof object at 0x7f{n:06x}a0>.height('/tmp/pytest-of-ada/pytest-{n}/roof0')\n"
        f"\ntests/unit/test_roof.py:{n % 999}: AssertionError\n=== 1 failed, {n} passed in {n / 10}s ===\n"
    )


def _of_stamps(n: int) -> str:
    """As a service of builds prints: nearly everything in it differs from run to run."""
    return (
        f"2026-11-21T16:{n % 60:02}:{n % 59:02}.{n:07}Z [INFO] worker-{n % 9} (pid {n}) compiling crate_{n % 77} "
        f"v1.{n % 30}.0 commit {n * 7919:010x} in {n % 900} ms at 127.0.0.1:{n}\n"
    )


def _of_words(some: random.Random) -> str:
    """As a compiler prints: words, hardly anything to be left out."""
    said = " ".join(some.choice(_WORDS) for _ in range(12))
    return f"{said} --> src/{some.choice(_WORDS)}.rs:{some.randint(1, 500)}:{some.randint(1, 80)}\n"


_RUNNING, _FAILED = _checks("running"), _checks("failed", _logs()["tests"][:_TAIL])
_BEFORE, _AFTER = _pull(_RUNNING), _pull(_FAILED)
_LOGS = _logs()


def _copied(observation: Observation) -> Observation:
    return msgspec.json.decode(msgspec.json.encode(observation), type=Observation)


#: What is the same is equal, and not the very objects that are known.
_NEWS, _SAME = _observation(_BEFORE, _FAILED), _copied(_observation(_AFTER, _FAILED))


def _ms(act: Callable[[], object], repeats: int) -> float:
    """Processor time of one."""
    begin = time.process_time()
    for _ in range(repeats):
        act()
    return (time.process_time() - begin) * 1e3 / repeats


def observed() -> Answer:
    """An observation in which nothing is new, and one in which all of its checks have failed."""
    assert len(reduce(_BEFORE, _NEWS, _NOW).checks) == CHECKS
    assert not reduce(_AFTER, _SAME, _NOW).news
    return {
        "same": _ms(lambda: reduce(_AFTER, _SAME, _NOW), _REPEATS["same"]),
        "news": _ms(lambda: reduce(_BEFORE, _NEWS, _NOW), _REPEATS["news"]),
        "floor": _ms(lambda: _copied(_NEWS), _REPEATS["news"]),
    }


def log(kind: str) -> Answer:
    """A log of this kind made ready to be compared."""
    text = _LOGS[kind]
    return {
        "ours": _ms(lambda: normalise(text), _REPEATS["log"]),
        "floor": _ms(lambda: _CODES.sub("", text), _REPEATS["log"]),
    }


def kinds() -> Answer:
    """The kinds of logs, and how long what is left of each is."""
    return {"left": {kind: len(normalise(text)) for kind, text in _LOGS.items()}}


if __name__ == "__main__":
    serve({"observed": observed, "log": log, "kinds": kinds})
