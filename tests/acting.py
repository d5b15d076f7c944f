"""Plays the scripted agent in a terminal of its own: types as a person does, and reads what the agent has noted."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.fleet.agents.declare import Plan, Start
from holdfast.fleet.agents.scripted import SCRIPTED
from holdfast.fleet.signals import hook

PASTE = b"\x1b[200~%b\x1b[201~"
_SECONDS = 20.0


@dataclass
class Stage:
    """The folders of one session."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home = self.folder / "home"
        self.workspace = self.folder / "workspace"
        for path in (self.home, self.workspace):
            path.mkdir(exist_ok=True)
        self.spool = self.folder / "stage-1.jsonl"

    def start(self, steps: str = "", **more: Any) -> Start:
        given = {"prompt": None, "resume": None, "fresh": "fresh-1", "notice": None, "launch": 1, **more}
        options = {"steps": steps} if steps else {}
        return Start("stage-1", workspace=self.workspace, home=self.home, hook=hook.command(), options=options, **given)

    def journal(self, kind: str | None = None) -> list[dict[str, Any]]:
        path = self.home / "journal.jsonl"
        if not path.exists():
            return []
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [line for line in lines if kind in {None, line["kind"]}]

    def texts(self, kind: str) -> list[str]:
        return [line["text"] for line in self.journal(kind)]

    def signals(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.spool.read_text(encoding="utf-8").splitlines()]

    def events(self) -> list[str]:
        return [signal["event"] for signal in self.signals()]

    @contextmanager
    def play(self, steps: str = "", **more: Any) -> Iterator[Play]:
        """The agent in a terminal, until it ends or the block does."""
        start = self.start(steps, **more)
        plan = SCRIPTED.plan(start)
        for path, data in plan.files.items():
            path.write_bytes(data)
        env = {"PATH": os.environ["PATH"], "HOLDFAST_SPOOL": str(self.spool), "HOLDFAST_LAUNCH": str(start.launch)}
        play = Play(self, *_started(plan, self.workspace, {**env, **self.env}))
        try:
            yield play
        finally:
            play.close()


def _started(plan: Plan, cwd: Path, env: Mapping[str, str]) -> tuple[int, int]:
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            os.chdir(cwd)
            os.execve(plan.argv[0], plan.argv, dict(env))
        finally:
            os._exit(127)
    return pid, terminal


@dataclass
class Play:
    """One run of the agent."""

    stage: Stage
    pid: int
    terminal: int
    output: bytes = b""
    status: int | None = None

    def until(self, so: Callable[[], Any]) -> None:
        """Read what it shows until this is so."""
        end = time.monotonic() + _SECONDS
        while not so():
            assert time.monotonic() < end, f"it does not come to that; shown: {self.output[-2000:]!r}"
            self.look(0.005)

    def look(self, seconds: float) -> bool:
        """Read what it shows; whether there was something."""
        if self.terminal < 0 or not select.select([self.terminal], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.terminal, 1 << 16)
        except OSError:
            data = b""
        self.output += data
        if not data:
            os.close(self.terminal)
            self.terminal = -1
        return bool(data)

    def shows(self, text: str) -> None:
        self.until(lambda: text.encode() in self.output)

    def told(self, event: str, times: int = 1) -> None:
        """Until it has given this signal."""
        self.until(lambda: self.stage.spool.exists() and self.stage.events().count(event) >= times)

    def noted(self, kind: str, times: int = 1) -> None:
        """Until its journal has this."""
        self.until(lambda: len(self.stage.journal(kind)) >= times)

    def type(self, data: bytes) -> None:
        """Into its terminal once it takes keys, reading meanwhile."""
        self.shows("\x1b[?2004h")
        left = data
        while left:
            self.look(0)
            if select.select([], [self.terminal], [], 0.005)[1]:
                left = left[os.write(self.terminal, left[:4096]) :]

    def say(self, text: str) -> None:
        """Paste and press Enter."""
        self.type(PASTE % text.encode() + b"\r")

    def end(self) -> int:
        """Until it has ended: its exit status, or the signal as a negative number."""
        self.until(self._gone)
        assert self.status is not None
        return os.waitstatus_to_exitcode(self.status)

    def alive(self) -> bool:
        return not self._gone()

    def _gone(self) -> bool:
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = status if pid else None
        return self.status is not None

    def close(self) -> None:
        if not self._gone():
            os.kill(self.pid, signal.SIGKILL)
            self.status = os.waitpid(self.pid, 0)[1]
        for left in self.stage.journal("left"):
            try:
                os.kill(left["pid"], signal.SIGKILL)
            except ProcessLookupError:
                continue
        if self.terminal >= 0:
            os.close(self.terminal)
            self.terminal = -1
