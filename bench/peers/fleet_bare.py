"""The floor of a fleet: a loop of the commands a person would type, and nothing that knows or remembers anything.

For each session `git worktree add -b`, `tmux new-session` with the agent, `tmux pipe-pane` into a file. When all of
them stand, `tmux send-keys` with the prompt to each: whether an agent is ready is not looked at. The tmux server is up
before. There is no daemon: who ended, and what was typed, nobody knows afterwards.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.peers.answer import Answer
from bench.peers.fleet import Fleet, end_server, server_pid


class Bare(Fleet):
    """Commands, one after the other."""

    at_once = 1

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "agent")
        self.socket = self.short / "tmux"
        self.env = self.environment()
        for each in ("trees", "output"):
            (folder / each).mkdir()

    def tmux(self, *words: str) -> str:
        """One command of tmux; what it printed."""
        argv = ["tmux", "-S", str(self.socket), "-f", "/dev/null", *words]
        return subprocess.run(argv, env=self.env, capture_output=True, text=True, timeout=30, check=True).stdout

    def start(self) -> None:
        self.tmux("new-session", "-d", "-s", "keeper", "sleep", "1000000")

    def ask(self, number: int, *, carried: bool) -> str:
        assert not carried
        name = f"bare-{number}"
        tree = self.folder / "trees" / name
        git = ["git", "-C", str(self.repo), "worktree", "add", "-q", "-b", f"bare/{number}", str(tree), "main"]
        subprocess.run(git, env=self.env, timeout=60, check=True)
        self.tmux("new-session", "-d", "-s", name, "-x", "200", "-y", "50", "-c", str(tree), "env", str(self.agent))
        self.tmux("pipe-pane", "-O", "-t", name, f"exec cat >>{self.folder / 'output' / name}")
        return name

    def asked_all(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self.say(number, f"task {number}")

    def say(self, number: int, text: str) -> float | None:
        self.tmux("send-keys", "-t", f"bare-{number}", "-l", text)
        self.tmux("send-keys", "-t", f"bare-{number}", "Enter")
        return None

    def sessions(self, connection: Any) -> int:
        assert connection is None
        return len(self.tmux("list-sessions").splitlines()) - 1

    def processes(self) -> tuple[int | None, int]:
        return None, server_pid(self.socket, self.env)

    def crash(self, seconds: float) -> Answer:
        return {"seconds": seconds}

    def end(self) -> None:
        end_server(self.socket, self.env)


if __name__ == "__main__":
    Bare(Path(sys.argv[1])).serve()
