"""The demo project: made whole whatever was there before, and never worth more than the daemon."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemons import Daemon, environment
from holdfast.cli import daemon as commands
from holdfast.cli.demo import add_demo


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon without the demo."""
    made = Daemon(tmp_path / "data").up()
    yield made
    made.close()


def git(folder: Path, *words: str) -> str:
    """Ask git; what it said."""
    env = environment(GIT_CONFIG_GLOBAL=os.devnull)
    return subprocess.run(["git", *words], cwd=folder, env=env, capture_output=True, text=True, check=True).stdout


def demo_of(daemon: Daemon) -> str:
    """Where the daemon has the demo project."""
    path: str = daemon.ask("GET", "/api/v1/projects/demo").body["path"]
    return path


def test_a_demo_that_was_left_without_a_commit_is_made_whole(daemon: Daemon) -> None:
    repository = daemon.data / "demo"
    repository.mkdir()
    git(repository, "init", "-q")
    add_demo(daemon.data, daemon.url)
    assert git(repository, "log", "--format=%s").split() == ["Begin"]
    assert demo_of(daemon) == str(repository)
    add_demo(daemon.data, daemon.url)
    assert git(repository, "log", "--format=%s").split() == ["Begin"]


def test_a_repository_around_the_data_folder_is_not_taken_for_the_demo(daemon: Daemon) -> None:
    who = ("-c", "user.name=T", "-c", "user.email=t@example.org")
    git(daemon.data, "init", "-q")
    git(daemon.data, *who, "commit", "-q", "--allow-empty", "-m", "Around")
    (daemon.data / "demo" / ".git").mkdir(parents=True)  # what died as it began
    add_demo(daemon.data, daemon.url)
    assert git(daemon.data / "demo", "log", "--format=%s").split() == ["Begin"]
    assert git(daemon.data, "log", "--format=%s").split() == ["Around"]


def test_the_demo_goes_to_its_own_daemon_whatever_other_one_the_environment_names(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HOLDFAST_TOKEN", "hft_of_another")
    add_demo(daemon.data, daemon.url)
    assert demo_of(daemon) == str(daemon.data / "demo")


def test_a_file_in_the_place_of_the_demo_is_said_and_costs_nothing_else(
    daemon: Daemon, capsys: pytest.CaptureFixture[str]
) -> None:
    (daemon.data / "demo").write_text("mine\n")
    commands._demo(daemon.data, None)(daemon.url)
    said = capsys.readouterr().err
    assert "the demo project was not added" in said
    assert str(daemon.data / "demo") in said
    assert (daemon.data / "demo").read_text() == "mine\n"
