"""Blocking work that does not end: it keeps nobody else, a kill and a stop end it, and a crash leaves none of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import pytest

from daemons import PATIENCE
from fleets import Fleet, ended, fleet, git, gone, repository, settled
from holdfast.fleet import processes
from holdfast.fleet.processes import Identity

#: So many checkouts are under way at once; one more than that may be.
_SLOW = 7


@dataclass
class Checkouts:
    """A project whose files come through a filter, which waits at a gate that nobody opens."""

    subject: Fleet
    here: Path

    def spawn(self) -> str:
        """Ask for a session of it."""
        return self.subject.spawn(project="slow")

    def arrived(self, count: int = 1) -> list[Identity]:
        """Wait until so many filters have come to the gate; who they are."""
        pids: list[int] = []
        while len(pids) < count:
            pids += map(int, self.here.read_text().split())
        found = [processes.identify(pid) for pid in pids]
        assert None not in found
        return [each for each in found if each is not None]


@contextmanager
def _checkouts(folder: Path, **env: str) -> Iterator[Checkouts]:
    here, gate = folder / "here", folder / "gate"
    os.mkfifo(here)
    os.mkfifo(gate)
    repo = repository(folder / "slow")
    (repo / ".gitattributes").write_text("*.slow filter=slow\n")
    (repo / "file.slow").write_text("content\n")
    git(repo, "config", "filter.slow.clean", "cat")
    git(repo, "add", ".")
    git(repo, "commit", "-q", "-m", "slow")
    git(repo, "config", "filter.slow.smudge", f"echo $$ > '{here}'; read word < '{gate}'; cat")
    with fleet(folder, "process", **env) as subject:
        subject.post("/api/v1/projects", {"path": str(repo), "id": "slow", "agent": "scripted", "max_sessions": 50})
        yield Checkouts(subject, here)


@pytest.mark.slow
@pytest.mark.guards(
    "Checkouts and set-ups that take long keep nobody else: looks, spawns, kills and questions to git go on.",
    against="A few slow filters take all threads, and the whole fleet stands still until they end.",
    breaks=("fleet-one-pool-for-everything",),
)
def test_checkouts_that_take_long_keep_no_other_session(tmp_path: Path) -> None:
    with _checkouts(tmp_path) as slow:
        for _ in range(_SLOW):
            slow.spawn()
        slow.arrived(_SLOW)
        subject = slow.subject
        session = subject.spawn()
        subject.until(session, settled)
        assert subject.get(f"/api/v1/sessions/{session}/diff") is not None
        subject.ask(session, "kill")
        assert subject.until(session, ended)["reason"] == "manually_killed"
        assert f'holdfast_threads{{lane="work",state="running"}} {_SLOW}' in _metrics(subject)


@pytest.mark.slow
@pytest.mark.guards(
    "A kill ends the git of a session that is being made, with its filters, and waits for neither.",
    against="The kill of a session waits up to half an hour for a checkout that nobody wants any more.",
    breaks=("fleet-kills-wait-for-git",),
)
def test_a_kill_in_the_middle_of_a_checkout_ends_it_and_leaves_nothing(tmp_path: Path) -> None:
    with _checkouts(tmp_path) as slow:
        subject, session = slow.subject, slow.spawn()
        (waits,) = slow.arrived()
        assert subject.ask(session, "kill").status == 202
        row = subject.until(session, ended)
        assert (row["state"], row["reason"]) == ("terminated", "manually_killed")
        assert processes.state(waits) == "dead"
        subject.wait(subject.owed, lambda owed: not owed)
        assert subject.processes(session) == []
        assert not (subject.daemon.data / "workspaces" / "slow" / session).exists()
        assert git(tmp_path / "slow", "for-each-ref", "refs/heads/holdfast") == ""


@pytest.mark.slow
@pytest.mark.guards(
    "The daemon ends in its time, well, and with the gits that it waits for.",
    against="A stop takes as long as the slowest checkout, or leaves it at work on its own.",
    breaks=("fleet-stops-leave-git",),
)
def test_a_stop_in_the_middle_of_a_checkout_ends_it(tmp_path: Path) -> None:
    with _checkouts(tmp_path, HOLDFAST_STOP_SECONDS="3") as slow:
        slow.spawn()
        (waits,) = slow.arrived()
        assert slow.subject.daemon.stop() == 0
        assert processes.state(waits) == "dead"


@pytest.mark.slow
@pytest.mark.guards(
    "The daemon ends in its time though a thread of it does not end.",
    against="The end of the process waits for ever for a thread that a disk keeps.",
    breaks=("app-waits-for-every-thread",),
)
def test_a_stop_leaves_a_thread_behind_that_nothing_can_end(tmp_path: Path) -> None:
    with fleet(tmp_path, "process", HOLDFAST_STOP_SECONDS="3") as subject:
        subject.daemon.ask("PATCH", "/api/v1/projects/demo", {"setup": ["true"]})
        log = subject.daemon.data / "sessions" / "demo-1" / "setup.log"
        log.parent.mkdir(parents=True)
        os.mkfifo(log)  # to open it waits for a reader, who never comes
        assert subject.spawn() == "demo-1"
        subject.wait(lambda: subject.rows("SELECT step FROM saga_steps WHERE step = 'setup'"), bool)
        deadline = monotonic() + PATIENCE
        while 'holdfast_threads{lane="work",state="running"} 1' not in _metrics(subject):
            assert monotonic() < deadline
        assert subject.daemon.stop() == 0
        assert "threads are left behind" in subject.daemon.said()


@pytest.mark.slow
@pytest.mark.guards(
    "The git of a daemon that died, and its filters, are ended before the next daemon does anything.",
    against="Two gits work on the same worktree, and one goes on after the kill of its session.",
    breaks=("git-bears-no-mark", "fleet-leaves-the-gits-of-the-dead"),
)
def test_what_a_killed_daemon_left_of_a_checkout_is_ended_by_the_next_one(tmp_path: Path) -> None:
    with _checkouts(tmp_path) as slow:
        subject, session = slow.subject, slow.spawn()
        (waits,) = slow.arrived()
        subject.daemon.kill()
        assert processes.state(waits) == "alive"
        subject.again()
        assert processes.state(waits) == "dead"
        (anew,) = slow.arrived()
        assert anew != waits
        subject.ask(session, "kill")
        subject.until(session, ended)
        assert processes.state(anew) == "dead"


@pytest.mark.slow
@pytest.mark.guards(
    "A kill says what it looked for, and names who else stands in the worktree; that is not removed under anybody.",
    against="A process that left its session, parent and environment survives a kill that claims that nothing is left.",
    breaks=("fleet-names-nobody-beside", "fleet-removes-under-whoever-stands-there"),
)
def test_what_hides_from_a_kill_is_named_and_keeps_its_worktree(tmp_path: Path) -> None:
    with fleet(tmp_path, "process") as subject:
        here, gate, tool = tmp_path / "here", tmp_path / "gate", tmp_path / "my-agent"
        os.mkfifo(here)
        os.mkfifo(gate)
        hides = f"setsid env -i /bin/sh -c 'echo $$ > {here}; read word < {gate}'"
        tool.write_text(f"#!/bin/sh\n( {hides} </dev/null >/dev/null 2>&1 & )\nexec cat\n")
        tool.chmod(0o755)
        session = subject.spawn(agent="command", options={"command": [str(tool)]})
        hidden = processes.identify(int(here.read_text()))
        assert hidden is not None
        try:
            subject.until(session, lambda row: row["is_alive"] and row["saga"] is None)
            subject.ask(session, "kill")
            evidence = subject.until(session, ended)["evidence"]
            assert evidence["beside"] == [{"pid": hidden.pid, "name": "sh"}]
            assert "bears the launch's marks" in evidence["proved"]
            subject.ask(session, "cleanup")
            owed = subject.wait(subject.owed, lambda rows: bool(rows) and rows[0]["error"])
            assert f"processes stand in it: {hidden.pid} (sh)" in owed[0]["error"]
            assert Path(subject.session(session)["workspace"]).exists()
        finally:
            processes.end([hidden], 0)
        assert gone(hidden)
        subject.ask(session, "cleanup")
        subject.until(session, lambda row: row["workspace"] is None and row["saga"] is None)


def _metrics(subject: Fleet) -> str:
    answer = subject.daemon.ask("GET", "/metrics")
    return answer.body.decode() if isinstance(answer.body, bytes) else str(answer.body)
