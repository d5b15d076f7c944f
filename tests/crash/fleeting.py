"""Lives of sessions under a daemon that dies at one fault point after another, and what must hold after each."""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

import holdfast.fleet
from daemons import ROOT
from fleets import DaemonGoneError, Fleet, git, repository
from holdfast.cli.failures import CommandError
from holdfast.core import faults

DYING = Path(__file__).with_name("dying")
#: The points of a session outside of its conversation, which has a walk of its own.
_OURS = (
    "launch.",
    "undo.",
    "kill.",
    "cleanup.",
    "workspace.",
    "capture.",
    "kept.",
    "watch.",
    "spool.",
    "tmux.",
    "process.",
)
#: Points that only one of the runtimes passes.
OF_RUNTIME = {"tmux": ("tmux.",), "process": ("process.", "holder.")}
_OVER = ("terminated", "done")


def points(runtime: str) -> list[str]:
    """Every point of the fleet's modules that a session in this runtime may pass."""
    names = [info.name for info in pkgutil.walk_packages(holdfast.fleet.__path__, "holdfast.fleet.")]
    for name in names:
        if not name.endswith(("__main__", "_program")):
            importlib.import_module(name)
    others = tuple(start for other, starts in OF_RUNTIME.items() if other != runtime for start in starts)
    return sorted(name for name in faults.points() if name.startswith(_OURS) and not name.startswith(others))


class Mortal:
    """A fleet whose daemon dies at points that are still on the list, twice in each thing that is done at most."""

    def __init__(self, subject: Fleet, folder: Path, left: list[str]) -> None:
        self.fleet = subject
        self.deaths = 0
        self._folder = folder
        self._write("points", "\n".join(left))
        self._write("allowed", "")
        subject.daemon.stop()
        self.begin()
        assert subject.daemon.ready(), subject.daemon.said()

    @property
    def left(self) -> list[str]:
        """The points that nobody has died at."""
        return (self._folder / "points").read_text("utf-8").split()

    def _write(self, name: str, text: str) -> None:
        self._folder.mkdir(exist_ok=True)
        (self._folder / name).write_text(text, "utf-8")

    def begin(self) -> None:
        """Start a daemon that may die."""
        self.fleet.begin(DIE_AT=str(self._folder), PYTHONPATH=f"{DYING}{os.pathsep}{ROOT / 'src'}")

    def through(
        self, act: Callable[[], None], session: str, settled: Callable[[Any], bool], *, deaths: int = 2
    ) -> None:
        """Do something and wait until it is settled, under daemons that may die of it; after the third it is buried."""
        self._write("allowed", "x" * deaths)
        self.mended(act)
        self.mended(lambda: self.fleet.until(session, settled))
        self._write("allowed", "")

    def mended(self, act: Callable[[], Any]) -> Any:
        """Do this; again, on another daemon, whenever this one died."""
        while True:
            try:
                return act()
            except (DaemonGoneError, OSError, HTTPException, CommandError):
                self.revive()

    def revive(self) -> None:
        """Start the daemon again until it stays."""
        while True:
            assert self.fleet.daemon.ended() == faults.DIED, self.fleet.daemon.said()
            self.deaths += 1
            self.begin()
            if self.fleet.daemon.ready():
                return

    # --- the lives ---------------------------------------------------------------------------------------------

    def whole(self, session: str) -> None:
        """From the spawn to the clean-up, and once more from what was kept."""
        self.through(lambda: self.spawn("demo", session), session, lives(1))
        self.look(session, agents=1)
        self.through(self.ask(session, "kill"), session, ended)
        self.look(session, agents=0)
        for launch in (2, 3):
            self.through(self.ask(session, "restore"), session, lives(launch))
            self.look(session, agents=1)
            self.through(self.ask(session, "kill"), session, ended)
            self.look(session, agents=0)
            self.through(self.ask(session, "cleanup"), session, cleaned, deaths=1)
            self.look(session, agents=0, worktrees=0)

    def failing(self, session: str) -> None:
        """A spawn that cannot be: nothing stays but the row that says why."""
        self.through(lambda: self.spawn("broken", session), session, ended)
        row = self.mended(lambda: self.fleet.session(session))
        assert (row["reason"], row["evidence"]["step"]) == ("error_in_process", "setup"), row
        self.look(session, agents=0, worktrees=0)
        other = self._folder.with_name("other")
        assert len(git(other, "worktree", "list").splitlines()) == 1
        assert not git(other, "for-each-ref", "refs/heads/holdfast")

    def spawn(self, project: str, session: str) -> None:
        """Ask for a session, unless it was asked for, and the daemon died before it could say so."""
        there = [row["id"] for row in self.fleet.get("/api/v1/sessions")["items"]]
        if session not in there:
            assert self.fleet.spawn(project=project) == session

    def ask(self, session: str, what: str) -> Callable[[], None]:
        """Ask for the end, the return or the clean-up of a session."""
        before = self.deaths

        def ask() -> None:
            answer = self.fleet.daemon.ask("POST", f"/api/v1/sessions/{session}/{what}")
            # Asked again after a death, it may have been taken, and be done, already.
            assert answer.status in ({200, 202, 409} if self.deaths > before else {200, 202}), answer

        return ask

    def look(self, session: str, *, agents: int, worktrees: int = 1) -> None:
        """What is outside is what the row says, and nothing else."""
        row = self.mended(lambda: self.fleet.session(session))
        assert row["is_alive"] == bool(agents), row
        assert len(self.fleet.places()) == agents
        mine = set(self.fleet.processes(session))
        assert bool(mine) == bool(agents)
        assert set(self.fleet.processes()) == mine
        starts = [line["launch"] for line in self.fleet.journal(session, "start")]
        assert len(starts) == len(set(starts)), f"an agent was started twice for one launch: {starts}"
        assert len(self.fleet.worktrees()) == worktrees
        assert len(self.fleet.branches()) <= 1


def lives(launch: int) -> Callable[[Any], bool]:
    """Whether this launch lives, and no saga has the session in hand."""
    return lambda row: row["is_alive"] and row["launch"] == launch and row["saga"] is None


def ended(row: Any) -> bool:
    """Whether it has ended, and no saga has it in hand."""
    return row["state"] in _OVER and row["saga"] is None


def cleaned(row: Any) -> bool:
    """Whether its worktree is gone, and no saga has it in hand."""
    return row["workspace"] is None and row["saga"] is None


def walk(subject: Fleet, folder: Path) -> list[str]:
    """Live on until no life dies any more; the points that were never met."""
    changed = subject.daemon.ask("PATCH", "/api/v1/projects/demo", {"setup": ["true"]})
    assert changed.status == 200, changed
    other = repository(folder.with_name("other"))
    subject.post("/api/v1/projects", {"path": str(other), "id": "broken", "agent": "scripted", "setup": ["exit 3"]})
    mortal = Mortal(subject, folder, points(subject.runtime))
    number = 0
    while True:
        number += 1
        before = mortal.deaths
        if subject.runtime == "tmux":  # so that its start is passed too
            words = ["tmux", "-S", str(subject.tmux_socket()), "kill-server"]
            subprocess.run(words, capture_output=True, check=False, timeout=10)
        mortal.whole(f"demo-{number}")
        mortal.failing(f"broken-{number}")
        if mortal.deaths == before or not mortal.left:
            return mortal.left
