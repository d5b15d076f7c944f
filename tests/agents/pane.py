"""One agent in one pane of a real tmux server of its own, and the processes that came of it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_NEVER = threading.Event()


class Late(AssertionError):
    """What was waited for did not come in time."""


def pause(seconds: float) -> None:
    """Let a foreign program be, where it takes what comes too soon for something else."""
    _NEVER.wait(seconds)


def wait(what: str, look: Callable[[], T], seconds: float = 40) -> T:
    """Look until there is something; bounded. Foreign programs draw when they like: nothing can call us."""
    limit = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > limit:
            raise Late(f"{what}: not within {seconds} s")
        pause(0.05)
    return found


class Pane:
    """A tmux server with one session; its pane stays when its program has ended, so that the status can be read."""

    def __init__(self, width: int = 120, height: int = 40) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="hf")
        self._socket = str(Path(self._folder.name) / "s")
        self._size = ("-x", str(width), "-y", str(height))
        self.live = False

    def _tmux(self, *words: str, given: str | None = None) -> str:
        argv = ["tmux", "-f", "/dev/null", "-S", self._socket, *words]
        env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TERM": "xterm-256color"}
        done = subprocess.run(argv, input=given, capture_output=True, text=True, env=env, timeout=20, check=False)
        if done.returncode:
            raise AssertionError(f"tmux {words[0]}: {done.stderr.strip()}")
        return done.stdout

    def run(self, script: Path, argv: tuple[str, ...], env: Mapping[str, str], folder: Path) -> None:
        """Run this with just this environment. It stands in a file: tmux takes no long commands."""
        words = shlex.join(["env", "-i", *(f"{name}={value}" for name, value in env.items()), *argv])
        script.write_text(f"cd {shlex.quote(str(folder))} && exec {words}\n")
        self._tmux("new-session", "-d", "-s", "a", *self._size, f"exec sh {shlex.quote(str(script))}")
        self._tmux("set-option", "-t", "a", "remain-on-exit", "on")
        self.live = True

    @property
    def lines(self) -> list[str]:
        return self._tmux("capture-pane", "-p", "-t", "a").split("\n")

    @property
    def cursor(self) -> tuple[int, int]:
        """Its row and column."""
        column, row = self._tmux("display", "-p", "-t", "a", "#{cursor_x} #{cursor_y}").split()
        return int(row), int(column)

    def shows(self, pattern: re.Pattern[str] | None) -> bool:
        return pattern is not None and any(pattern.search(line) for line in self.lines)

    def paste(self, text: str) -> None:
        """Text as the product writes it: bracketed where the agent asks for that."""
        self._tmux("load-buffer", "-b", "text", "-", given=text)
        self._tmux("paste-buffer", "-p", "-r", "-d", "-b", "text", "-t", "a")

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", "-t", "a", *keys)

    def ended(self) -> bool:
        return self._tmux("display", "-p", "-t", "a", "#{pane_dead}").strip() == "1"

    def hang_up(self) -> None:
        """Close the terminal under the agent, as `kill-session` does."""
        if self.live:
            self.live = False
            self._tmux("kill-server")

    def close(self) -> None:
        if self.live:
            self.hang_up()
        self._folder.cleanup()


def owned(mark: str) -> dict[int, str]:
    """The living processes whose environment bears this mark, and their commands."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if mark.encode() not in (entry / "environ").read_bytes().split(b"\0"):
                continue
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            if state != "Z":
                found[int(entry.name)] = (entry / "cmdline").read_text().split("\0")[0]
        except (OSError, UnicodeDecodeError):
            continue
    return found


def strangers() -> dict[int, str]:
    """All other living processes of this place without a network: whatever an agent left, under whatever name."""
    mine, found = Path("/proc/self/ns/net").readlink(), {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            if (entry / "ns" / "net").readlink() == mine and state != "Z":
                found[int(entry.name)] = (
                    (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                )
        except OSError:
            continue
    return found


def end(mark: str, how: signal.Signals | None, seconds: float = 10) -> dict[int, str]:
    """Send this signal to all that bear the mark, and give those that are still there after a while."""
    for pid in owned(mark) if how is not None else ():
        try:
            os.kill(pid, how)  # type: ignore[arg-type]
        except ProcessLookupError:
            continue
    try:
        wait("all gone", lambda: not owned(mark), seconds)
    except Late:
        return owned(mark)
    return {}
