"""Agents that end by themselves, in every way they have: seen at once, with how they ended; nothing is left behind."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from fleets import RUNTIMES, Fleet, bytes_of, fleet, gone, settled
from holdfast.fleet import processes

#: What each does on its second message: its steps before it, and the exit status and signal that are to be known.
_ENDS: dict[str, tuple[str, str, int | None, int | None]] = {
    "well": ("work", "exit 0", 0, None),
    "badly": ("work", "exit 3", 3, None),
    "without a word": ("silent", "fail 7", 7, None),
    "by a signal": ("work", "die KILL", None, signal.SIGKILL),
    "under a child at its terminal": ("leave tty", "exit 3", 3, None),
    "beside a process that left": ("leave daemon", "exit 0", 0, None),
}
#: The promise is two seconds; the rest is for a machine that does much else.
_SECONDS = 4.0


@pytest.mark.slow
@pytest.mark.guards(
    "An agent that ends in a terminal that lives on is seen within two seconds, with its exit status or signal as "
    "evidence, and what it left behind is ended.",
    against="A session whose agent has exited shows as working until the next sweep or for ever, an unknown status "
    "reads as 0, and processes that left the terminal work on.",
    breaks=("fleet-waits-for-the-next-look", "fleet-forgets-the-exit-status", "fleet-leaves-what-they-leave"),
)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_agent_that_ends_is_seen_at_once_with_how_it_ended(tmp_path: Path, runtime: str) -> None:
    # Nobody looks of himself for longer than the whole test takes.
    with fleet(tmp_path, runtime, HOLDFAST_FLEET_SWEEP_SECONDS="60") as subject:
        ids = {how: subject.spawn(how, steps=f"turn:\n{_ENDS[how][0]}\nturn:\n{_ENDS[how][1]}") for how in _ENDS}
        spoken = [ids[how] for how in _ENDS if _ENDS[how][0] != "silent"]
        subject.until_all(spoken, settled)
        subject.until(ids["without a word"], lambda row: row["is_alive"] and row["saga"] is None)
        left = [_left(subject, session) for session in ids.values() if subject.journal(session, "left")]
        assert len(left) == 2
        for how, session in ids.items():
            _, _, status, number = _ENDS[how]
            subject.say(session, "go")
            row = subject.until(session, lambda row: row["state"] == "terminated")
            late = (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - subject.journal(session, "message")[-1]["seq"]) / 1e9
            assert late < _SECONDS, how
            assert (row["reason"], row["status"], row["is_alive"]) == ("agent_process_exited", "exited", False)
            assert (row["evidence"]["exit_status"], row["evidence"]["exit_signal"]) == (status, number), how
            launch = subject.launch(session)
            assert (launch["exit_status"], launch["exit_signal"]) == (status, number), how
            assert launch["outcome"] == "agent_process_exited"
        assert all(gone(each) for each in left)
        subject.wait(subject.owed, lambda owed: not owed)
        assert subject.processes() == []
        assert subject.places() == set()
        assert len(subject.worktrees()) == len(ids)  # their work stays until somebody has it cleaned up


def _left(subject: Fleet, session: str) -> processes.Identity:
    identity = processes.identify(subject.journal(session, "left")[0]["pid"])
    assert identity is not None
    return identity


@pytest.mark.slow
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_one_full_life(tmp_path: Path, runtime: str) -> None:
    with fleet(tmp_path, runtime) as subject:
        session = subject.spawn("begin", steps="every:\nedit notes.txt worked")
        first = subject.until(session, settled)
        subject.turn(session, "go on")
        assert subject.ask(session, "restore").status == 409  # it lives
        assert subject.ask(session, "cleanup").status == 409
        assert subject.ask(session, "kill").status == 202
        assert subject.ask(session, "kill").status in {202, 409}  # while it is under way, or when it is done
        row = subject.until(session, _killed)
        assert "bears the launch's marks" in row["evidence"]["proved"]
        assert subject.ask(session, "kill").status == 409
        assert subject.places() == set()
        assert subject.processes() == []

        assert subject.ask(session, "restore").status == 202
        row = subject.until(session, settled)
        assert (row["launch"], row["agent_session_id"]) == (2, first["agent_session_id"])
        (told,) = subject.journal(session, "notice")
        assert "manually_killed" in told["text"]
        assert subject.launch(session, 1)["token"] != subject.launch(session, 2)["token"]
        subject.ask(session, "kill")
        subject.until(session, _killed)
        work = bytes_of(Path(row["workspace"]))
        assert "notes.txt" in work
        assert subject.ask(session, "cleanup").status == 202
        row = subject.until(session, lambda row: row["workspace"] is None and row["saga"] is None)
        assert (row["state"], row["reason"]) == ("terminated", "manually_killed")
        assert subject.worktrees() == set()
        (kept,) = subject.get(f"/api/v1/kept?session={session}")["items"]
        back = subject.post("/api/v1/kept/restore", {"ref": kept["ref"]})
        found = bytes_of(Path(back["path"]))
        assert {name: found[name] for name in work} == work
        assert subject.notices() == []


def _killed(row: Any) -> bool:
    return row["reason"] == "manually_killed" and row["saga"] is None
