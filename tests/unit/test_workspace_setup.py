"""The set-up commands of a project: in order, bounded, and nothing of them left running."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from holdfast.core.errors import Unavailable
from holdfast.fleet.workspaces.setup import LOG_BYTES, TAIL_BYTES, Failure, Ready, setup

ENV = {"PATH": os.environ["PATH"], "NAME": "value"}


def _ended(pid: int) -> bool:
    """Whether it is gone, or was killed and is on its way; one that nobody killed sleeps on."""
    try:
        process = psutil.Process(pid)
        for _ in range(500):
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
            with suppress(psutil.TimeoutExpired):
                process.wait(0.01)
    except psutil.NoSuchProcess:
        return True
    return False


def test_commands_run_in_order_in_the_workspace_with_their_environment_only(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "setup.log"
    done = setup(tmp_path, ["pwd > where", "cat where; echo $NAME $HOME; env -0 >env"], ENV, log, 30)
    assert done == Ready(2)
    assert (tmp_path / "where").read_text().strip() == str(tmp_path)
    assert f"{tmp_path}\nvalue\n" in log.read_text()
    names = {line.split(b"=")[0] for line in (tmp_path / "env").read_bytes().split(b"\0")}
    assert b"HOME" not in names


def test_the_first_that_fails_stops_the_rest_and_says_how(tmp_path: Path) -> None:
    log = tmp_path / "setup.log"
    failure = setup(tmp_path, ["true", "echo first; echo why >&2; exit 3", "touch never"], ENV, log, 30)
    assert failure == Failure("echo first; echo why >&2; exit 3", 3, "first\nwhy\n")
    assert "ended with status 3" in failure.words
    assert not (tmp_path / "never").exists()
    assert setup(tmp_path, ["kill -9 $$"], ENV, log, 30) == Failure("kill -9 $$", -9, "")


@pytest.mark.guards(
    "A set-up command ends within its time, and whatever it started in its group ends with it.",
    against="Set-up commands that hang a spawn for ever, or leave servers running that nobody knows.",
    breaks=("setup-leaves-children", "setup-waits-for-ever"),
)
@pytest.mark.parametrize("last", ["sleep 20", "exit 0", "exit 1", "exec >/dev/null 2>&1; sleep 20"])
def test_what_runs_out_of_time_or_is_left_behind_is_ended_with_its_group(tmp_path: Path, last: str) -> None:
    command = f"sleep 1000 & echo $! > child; echo started; {last}"
    done = setup(tmp_path, [command], ENV, tmp_path / "log", 1)
    match last:
        case "exit 0":
            assert done == Ready(1)
        case "exit 1":
            assert done == Failure(command, 1, "started\n")
        case _:
            assert done == Failure(command, None, "started\n")
            assert "ran out of time" in done.words
    assert _ended(int((tmp_path / "child").read_text()))


def test_what_they_say_is_recorded_up_to_a_bound_and_its_end_is_told(tmp_path: Path) -> None:
    log = tmp_path / "log"
    loud = "yes 'a line of words' | head -c 3000000; echo the end; exit 1"
    failure = setup(tmp_path, [loud], ENV, log, 30)
    assert isinstance(failure, Failure)
    assert failure.tail.endswith("the end\n")
    assert len(failure.tail) <= TAIL_BYTES
    assert LOG_BYTES <= log.stat().st_size < LOG_BYTES + 1000


def test_secrets_and_control_characters_do_not_reach_the_one_who_reads_the_end(tmp_path: Path) -> None:
    failure = setup(tmp_path, ["printf 'password=hunter22 \\033[31mred\\377'; exit 1"], ENV, tmp_path / "log", 30)
    assert isinstance(failure, Failure)
    assert "hunter22" not in failure.tail
    assert "\033" not in failure.tail


def test_a_workspace_that_is_gone_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        setup(tmp_path / "gone", ["true"], ENV, tmp_path / "log", 30)
    assert setup(tmp_path, [], ENV, tmp_path / "log", 30) == Ready(0)
