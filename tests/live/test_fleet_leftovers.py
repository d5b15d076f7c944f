"""Worktrees that are made anew, and those that cannot be removed: made ready each time, and never a reason to hang."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from daemons import holdfast
from fleets import Fleet, ended, fleet, settled


def _setup(subject: Fleet, *commands: str, **more: object) -> None:
    answer = subject.daemon.ask("PATCH", "/api/v1/projects/demo", {"setup": commands, **more})
    assert answer.status == 200, answer


def _hides(away: Path) -> str:
    """A command after which git does not know the worktree, so that nothing can prove that its work is kept."""
    return f"mv \"$(git rev-parse --absolute-git-dir)\" '{away}'"


def _put_back(subject: Fleet, away: Path, session: str) -> None:
    away.rename(subject.repository / ".git" / "worktrees" / session)


def _told(subject: Fleet) -> list[tuple[str, bool]]:
    return [(each["kind"], each["resolved_at"] is None) for each in subject.notices()]


# --- worktrees that are new ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.guards(
    "A worktree that was made anew for a restore is made ready as the first one was: the person's files are brought, "
    "and the set-up commands run; one that stands is left as it is.",
    against="An agent goes on in a worktree without its dependencies and secrets, because only launch 1 is set up.",
    breaks=("fleet-sets-up-the-first-launch-only", "fleet-brings-files-once"),
)
@pytest.mark.parametrize("how", ["cleaned up", "deleted"])
def test_a_worktree_that_is_made_anew_is_set_up_again(tmp_path: Path, how: str) -> None:
    with fleet(tmp_path, "process") as subject:
        repository, ran = subject.repository, tmp_path / "ran"
        (repository / ".git" / "info" / "exclude").write_text(".env\n")
        (repository / ".env").write_text("SECRET=1\n")
        _setup(subject, f"cat .env >> '{ran}'", copy=[".env"])
        session = subject.spawn()
        folder = Path(subject.until(session, settled)["workspace"])
        assert ran.read_text() == "SECRET=1\n"

        subject.ask(session, "kill")
        subject.until(session, ended)
        subject.ask(session, "restore")
        subject.until(session, settled)
        assert ran.read_text() == "SECRET=1\n"  # it stood

        subject.ask(session, "kill")
        subject.until(session, ended)
        if how == "deleted":
            shutil.rmtree(folder)
        else:
            subject.ask(session, "cleanup")
            subject.until(session, lambda row: row["workspace"] is None and row["saga"] is None)
        (repository / ".env").write_text("SECRET=2\n")
        subject.ask(session, "restore")
        row = subject.until(session, settled)
        assert (row["launch"], row["workspace"]) == (3, str(folder))
        assert (folder / ".env").read_text() == "SECRET=2\n"
        assert ran.read_text() == "SECRET=1\nSECRET=2\n"


@pytest.mark.slow
def test_a_set_up_that_fails_for_a_restore_leaves_the_session_cleaned_up(tmp_path: Path) -> None:
    with fleet(tmp_path, "process") as subject:
        session = subject.spawn()
        subject.until(session, settled)
        subject.ask(session, "kill")
        subject.until(session, ended)
        subject.ask(session, "cleanup")
        before = subject.until(session, lambda row: row["workspace"] is None and row["saga"] is None)
        _setup(subject, "echo it is busy; exit 3")
        subject.ask(session, "restore")
        subject.wait(lambda: subject.rows("SELECT outcome FROM launches WHERE number = 2 AND ended_at > ''"), bool)
        assert subject.until(session, lambda row: row["saga"] is None) == before
        assert "it is busy" in subject.launch(session, 2)["outcome"]
        assert subject.worktrees() == set()
        _setup(subject)
        subject.ask(session, "restore")
        assert subject.until(session, settled)["launch"] == 3


# --- worktrees that stay -------------------------------------------------------------------------------------------


def _stays(subject: Fleet, session: str, row: Any, away: Path) -> None:
    """It has ended, its worktree is named and told of, and goes by a clean-up once nothing is in the way."""
    folder = subject.daemon.data / "workspaces" / "demo" / session
    assert (row["workspace"], row["evidence"]["worktree"]) == (str(folder), str(folder))
    assert row["evidence"]["stays"]
    assert folder.exists()
    assert _told(subject) == [("worktree-stays", True)]
    (owed,) = subject.wait(subject.owed, lambda found: [each["kind"] for each in found] == ["fleet.cleanup"])
    assert owed["state"] in {"pending", "waiting"}
    explained = "\n".join(subject.get(f"/api/v1/sessions/{session}/explain")["lines"])
    assert "cleanup is owed" in explained
    assert subject.processes(session) == []
    said = holdfast("status", "--data", str(subject.daemon.data)).stdout
    assert f"holdfast cleanup {session}" in said

    _put_back(subject, away, session)
    assert subject.ask(session, "cleanup").status == 202
    subject.until(session, lambda row: row["workspace"] is None and row["saga"] is None)
    subject.wait(subject.owed, lambda owed: not owed)
    assert not folder.exists()
    assert _told(subject) == [("worktree-stays", False)]
    assert "holdfast cleanup" not in holdfast("status", "--data", str(subject.daemon.data)).stdout


@pytest.mark.slow
@pytest.mark.guards(
    "A spawn that failed ends with its reason also where its worktree cannot be removed; that is named, told of, owed.",
    against="A session that could not be set up is tried again and again, or its worktree is forgotten.",
    breaks=("fleet-failed-spawns-wait-for-their-worktree", "fleet-forgets-what-stays"),
)
def test_a_failed_spawn_ends_though_its_worktree_cannot_be_removed(tmp_path: Path) -> None:
    with fleet(tmp_path, "process") as subject:
        away, ran = tmp_path / "away", tmp_path / "ran"
        _setup(subject, f"echo once >> '{ran}'", _hides(away), "exit 3")
        session = subject.spawn()
        row = subject.until(session, ended)
        assert (row["state"], row["reason"], row["evidence"]["step"]) == ("terminated", "error_in_process", "setup")
        assert ran.read_text() == "once\n"
        assert subject.rows("SELECT id FROM sessions WHERE admitted_at IS NOT NULL") == []
        subject.daemon.stop()
        data = str(subject.daemon.data)
        said = holdfast("up", "--detach", "--listen", "127.0.0.1:0", "--data", data, **subject.daemon.env).stdout
        assert holdfast("down", "--data", data).returncode == 0
        assert f"holdfast cleanup {session}" in said
        subject.again()
        _stays(subject, session, row, away)


@pytest.mark.slow
@pytest.mark.guards(
    "A kill of a half-made session comes to its end also where the worktree cannot be removed; that is named, told "
    "of, and its clean-up is owed and seen.",
    against="A kill that cannot tidy up is tried until it dies, and the session is shown as spawning for ever.",
    breaks=("fleet-kills-wait-for-the-worktree", "fleet-forgets-what-stays"),
)
@pytest.mark.parametrize("spawn", ["goes on", "is gone"])
def test_a_kill_of_a_half_made_session_ends_though_its_worktree_cannot_be_removed(tmp_path: Path, spawn: str) -> None:
    with fleet(tmp_path, "process") as subject:
        away, here, gate = tmp_path / "away", tmp_path / "here", tmp_path / "gate"
        os.mkfifo(here)
        os.mkfifo(gate)
        _setup(subject, _hides(away), f"echo here > '{here}'; read word < '{gate}'")
        session = subject.spawn()
        assert here.read_text() == "here\n"
        if spawn == "is gone":
            subject.daemon.kill()
            subject.rows("DELETE FROM propagations WHERE kind = 'fleet.spawn'")
            subject.again()
        assert subject.ask(session, "kill").status == 202
        row = subject.until(session, ended)
        assert (row["state"], row["reason"]) == ("terminated", "manually_killed")
        _stays(subject, session, row, away)
