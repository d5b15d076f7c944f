"""Ours for pulls: `holdfast up` with the scripted agent, whose pulls are checked and watched by the local forge.

The agent edits a file, commits it and says that it is done, so that a pull is opened at once. A check is a line of
shell that stamps the clock as its last act, and the agent stamps what was submitted to it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.machine import cpu_seconds, resident_kb, wake_ups
from bench.ours.fleet import Ours
from bench.peers.answer import Answer
from bench.peers.fleet import STARTED, began, server_pid
from holdfast.fleet.agents.scripted import SCRIPTED

_STEPS = "turn:\nedit made-{number} it\ncommit\ndone\n"
_LOOK = 0.002
#: Pulls are asked for by so many sessions at once, lest the machine has all of them at work together.
_GROUP = 10
#: Repositories that many pulls are of.
_REPOSITORIES = 4
#: A check that fails as tests do: some hundred lines, and the stamp of its end.
_CHECK = """#!/usr/bin/env bash
for n in {{1..300}}; do echo "tests/test_part$((n % 9)).py::test_$n PASSED in 0.$n s"; done
echo 'E   assert 1 == 2'
echo "${{EPOCHREALTIME/,/.}}" >>'{stamps}'
exit 1
"""
_PROGRAM = 0o755


class Pulls(Ours):
    """The daemon, and a client that waits for what pulls come to."""

    def __init__(self, folder: Path, port: int, runtime: str, checked: str) -> None:
        self.runtime = runtime
        super().__init__(folder, port)
        self._checked = checked == "checked"
        self._stamps = folder / "stamps"
        self._number = 0
        self._repositories = tuple(f"bench-{number}" for number in range(1 if self._checked else _REPOSITORIES))

    def register(self) -> None:
        check = self.folder / "bin" / "check"
        check.write_text(_CHECK.format(stamps=self._stamps))
        check.chmod(_PROGRAM)
        for name in self._repositories:
            path = self._repository(name)
            if path != self.repo:
                shutil.copytree(self.repo, path)
            project = {"path": str(path), "id": name, "agent": "scripted", "max_sessions": 1000}
            self.call("POST", "/api/v1/projects", {**project, "checks": [str(check)] if self._checked else []})

    def _repository(self, project: str) -> Path:
        return self.repo if project == self._repositories[0] else self.folder / project

    def start(self) -> None:
        super().start()
        assert self.daemon is not None
        (self.folder / STARTED).write_text(f"{self.daemon.pid} {began(self.daemon.pid)}\n")

    def processes(self) -> tuple[int | None, int]:
        assert self.daemon is not None
        tmux = self.runtime == "tmux"
        return self.daemon.pid, server_pid(self.socket, self.env) if tmux else self.daemon.pid

    def handlers(self) -> dict[str, Callable[..., Answer]]:
        return {"nudge": self.nudge, "open": self.open_pulls, "rest": self.rest, "move": self.move}

    def _asked(self, steps: str) -> str:
        self._number += 1
        options = {"steps": steps.format(number=self._number)}
        project = self._repositories[self._number % len(self._repositories)]
        body = {"project": project, "prompt": f"task {self._number}", "options": options}
        return str(self.call("POST", "/api/v1/sessions", body)["id"])

    # --- from the end of a check to its agent --------------------------------------------------------------------

    def nudge(self, seconds: float) -> Answer:
        """One session whose check fails; ms from the check's last act to the text as it was submitted."""
        before = self._lines(self._stamps)
        session = self._asked(_STEPS)
        journal = self.data / "sessions" / session / "agent" / "journal.jsonl"
        deadline = time.monotonic() + seconds
        while True:
            told = [json.loads(line) for line in self._lines(journal)]
            found = [line for line in told if line["kind"] == "message"]
            if found:
                break
            if time.monotonic() > deadline:
                message = f"the agent of {session} was told nothing within {seconds:g} s; it noted {told[-3:]}"
                raise RuntimeError(message)
            time.sleep(_LOOK)
        self._note()
        (ended,) = (float(line) for line in self._lines(self._stamps)[len(before) :])
        text = found[0]["text"]
        return {
            "ms": (found[0]["seq"] / 1e9 + _booted() - ended) * 1e3,
            "right": text.startswith("CI failed") and "E   assert 1 == 2" in text,
            "characters": len(text),
            "settle": SCRIPTED.input.settle * 1e3,
            "steps": self._steps(session, ended),
        }

    def _lines(self, path: Path) -> list[str]:
        return path.read_text().splitlines() if path.exists() else []

    def _steps(self, session: str, ended: float) -> dict[str, float]:
        """Where the time went: ms since the check's end, by what is stored."""
        (pull,) = self.call("GET", f"/api/v1/pulls?session={session}")["items"]
        whole = self.call("GET", f"/api/v1/pulls/{pull['id']}")
        nudge = whole["nudges"][0]
        messages = self.call("GET", f"/api/v1/sessions/{session}/messages")["items"]
        sent = next(each["created_at"] for each in messages if each["id"] == nudge["message"])
        stamps = {"its end noticed": whole["checks"][0]["finished_at"], "owed": nudge["owed_at"], "a message": sent}
        return {name: (datetime.fromisoformat(stamp).timestamp() - ended) * 1e3 for name, stamp in stamps.items()}

    # --- many pulls at rest ----------------------------------------------------------------------------------------

    def open_pulls(self, count: int, seconds: float) -> Answer:
        """So many open pulls, of sessions whose agents have ended; a few at a time."""
        deadline, asked = time.monotonic() + seconds, 0
        while asked < count:
            group = min(_GROUP, count - asked)
            for _ in range(group):
                self._asked(_STEPS + "exit\n")
            asked += group
            while len(self._open()) < asked:
                if time.monotonic() > deadline:
                    message = f"{len(self._open())} of {asked} pulls were opened within {seconds:g} s"
                    raise RuntimeError(message)
                time.sleep(0.05)
        while any(row["is_alive"] for row in self._rows()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return {
            "repositories": len(self._repositories),
            "open": len(self._open()),
            "alive": sum(bool(row["is_alive"]) for row in self._rows()),
        }

    def _open(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.call("GET", "/api/v1/pulls?state=open&limit=500")["items"]
        return rows

    def rest(self, seconds: float) -> Answer:
        """Ask nothing for so long; the daemon's processor seconds and wake-ups meanwhile."""
        pid = self.processes()[0]
        assert pid is not None
        cpu, woken, begin = cpu_seconds(pid), wake_ups(pid), time.perf_counter()
        time.sleep(seconds)
        return {
            "seconds": time.perf_counter() - begin,
            "cpu": cpu_seconds(pid) - cpu,
            "woken": wake_ups(pid) - woken,
            "resident": resident_kb(pid) / 1024,
        }

    def move(self, seconds: float) -> Answer:
        """Move some branches by hand; how long until each was seen: a watch that sees nothing costs nothing."""
        taken: list[float] = []
        rows = self._open()
        for row in (rows[0], rows[len(rows) // 2], rows[-1]):
            git = [
                "git",
                "-C",
                str(self._repository(row["project"])),
                "-c",
                "user.name=A",
                "-c",
                "user.email=a@example.org",
            ]
            tree = [*git, "commit-tree", "-p", row["head"], "-m", "by hand", f"{row['head']}^{{tree}}"]
            commit = subprocess.run(tree, env=self.env, capture_output=True, text=True, check=True).stdout.strip()
            subprocess.run([*git, "update-ref", f"refs/heads/{row['branch']}", commit], env=self.env, check=True)
            begin = time.monotonic()
            while self.call("GET", f"/api/v1/pulls/{row['id']}")["head"] != commit:
                if time.monotonic() - begin > seconds:
                    return {"seen": taken, "missed": row["id"]}
                time.sleep(0.02)
            taken.append(time.monotonic() - begin)
        return {"seen": taken, "missed": None}


def _booted() -> float:
    """When this machine began, by the wall clock: what is stamped since then, in that clock."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


if __name__ == "__main__":
    Pulls(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]).serve()
