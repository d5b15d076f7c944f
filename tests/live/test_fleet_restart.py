"""Fleets over the death of their daemon and of their machine: adopted, heard, brought back; nothing twice."""

from __future__ import annotations

import json
import os
import signal
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from fleets import RUNTIMES, Fleet, ended, fleet, settled
from holdfast.core import faults
from holdfast.fleet import processes

if TYPE_CHECKING:
    from pathlib import Path

TEN = 10
#: Says that it is done when the file is there, then that it has said so to whoever reads the fifo, and goes on.
_SPEAKS = "turn:\nwait go\ndone\ntouch told\nhang\n"


#: Asks for a permission, so that nothing is typed, until the file is there.
_ASKS = "turn:\npermit Bash go\nevery:\nwork\n"


def _speaker(subject: Fleet) -> str:
    """A session whose agent will say something when it is let."""
    session = subject.spawn("speak", steps=_SPEAKS)
    subject.until(session, lambda row: row["status"] == "working" and row["saga"] is None)
    os.mkfifo(subject.home(session) / "told")
    return session


@pytest.mark.slow
@pytest.mark.guards(
    "Sessions that live when their daemon is killed are taken over as they are by the next one: the same processes, "
    "every signal heard, every message delivered once.",
    against="A restarted daemon ends or doubles what still runs, forgets what agents said meanwhile, or types again.",
    breaks=("fleet-reaps-what-lives", "fleet-hears-no-spool"),
)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_ten_sessions_live_on_over_kill9_of_their_daemon(tmp_path: Path, runtime: str) -> None:
    with fleet(tmp_path, runtime) as subject:
        speaker = _speaker(subject)
        others = [subject.spawn(f"task {n}", steps=_ASKS) for n in range(TEN - 1)]
        subject.until_all(others, lambda row: row["status"] == "needs_input" and row["saga"] is None)
        before = {each: subject.handle(each) for each in (speaker, *others)}
        for each in others:
            subject.say(each, f"more for {each}")
        subject.daemon.kill()
        for each in before:
            (subject.home(each) / "go").touch()
        assert (subject.home(speaker) / "told").read_bytes() == b""  # the hook has written by now
        heard = len(subject.daemon.said())

        began = monotonic()
        subject.again()
        assert monotonic() - began < 20
        assert _adopted(subject.daemon.said()[heard:]) == (TEN, 0)
        row = subject.session(speaker)
        assert (row["is_alive"], row["activity"]["state"], row["activity"]["source"]) == (True, "done", "signal")

        subject.wait(lambda: [_states(subject, each) for each in others], lambda found: set(found) == {"confirmed"})
        rows = subject.until_all(others, settled)
        assert {(row["launch"], row["lost"]) for row in rows.values()} == {(1, 0)}
        for each in (speaker, *others):
            assert subject.handle(each) == before[each]
            assert processes.state(before[each].process) == "alive"
            assert len(subject.journal(each, "start")) == 1
        for each in others:
            assert [line["text"] for line in subject.journal(each, "message")] == [f"more for {each}"]
        assert {each["kind"] for each in subject.notices()} <= {"agent-needs-input"}
        assert len(subject.places()) == TEN


def _adopted(said: str) -> tuple[int, int]:
    """How many lived on and how many had ended, by the log: it says so before the daemon says that it is up."""
    (line,) = (json.loads(line) for line in said.splitlines() if "sessions adopted" in line)
    return line["living"], line["ended"]


def _states(subject: Fleet, session: str) -> str:
    items = subject.get(f"/api/v1/sessions/{session}/messages")["items"]
    return "".join(each["state"] for each in items if each["kind"] == "message")


# --- the machine was started anew ----------------------------------------------------------------------------------


def _reboot(subject: Fleet) -> None:
    """End everything at once, and let all that is known be of another boot, as it is after a reboot."""
    subject.daemon.kill()
    servers = {subject.handle(each["session"], each["number"]).server for each in _alive(subject)}
    for each in servers:
        processes.tell(each, signal.SIGKILL)
    processes.end(subject.processes, 0)
    was, other = processes.boot_id(), "11111111-2222-3333-4444-555555555555"
    subject.rows("UPDATE hosts SET boot = ?", other)
    subject.rows("UPDATE launches SET handle = replace(handle, ?, ?)", was, other)
    for note in (subject.daemon.data / "runtimes").rglob("*.json"):
        note.write_text(note.read_text().replace(was, other))


def _alive(subject: Fleet) -> list[dict[str, str]]:
    return subject.rows("SELECT session, number FROM launches WHERE ended_at IS NULL AND handle IS NOT NULL")


@pytest.mark.slow
@pytest.mark.guards(
    "After a reboot every session has ended with that as its evidence, people are told once of it and how to go on, "
    "and of the next reboot again.",
    against="A reboot leaves zombies, is told of once for each session or runtime, or only the first time.",
    breaks=("fleet-tells-twice-of-a-reboot", "fleet-tells-of-one-reboot-only"),
)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_reboot_is_told_of_once_and_everything_comes_back_by_one_command(tmp_path: Path, runtime: str) -> None:
    with fleet(tmp_path, runtime) as subject:
        ids = [subject.spawn(f"task {n}") for n in range(3)]
        first = subject.until_all(ids, settled)
        for reboot in (1, 2):
            _reboot(subject)
            subject.again()
            for row in subject.until_all(ids, ended).values():
                assert (row["state"], row["reason"]) == ("terminated", "runtime_lost")
                assert row["evidence"]["rebooted"] is True
            told = [each["text"] for each in subject.notices()]
            assert len(told) == reboot
            assert "3 sessions" in told[-1]
            assert "holdfast restore --all" in told[-1]
            assert subject.places() == set()
            subject.post("/api/v1/sessions/restore")
            back = subject.until_all(ids, settled)
            assert {each: row["launch"] for each, row in back.items()} == dict.fromkeys(ids, 1 + reboot)
        for each in ids:
            assert subject.session(each)["agent_session_id"] == first[each]["agent_session_id"]
            assert [line["source"] for line in subject.journal(each, "start")] == ["startup", "resume", "resume"]


@pytest.mark.slow
@pytest.mark.needs("tmux")
@pytest.mark.guards(
    "With `resume_after_reboot` what lived before a reboot comes back by itself, as far as the caps allow, even where "
    "the daemon dies while it finds out.",
    against="The caps are passed by after a reboot, or a crash on the way makes the daemon forget that there was one.",
    breaks=("fleet-forgets-a-reboot", "fleet-resumes-past-the-caps"),
)
@pytest.mark.parametrize("point", ["watch.looked", "watch.written"])
def test_what_lived_before_a_reboot_comes_back_under_the_caps_whatever_dies_meanwhile(
    tmp_path: Path, point: str
) -> None:
    with fleet(tmp_path, "tmux") as subject:
        ids = [subject.spawn(f"task {n}") for n in range(3)]
        subject.until_all(ids, settled)
        _reboot(subject)
        wanted = {"HOLDFAST_FLEET_RESUME_AFTER_REBOOT": "true", "HOLDFAST_FLEET_MAX_SESSIONS": "2"}
        subject.begin(**wanted, HOLDFAST_FAULTS=f"{point}=die")
        assert not subject.daemon.ready()
        assert subject.daemon.ended() == faults.DIED
        subject.up(**wanted)
        subject.until_all(ids[:2], settled)
        last = subject.session(ids[2])
        assert (last["is_alive"], last["reason"], last["queue_position"]) == (False, "runtime_lost", 1)
        assert "2 of 2 sessions" in last["queue_reason"]
        assert len(subject.notices()) == 1
        subject.post(f"/api/v1/sessions/{ids[0]}/kill")
        assert subject.until(ids[2], settled)["launch"] == 2
        assert subject.journal(ids[2], "notice")[0]["text"].startswith("You were interrupted")
