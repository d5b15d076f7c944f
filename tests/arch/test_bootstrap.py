"""Setting up: what the system lacks is installed or named, and nothing is done twice."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import bootstrap


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary user, who may not install packages."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What would have been run, as root on Debian."""
    seen: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        seen.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name == "apt-get" else None)
    monkeypatch.setattr(bootstrap.subprocess, "run", run)
    return seen


def without_venv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def test_without_venv_an_ordinary_user_gets_the_exact_command_and_status_2(
    stranger: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without_venv(monkeypatch)
    with pytest.raises(SystemExit) as ended:
        bootstrap.need_venv()
    assert ended.value.code == 2
    assert (
        "sudo apt-get update && sudo apt-get install -y --no-install-recommends python3-venv" in capsys.readouterr().out
    )


def test_without_venv_root_installs_it(commands: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    without_venv(monkeypatch)
    bootstrap.need_venv()
    assert commands == bootstrap.apt(["python3-venv"])


def test_programs_that_tests_need_are_installed_by_root(commands: list[list[str]]) -> None:
    bootstrap.need_programs()
    assert commands == bootstrap.apt(["tmux", "git"])


def test_programs_that_tests_need_are_named_to_an_ordinary_user_and_nothing_fails(
    stranger: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "tmux" else f"/usr/bin/{name}")
    bootstrap.need_programs()
    said = capsys.readouterr().out
    assert "Not installed: tmux." in said
    assert "sudo apt-get install -y --no-install-recommends tmux" in said


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout that was installed for development."""
    (tmp_path / "requirements").mkdir()
    (tmp_path / ".venv/bin").mkdir(parents=True)
    programs = (".venv/bin/holdfast", ".venv/bin/python")
    for name in ("requirements/run.txt", "requirements/dev.txt", "pyproject.toml", *programs):
        (tmp_path / name).write_text(name, encoding="utf-8")
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap, "VENV", tmp_path / ".venv")
    (tmp_path / ".venv/.dev.stamp").write_text(bootstrap.stamp("dev"), encoding="utf-8")
    return tmp_path


def test_nothing_is_installed_again_while_the_lock_stays_as_it_is(tree: Path) -> None:
    assert bootstrap.installed("dev")
    assert bootstrap.installed("run")


@pytest.mark.parametrize("changed", ["requirements/dev.txt", "pyproject.toml"])
def test_a_changed_lock_is_installed(tree: Path, changed: str) -> None:
    (tree / changed).write_text("other", encoding="utf-8")
    assert not bootstrap.installed("dev")


def test_what_the_daemon_needs_is_not_enough_for_the_tests(tree: Path) -> None:
    (tree / ".venv/.dev.stamp").rename(tree / ".venv/.run.stamp")
    assert not bootstrap.installed("dev")


def test_another_python_behind_the_environment_means_installing_again(tree: Path) -> None:
    (tree / ".venv/bin/python").unlink()
    (tree / ".venv/bin/python").symlink_to("/usr/bin/python3.99")
    assert not bootstrap.installed("dev")
