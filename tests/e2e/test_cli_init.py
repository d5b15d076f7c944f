"""`holdfast init`: what it finds in a repository, and that again it changes nothing; agents on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemons import Daemon, holdfast
from fleets import repository


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon on whose PATH two agents are, and nothing else but git."""
    folder = tmp_path_factory.mktemp("init")
    programs = folder / "bin"
    programs.mkdir()
    for name in ("codex", "gemini"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    made = Daemon(folder / "data", env={"PATH": f"{programs}:/usr/bin:/bin"}).up()
    yield made
    made.close()


def init(daemon: Daemon, *words: str) -> Any:
    done = holdfast("init", *words, "--json", "--data", str(daemon.data))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("files", "checks"),
    [
        ({}, []),
        ({"Makefile": "all:\n\ttrue\n"}, []),
        ({"Makefile": "test := 1\n"}, []),
        ({"Makefile": "check: test\ntest: build\n\ttrue\n", "pytest.ini": ""}, ["make test"]),
        ({"package.json": '{"scripts": {"test": "vitest"}}'}, ["npm test"]),
        ({"package.json": '{"scripts": {"test": "vitest"}}', "pnpm-lock.yaml": ""}, ["pnpm test"]),
        ({"package.json": '{"scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}}'}, []),
        ({"package.json": "[" * 100_000}, []),
        ({"package.json": '{"scripts": []}', "Cargo.toml": ""}, ["cargo test"]),
        ({"pyproject.toml": "[tool.pytest.ini_options]\n", "go.mod": ""}, ["python -m pytest", "go test ./..."]),
        ({"tests/conftest.py": "\xff"}, ["python -m pytest"]),
    ],
    ids=lambda given: str(list(given))[:60],
)
def test_the_checks_of_a_repository_are_found(
    files: dict[str, str], checks: list[str], daemon: Daemon, tmp_path: Path
) -> None:
    top = repository(tmp_path / tmp_path.name)
    for name, text in files.items():
        (top / name).parent.mkdir(exist_ok=True)
        (top / name).write_text(text)
    made = init(daemon, str(top), "--id", f"p{abs(hash(str(tmp_path))) % 10**9}")
    assert (made["added"], made["project"]["checks"]) == (True, checks)


@pytest.mark.guards(
    "`init` in a repository that is registered already changes nothing, and ends well.",
    against="A second project for the same repository, or a script that stops at its second run.",
    breaks=("init-adds-twice",),
)
def test_a_repository_is_added_once_from_wherever_in_it(daemon: Daemon, tmp_path: Path) -> None:
    top = repository(tmp_path / "once")
    (top / "deep" / "er").mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(top)
    first = init(daemon, str(top / "deep" / "er"))
    assert (first["added"], first["project"]["path"]) == (True, str(top))
    for path in (top, top / "deep", link):
        again = init(daemon, str(path), "--agent", "gemini")
        assert (again["added"], again["project"]) == (False, first["project"])


def test_the_agent_is_one_that_is_installed_and_the_next_steps_are_said(daemon: Daemon, tmp_path: Path) -> None:
    top = repository(tmp_path / "steps")
    done = holdfast("init", str(top), "--data", str(daemon.data))
    assert done.returncode == 0, done.stderr
    assert f"Added project steps at {top}" in done.stdout
    assert "agent   codex (also installed: gemini)" in done.stdout
    assert "holdfast spawn steps --prompt" in done.stdout
    chosen = init(daemon, str(repository(tmp_path / "chosen")), "--agent", "gemini", "--check", "make x")
    assert (chosen["project"]["agent"], chosen["project"]["checks"]) == ("gemini", ["make x"])


def test_what_is_no_repository_is_refused_in_words(daemon: Daemon, tmp_path: Path) -> None:
    done = holdfast("init", str(tmp_path), "--data", str(daemon.data))
    assert (done.returncode, "git init" in done.stderr) == (1, True)
    unknown = holdfast("init", str(repository(tmp_path / "x")), "--agent", "codec", "--data", str(daemon.data))
    assert (unknown.returncode, "'codex'" in unknown.stderr) == (2, True)


def test_agents_are_listed_with_where_they_are_or_how_to_get_them(daemon: Daemon) -> None:
    rows = {
        row["name"]: row for row in json.loads(holdfast("agents", "ls", "--json", "--data", str(daemon.data)).stdout)
    }
    assert rows["codex"]["path"].endswith("/bin/codex")
    assert (rows["opencode"]["path"], "npm" in rows["opencode"]["install"]) == (None, True)
    lines = holdfast("agents", "ls", "--data", str(daemon.data)).stdout.splitlines()
    assert [line.split("\t")[2] for line in lines if line.startswith("command\t")] == ["by its options"]


def test_doctor_tells_which_agents_are_there(tmp_path: Path) -> None:
    found = {each["name"]: each for each in json.loads(holdfast("doctor", "--json", "--data", str(tmp_path)).stdout)}
    assert {"tmux", "agent codex", "agent claude-code", "agent gemini", "agent opencode"} <= set(found)
    missing = [each for name, each in found.items() if name.startswith("agent ") and each["status"] != "ok"]
    assert all(each["status"] == "optional" and each["remedy"] for each in missing)
