"""What the project adds to pytest: counted skips, guarantees stated in full, programs that a test needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]


def run(folder: Path, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_sample.py").write_text("import pytest\n" + text, encoding="utf-8")
    plugins = [word for name in ("guards", "skips", "needs") for word in ("-p", f"plugins.{name}")]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        [*command, *plugins, *words, "test_sample.py"],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


NEEDS = "@pytest.mark.needs('no-such-program')\ndef test_a(): ...\ndef test_b(): ...\n"


@pytest.mark.parametrize(("allowed", "status"), [(0, 1), (1, 0)])
def test_a_run_fails_when_it_skips_more_than_is_recorded(tmp_path: Path, allowed: int, status: int) -> None:
    budget = tmp_path / "skips.txt"
    budget.write_text(f"# how many\n{allowed}\n", encoding="utf-8")
    done = run(tmp_path, NEEDS, f"--skip-budget={budget}")
    assert done.returncode == status, done.stdout
    assert "skipped by name: 1" in done.stdout
    assert "test_sample.py::test_a: Skipped: no-such-program is not installed" in done.stdout
    assert "1 passed, 1 skipped" in done.stdout.splitlines()[-1]


def test_skips_are_counted_where_workers_run_the_tests(tmp_path: Path) -> None:
    budget = tmp_path / "skips.txt"
    budget.write_text("0\n", encoding="utf-8")
    done = run(tmp_path, NEEDS, f"--skip-budget={budget}", "-p", "xdist.plugin", "-n", "2")
    assert done.returncode == 1
    assert "skipped by name: 1" in done.stdout


@pytest.mark.parametrize(
    "mark",
    [
        "guards()",
        "guards('  ', against='x', breaks=('y',))",
        "guards('x', breaks=('y',))",
        "guards('x', against='y')",
        "guards('x', against='y', breaks='z')",
        "guards('x', against='y', breaks=('z',), other=1)",
    ],
)
def test_a_guarantee_that_states_too_little_is_refused(tmp_path: Path, mark: str) -> None:
    done = run(tmp_path, f"@pytest.mark.{mark}\ndef test_a(): ...\n")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR, done.stdout


def test_guarantees_and_outcomes_are_written_for_the_tools(tmp_path: Path) -> None:
    text = (
        "@pytest.mark.parametrize('engine', ['a', 'b'])\n"
        "@pytest.mark.guards('kept', against='lost', breaks=('one', 'two'))\n"
        "def test_a(engine): assert engine == 'a'\n"
    )
    done = run(tmp_path, text, "--guards-list=guards.json", "--outcomes=outcomes.json", "-p", "xdist.plugin", "-n", "2")
    assert done.returncode == 1
    guards = json.loads((tmp_path / "guards.json").read_text(encoding="utf-8"))
    assert guards == [
        {"test": "test_sample.py::test_a", "guarantee": "kept", "against": "lost", "breaks": ["one", "two"]}
    ]
    outcomes = json.loads((tmp_path / "outcomes.json").read_text(encoding="utf-8"))
    assert outcomes == {"test_sample.py::test_a[a]": "passed", "test_sample.py::test_a[b]": "failed"}
