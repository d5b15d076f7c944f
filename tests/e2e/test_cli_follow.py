"""`events -f` across the end of the daemon that it follows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemons import PATIENCE, ROOT, Daemon, environment, holdfast


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that serves, and is ended whoever runs it by then."""
    made = Daemon(tmp_path / "data").up()
    yield made
    made.close()
    holdfast("down", "--data", str(made.data))


@pytest.fixture
def following(daemon: Daemon) -> Iterator[subprocess.Popen[str]]:
    """`events -f` from where the log stands, that has printed one token already."""
    head = daemon.ask("GET", "/api/v1/changes?after=0&limit=1").body["head"]
    words = ["events", "-f", "--after", str(head), "--json", "--event", "token_created", "--data", str(daemon.data)]
    process = subprocess.Popen(
        [sys.executable, "-m", "holdfast", *words],
        env=environment(), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    create(daemon, "first")
    assert name_of(process) == "first"
    yield process
    process.kill()
    process.communicate()


def create(daemon: Daemon, name: str) -> None:
    """Make a token: one event."""
    made = holdfast("token", "create", name, "--data", str(daemon.data))
    assert made.returncode == 0, made.stderr


def name_of(process: subprocess.Popen[str]) -> str:
    """The token in the next line."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    name: str = json.loads(line)["payload"]["name"]
    return name


@pytest.mark.guards(
    "a follower of events outlives a restart of the daemon and goes on right after the last event it printed",
    against="a watcher that is dead, or has missed or repeated something, after every restart",
    breaks=("cli-follows-one-daemon", "cli-follows-from-the-start"),
)
def test_a_follower_outlives_a_restart_and_goes_on_after_the_last_event(
    daemon: Daemon, following: subprocess.Popen[str]
) -> None:
    again = holdfast("restart", "--data", str(daemon.data))  # at another port: it was 0
    assert again.returncode == 0, again.stderr
    daemon.ended()
    for name in ("second", "third"):
        create(daemon, name)
    assert [name_of(following), name_of(following)] == ["second", "third"]


def test_a_follower_ends_with_3_after_down(daemon: Daemon, following: subprocess.Popen[str]) -> None:
    assert holdfast("down", "--data", str(daemon.data)).returncode == 0
    _, said = following.communicate(timeout=PATIENCE)
    assert following.returncode == 3
    assert "No daemon runs" in said
    assert "Traceback" not in said
