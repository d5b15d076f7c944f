"""Spawns and restores that cannot be: the session says at which step and why, and nothing of it stays."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from fleets import Fleet, bytes_of, ended, fleet, git, settled
from holdfast.fleet import processes

#: Owes a saga past the daemon, as one owes it that was asked and has died: its kind, reason and session.
_OWE = """INSERT INTO propagations (kind, key, pending_key, lane, payload, effect, state, attempts, starts, strange,
    next_attempt_at, created_at, decided_at)
SELECT 'fleet.' || ?, s.id, s.id, s.id, json_object('session', s.id, 'launch', ?, 'reason', ?, 'why', 'late'),
    'eff_late', 'pending', 0, 0, 0, s.created_at, s.created_at, s.created_at FROM sessions s WHERE s.id = ?"""


def _tool(folder: Path) -> dict[str, Any]:
    """An agent of the person's own, which can vanish."""
    tool = folder / "my-agent"
    tool.write_text("#!/bin/sh\nexec cat\n")
    tool.chmod(0o755)
    return {"agent": "command", "options": {"command": [str(tool)]}}


def _waiting(subject: Fleet, **more: Any) -> tuple[str, str]:
    """A session that has the only place, and one that waits for it."""
    subject.daemon.ask("PATCH", "/api/v1/projects/demo", {"max_sessions": 1})
    first, second = subject.spawn(), subject.spawn(**more)
    subject.until(first, settled)
    return first, second


def _nothing_stays(subject: Fleet, session: str) -> None:
    row = subject.session(session)
    assert (row["is_alive"], row["workspace"], row["queue_position"]) == (False, None, None)
    assert subject.processes(session) == []
    assert [each for each in subject.places() if f"-{session}-" in each] == []
    assert [each for each in subject.worktrees() if Path(each).name == session] == []
    assert not (subject.daemon.data / "workspaces" / "demo" / session).exists()
    (held,) = subject.rows("SELECT count(*) AS n FROM sessions WHERE id = ? AND admitted_at IS NOT NULL", session)
    assert held["n"] == 0
    tokens = "SELECT count(*) AS n FROM tokens WHERE scope = ? AND revoked_at IS NULL"
    assert subject.rows(tokens, f"session:{session}")[0]["n"] == 0


def _failed(row: Any, step: str, said: str) -> None:
    assert (row["state"], row["reason"], row["status"]) == ("terminated", "error_in_process", "errored")
    assert row["evidence"]["step"] == step
    assert said in row["evidence"]["error"]


# --- spawns --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.guards(
    "A set-up command that fails ends its session with that step and its words, and nothing of the session stays; its "
    "place is the next one's.",
    against="A failed spawn leaves a worktree, a branch or a token behind, or holds its place for ever.",
    breaks=("fleet-failures-leave-their-worktree", "fleet-failures-keep-their-place"),
)
def test_a_setup_command_that_fails_leaves_a_session_that_says_so_and_nothing_else(tmp_path: Path) -> None:
    with fleet(tmp_path, "process") as subject:
        commands = {"setup": ["touch made", "echo it is busy; exit 3"], "max_sessions": 1}
        assert subject.daemon.ask("PATCH", "/api/v1/projects/demo", commands).status == 200
        first, second = subject.spawn(), subject.spawn()
        for session in (first, second):
            row = subject.until(session, ended)
            _failed(row, "setup", "status 3")
            assert "it is busy" in row["evidence"]["error"]
            _nothing_stays(subject, session)
        assert subject.branches() == set()
        assert subject.ask(first, "kill").status == 409
        assert subject.ask(first, "restore").status == 409
        subject.daemon.ask("PATCH", "/api/v1/projects/demo", {"setup": []})
        subject.until(subject.spawn(), settled)


@pytest.mark.slow
@pytest.mark.guards(
    "A branch that came up while a session waited is left as it is, and so is whatever else is not ours.",
    against="A spawn takes over, moves or deletes a branch that a person has made meanwhile.",
    breaks=("fleet-takes-the-persons-branch",),
)
def test_a_branch_that_came_up_meanwhile_is_left_alone(tmp_path: Path) -> None:
    with fleet(tmp_path, "process") as subject:
        first, second = _waiting(subject)
        git(subject.repository, "branch", f"holdfast/{second}", "HEAD~1")
        theirs = git(subject.repository, "rev-parse", f"holdfast/{second}")
        subject.ask(first, "kill")
        row = subject.until(second, ended)
        _failed(row, "workspace", f"holdfast/{second}")
        _nothing_stays(subject, second)
        assert git(subject.repository, "rev-parse", f"holdfast/{second}") == theirs
        subject.until(subject.spawn(), settled)


@pytest.mark.slow
def test_a_repository_that_is_gone_fails_the_spawn_and_nothing_else(tmp_path: Path) -> None:
    with fleet(tmp_path, "process") as subject:
        first, second = _waiting(subject)
        away = subject.repository.rename(tmp_path / "away")
        subject.ask(first, "kill")
        row = subject.until(second, ended)
        subject.wait(subject.owed, lambda owed: not owed)
        away.rename(subject.repository)
        _failed(row, "workspace", str(subject.repository))
        _nothing_stays(subject, second)
        assert subject.branches() == {f"holdfast/{first}"}
        subject.until(subject.spawn(), settled)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["process", pytest.param("tmux", marks=pytest.mark.needs("tmux"))])
def test_an_agent_that_vanished_meanwhile_fails_the_spawn_and_nothing_else(tmp_path: Path, runtime: str) -> None:
    with fleet(tmp_path, runtime) as subject:
        mine = _tool(tmp_path)
        first, second = _waiting(subject, **mine)
        Path(mine["options"]["command"][0]).unlink()
        subject.ask(first, "kill")
        row = subject.until(second, ended)
        _failed(row, "runtime", "my-agent")
        _nothing_stays(subject, second)
        assert subject.branches() == {f"holdfast/{first}"}
        subject.until(subject.spawn(), settled)


@pytest.mark.slow
@pytest.mark.needs("tmux")
def test_a_runtime_that_vanished_meanwhile_fails_the_spawn_and_nothing_else(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("git", "sh", "env", "split", "true", "cat", "tmux"):
        (programs / name).symlink_to(str(shutil.which(name)))
    path = {"PATH": str(programs)}
    with fleet(tmp_path, "tmux", HOLDFAST_FLEET_MIN_FREE_MEMORY_MB="10000000", **path) as subject:
        session = subject.spawn()
        subject.daemon.stop()
        (programs / "tmux").unlink()
        subject.up(**path)
        row = subject.until(session, ended, seconds=90)
        assert (row["state"], row["reason"]) == ("terminated", "error_in_process")
        assert "tmux" in row["evidence"]["error"]
        subject.wait(subject.owed, lambda owed: not owed, seconds=90)
        _nothing_stays(subject, session)
        assert subject.branches() == set()
        assert subject.ask(session, "kill").status == 409


@pytest.mark.slow
@pytest.mark.guards(
    "A kill while a set-up command runs ends that command at once, and leaves nothing of the session.",
    against="A session that hangs in its set-up cannot be ended before the set-up's time is over.",
    breaks=("fleet-kills-wait-for-the-setup",),
)
def test_a_kill_in_the_middle_of_the_setup_ends_it_and_leaves_nothing(tmp_path: Path) -> None:
    with fleet(tmp_path, "process") as subject:
        here, gate = tmp_path / "here", tmp_path / "gate"
        os.mkfifo(here)
        os.mkfifo(gate)
        setup = [f"echo $$ > '{here}'; read word < '{gate}'"]
        subject.daemon.ask("PATCH", "/api/v1/projects/demo", {"setup": setup})
        session = subject.spawn()
        shell = processes.identify(int(here.read_text()))  # it waits now
        assert shell is not None
        assert subject.ask(session, "kill").status == 202
        assert subject.ask(session, "kill").status == 202
        row = subject.until(session, ended)
        assert (row["state"], row["reason"]) == ("terminated", "manually_killed")
        assert processes.state(shell) == "dead"
        subject.wait(subject.owed, lambda owed: not owed)
        _nothing_stays(subject, session)
        assert subject.branches() == set()


# --- restores ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.guards(
    "A restore that fails changes nothing of its session, and leaves nothing of its own.",
    against="A failed restore loses the reason of the end, the worktree or the conversation, or leaves half of one.",
    breaks=("fleet-failed-restores-leave-a-worktree",),
)
@pytest.mark.parametrize("cleaned", [False, True])
def test_a_restore_that_fails_changes_nothing(tmp_path: Path, cleaned: bool) -> None:
    with fleet(tmp_path, "process") as subject:
        mine = _tool(tmp_path)
        session = subject.spawn(**mine)
        subject.until(session, lambda row: row["is_alive"] and row["saga"] is None)
        subject.ask(session, "kill")
        subject.until(session, ended)
        if cleaned:
            subject.ask(session, "cleanup")
            subject.until(session, lambda row: row["workspace"] is None and row["saga"] is None)
        before, trees = subject.session(session), subject.worktrees()
        tool = Path(mine["options"]["command"][0])
        tool.rename(tmp_path / "hidden")
        assert subject.ask(session, "restore").status == 202
        subject.wait(lambda: subject.rows("SELECT outcome FROM launches WHERE number = 2 AND ended_at > ''"), bool)
        row = subject.until(session, lambda row: row["saga"] is None)
        assert row == before
        assert subject.worktrees() == trees
        assert subject.processes() == []
        assert subject.places() == set()
        (tmp_path / "hidden").rename(tool)
        assert subject.ask(session, "restore").status == 202
        row = subject.until(session, lambda row: row["is_alive"] and row["saga"] is None)
        assert row["launch"] == 3
        assert len(subject.worktrees()) == 1


@pytest.mark.slow
@pytest.mark.guards(
    "A session that was cleaned up comes back with its work, byte for byte, and with its conversation.",
    against="Cleaning up is the end of what was not committed, or of the conversation.",
    breaks=("fleet-forgets-what-it-kept",),
)
def test_a_restore_after_a_cleanup_has_the_work_and_the_conversation(tmp_path: Path) -> None:
    with fleet(tmp_path, "process") as subject:
        steps = "turn:\nedit README more\nedit new.txt fresh\nturn:\ncommit\nedit late.txt x\nevery:\nwork"
        session = subject.spawn("one", steps=steps)
        first = subject.until(session, settled)
        subject.turn(session, "two")
        subject.ask(session, "kill")
        row = subject.until(session, ended)
        folder = Path(row["workspace"])
        work, head = bytes_of(folder), git(folder, "rev-parse", "HEAD")
        assert {"README", "new.txt", "late.txt"} <= set(work)
        subject.ask(session, "cleanup")
        subject.until(session, lambda row: row["workspace"] is None and row["saga"] is None)
        assert not folder.exists()

        subject.ask(session, "restore")
        row = subject.until(session, settled)
        assert (row["launch"], row["agent_session_id"]) == (2, first["agent_session_id"])
        assert row["workspace"] == str(folder)
        assert {name: what for name, what in bytes_of(folder).items() if name in work} == work
        assert (git(folder, "rev-parse", "HEAD"), git(folder, "branch", "--show-current")) == (head, row["branch"])
        assert git(folder, "status", "--porcelain") == "?? late.txt"
        subject.turn(session, "three")
        assert [line["source"] for line in subject.journal(session, "start")] == ["startup", "resume"]


@pytest.mark.slow
@pytest.mark.guards(
    "What was owed to a launch that has ended never touches a later one.",
    against="A kill, or the tidying after an end, that is done late ends the agent that was restored meanwhile.",
    breaks=("fleet-reaps-what-was-restored", "fleet-late-kills-hit-later-launches"),
)
@pytest.mark.parametrize("reason", ["manually_killed", None])
def test_a_kill_that_comes_late_leaves_a_later_launch_alone(tmp_path: Path, reason: str | None) -> None:
    with fleet(tmp_path, "process") as subject:
        session = subject.spawn()
        subject.until(session, settled)
        subject.ask(session, "kill")
        subject.until(session, ended)
        subject.ask(session, "restore")
        subject.until(session, settled)
        subject.wait(subject.owed, lambda owed: not owed)
        agent = subject.handle(session, 2).process
        subject.daemon.kill()
        subject.rows(_OWE, "kill", 1, reason, session)
        subject.again()
        subject.wait(subject.owed, lambda owed: not owed)
        assert processes.state(agent) == "alive"
        row = subject.session(session)
        assert (row["is_alive"], row["launch"], row["status"]) == (True, 2, "idle")
        assert subject.launch(session, 2)["ended_at"] is None


@pytest.mark.slow
@pytest.mark.guards(
    "A restore that was called off before it began is not done.",
    against="An agent starts that nobody asked for any more, in nobody's place.",
    breaks=("fleet-restores-what-was-called-off",),
)
def test_a_restore_that_was_called_off_is_not_done(tmp_path: Path) -> None:
    with fleet(tmp_path, "process") as subject:
        session = subject.spawn(steps="turn:\nexit 3")
        subject.until(session, ended)
        subject.wait(subject.owed, lambda owed: not owed)
        before = subject.session(session)
        subject.daemon.kill()
        subject.rows(_OWE, "restore", 2, None, session)
        subject.again()
        subject.wait(subject.owed, lambda owed: not owed)
        assert subject.session(session) == before
        assert subject.rows("SELECT number FROM launches") == [{"number": 1}]
        assert subject.processes() == []
