"""Counts and lists what a run skipped, and fails the run when that is more than the recorded number."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def budget(text: str) -> int:
    """The number in a skip file: its first line that is not a comment."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return int(lines[0])


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("skips").addoption(
        "--skip-budget", metavar="FILE", help="fail when more tests are skipped than the number in this file"
    )


def _skipped(config: pytest.Config) -> list[Any]:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return [] if reporter is None else [*reporter.stats.get("skipped", []), *reporter.stats.get("xfailed", [])]


def _over(config: pytest.Config) -> str | None:
    path = config.getoption("--skip-budget")
    if not path or hasattr(config, "workerinput"):
        return None
    allowed, count = budget(Path(path).read_text(encoding="utf-8")), len(_skipped(config))
    if count <= allowed:
        return None
    return f"{count} tests were skipped, {path} allows {allowed}: run what they need, or record why in that file"


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if _over(session.config) and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _lines(config: pytest.Config) -> Iterator[str]:
    for report in _skipped(config):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else getattr(report, "wasxfail", "")
        yield f"{report.nodeid}: {reason}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = sorted(_lines(config))
    if lines:
        terminalreporter.section(f"skipped by name: {len(lines)}")
        for line in lines:
            terminalreporter.write_line(line)
    over = _over(config)
    if over:
        terminalreporter.section("too many skips", red=True)
        terminalreporter.write_line(over, red=True)
