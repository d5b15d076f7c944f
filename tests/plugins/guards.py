"""Checks every `guards` marker as it is collected, and writes lists of guarantees and outcomes for the tools.

A test that proves a guarantee says so:
`@pytest.mark.guards("<the guarantee>", against="<the failure it catches>", breaks=("<name of a patch>",))`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

_ALLOWED = {"against", "breaks"}


@dataclass(frozen=True)
class Guard:
    """One guarantee and the test that proves it; a test that runs on both engines is listed once."""

    test: str
    guarantee: str
    against: str
    breaks: tuple[str, ...]


def read(test: str, mark: pytest.Mark) -> Guard:
    """The guard that a marker states; a marker that states too little is refused."""
    if len(mark.args) != 1 or not isinstance(mark.args[0], str) or not mark.args[0].strip():
        raise pytest.UsageError(f"{test}: guards() takes one sentence, the guarantee")
    against, breaks = mark.kwargs.get("against", ""), mark.kwargs.get("breaks", ())
    if set(mark.kwargs) - _ALLOWED or not isinstance(against, str) or not against.strip():
        raise pytest.UsageError(f"{test}: guards() takes against='the failure caught' and breaks=('patch', ...)")
    if isinstance(breaks, str) or not breaks or not all(isinstance(name, str) for name in breaks):
        raise pytest.UsageError(f"{test}: guards() names at least one break, as a tuple of names")
    return Guard(test, mark.args[0].strip(), against.strip(), tuple(breaks))


def _plain(nodeid: str) -> str:
    return nodeid.split("[", 1)[0]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("guards")
    group.addoption("--guards-list", metavar="FILE", help="write the guarantees of the collected tests as JSON")
    group.addoption("--outcomes", metavar="FILE", help="write the outcome of every test that ran as JSON")


class Collected:
    """The guarantees of this run's tests."""

    def __init__(self, target: str | None) -> None:
        self.target = target

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        guards: dict[tuple[str, str], Guard] = {}
        for item in items:
            for mark in item.iter_markers("guards"):
                guard = read(_plain(item.nodeid), mark)
                guards[guard.test, guard.guarantee] = guard
        if self.target:
            listed = [asdict(guard) for guard in guards.values()]
            Path(self.target).write_text(json.dumps(listed, indent=1), encoding="utf-8")


class Outcomes:
    """What became of every test: `passed`, `skipped` or, as soon as any phase of it failed, `failed`."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.seen: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.seen[report.nodeid] = "failed"
        elif report.skipped or report.when == "call":
            self.seen.setdefault(report.nodeid, report.outcome)

    def pytest_sessionfinish(self) -> None:
        Path(self.target).write_text(json.dumps(self.seen, indent=1), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Collected(config.getoption("--guards-list")), "guards-collected")
    outcomes = config.getoption("--outcomes")
    if outcomes and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Outcomes(outcomes), "guards-outcomes")
