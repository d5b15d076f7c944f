"""Ours for a fleet: `holdfast up` with tmux, asked over its HTTP API, with the agent as `command`.

A session is `POST /api/v1/sessions` with its prompt, which is typed into the agent's terminal when that is ready; it
gets a git worktree below the data folder. A message is `POST /api/v1/sessions/{id}/messages`, and its confirmation an
event of the change stream.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.contender import ROOT
from bench.peers.answer import Answer
from bench.peers.fleet import Fleet, end_server, finish, request, server_pid

_UP_SECONDS = 30.0
_SAID_SECONDS = 10.0
#: After a restart, what an agent without hooks had just shown counts as work for some seconds.
_TOLD_SECONDS = 30.0
_BASE = "/api/v1/sessions"


class Ours(Fleet):
    """The daemon, and a client of it."""

    runtime = "tmux"

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder, "agent")
        self.port, self.data = port, folder / "data"
        settings = {"RUNTIME": self.runtime, "MAX_SESSIONS": "1000", "MIN_FREE_MEMORY_MB": "0"}
        given = {f"HOLDFAST_FLEET_{name}": value for name, value in settings.items()}
        self.env = self.environment(PYTHONPATH=str(ROOT / "src"), XDG_RUNTIME_DIR=str(self.short), **given)
        self.program = [sys.executable, "-m", "holdfast"]
        self.daemon: subprocess.Popen[bytes] | None = None
        self.token = ""

    @property
    def socket(self) -> Path:
        """Where the tmux server of this store listens."""
        return next((self.short / "holdfast").glob("*/tmux"))

    def start(self) -> None:
        first = self.daemon is None
        argv = [*self.program, "up", "--data", str(self.data), "--listen", f"127.0.0.1:{self.port}"]
        with (self.folder / "log").open("ab") as log:
            self.daemon = subprocess.Popen(
                argv, env=self.env, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._until_ready()
        self.token = (self.data / "token").read_text().strip()
        if first:
            self.register()

    def register(self) -> None:
        """Make the repository a project."""
        options = {"command": [str(self.agent)]}
        project = {"path": str(self.repo), "id": "bench", "agent": "command", "options": options}
        self.call("POST", "/api/v1/projects", {**project, "max_sessions": 1000})

    def _until_ready(self) -> None:
        deadline = time.monotonic() + _UP_SECONDS
        assert self.daemon is not None
        while True:
            try:
                request(self.connect(), "GET", "/readyz")
            except (OSError, RuntimeError) as error:
                if time.monotonic() > deadline or self.daemon.poll() is not None:
                    message = f"the daemon did not come up ({error}): {(self.folder / 'log').read_text()[-600:]}"
                    raise RuntimeError(message) from None
                time.sleep(0.005)
            else:
                return

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """One request on a connection of its own."""
        connection = self.connect()
        try:
            return request(connection, method, path, body, self.token)
        finally:
            connection.close()

    def ask(self, number: int, *, carried: bool) -> str:
        body = {"project": "bench", "prompt": f"task {number}"}
        options = {"options": {"prompt": "argument"}} if carried else {}
        return str(self.call("POST", _BASE, {**body, **options})["id"])

    def sessions(self, connection: Any) -> int:
        return len(request(connection, "GET", f"{_BASE}?limit=500", token=self.token)["items"])

    def say(self, number: int, text: str, seconds: float = _SAID_SECONDS) -> float | None:
        """Follow the stream from before the request on, as a client would, to the event of the confirmation."""
        head = self.call("GET", "/api/v1/changes?limit=1")["head"]
        stream = self.connect()
        stream.request("GET", f"/api/v1/events?after={head}", headers={"Authorization": f"Bearer {self.token}"})
        events = stream.getresponse()
        message = self.call("POST", f"{_BASE}/{self.names[number]}/messages", {"text": text})["id"]
        deadline, known = time.monotonic() + seconds, None
        while known is None and time.monotonic() < deadline:
            line = events.readline()
            if line.startswith(b"data:") and b'"message"' in line:
                payload = json.loads(line.removeprefix(b"data:")).get("payload", {})
                if payload.get("id") == message and payload.get("state") == "confirmed":
                    known = time.time()
        stream.close()
        return known

    def processes(self) -> tuple[int | None, int]:
        assert self.daemon is not None
        return self.daemon.pid, server_pid(self.socket, self.env)

    def resting(self) -> int:
        return sum(row["state"] == "idle" for row in self._rows())

    def crash(self, seconds: float) -> Answer:
        """Known again: ready, every survivor alive in its first launch, the dead one ended and why, a message told."""
        assert self.daemon is not None
        victim = self.names[max(self.names)]
        before = {row["id"]: row["alive_since"] for row in self._rows()}
        self.daemon.kill()
        self.daemon.wait()
        os.kill(self.journal.heard[f"task {max(self.names)}"][1], signal.SIGKILL)
        begins, begin = len(self.journal.began), time.monotonic()
        self.start()
        up, known, rows = time.monotonic() - begin, None, {}
        while known is None and time.monotonic() - begin < seconds:
            rows = {row["id"]: row for row in self._rows()}
            living = [row for name, row in rows.items() if name != victim]
            right = all(row["is_alive"] and row["alive_since"] == before[row["id"]] for row in living)
            if right and rows[victim]["reason"] == "agent_process_exited":
                known = time.monotonic() - begin
            else:
                time.sleep(0.005)
        told = self.say(min(self.names), "say 900001", _TOLD_SECONDS)
        self.journal.look()
        return {
            "sessions": len(self.names),
            "up": up,
            "known": known,
            "victim": f"{rows[victim]['state']}, {rows[victim]['reason']}",
            "started again": len(self.journal.began) - begins,
            "message reached its agent": self.journal.times.get("say 900001") == 1 and told is not None,
        }

    def _rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.call("GET", f"{_BASE}?limit=500")["items"]
        return rows

    def end(self) -> None:
        finish(self.daemon)
        for socket in (self.short / "holdfast").glob("*/tmux"):
            end_server(socket, self.env)


if __name__ == "__main__":
    Ours(Path(sys.argv[1]), int(sys.argv[2])).serve()
