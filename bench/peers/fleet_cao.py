"""CLI Agent Orchestrator (`cao-server`) as it comes, in its own virtual environment and home, asked over its HTTP API.

The agent is started as its provider `mock_cli`, which types `mock_cli` into a login shell in a tmux window; it is the
lightest of its providers, without dialogs, hooks or a model. A session is `POST /sessions` with `initial_message`: the
answer comes before the agent is started. With `use_worktree=true` it makes a git worktree below the repository for each
session, as ours does (`--folder` leaves that out and gives all sessions the repository itself; they come as late). A
message is `POST /terminals/{id}/input`; nothing says when the agent has it. What a terminal does it reads from its
output.
"""

from __future__ import annotations

import argparse
import http.client
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from bench.peers.answer import Answer
from bench.peers.fleet import Fleet, end_server, finish, request, server_pid

_UP_SECONDS = 60.0
_KNOWN = ("idle", "processing", "completed", "waiting_user_answer")


class Orchestrator(Fleet):
    """The server, and a client of it."""

    #: What serves it best: with 8 at once a quarter of 40 agents never came to life (it gives a shell 10 s).
    at_once = 2

    def __init__(self, folder: Path, venv: Path, port: int, *, worktrees: bool) -> None:
        super().__init__(folder, "mock_cli")
        self.venv, self.port, self.worktrees = venv, port, worktrees
        # A login shell sets the path anew, so a person adds to it here.
        (self.home / ".bash_profile").write_text(f'PATH="{folder / "bin"}:$PATH"\n')
        (self.short / "tmux").mkdir()
        self.env = self.environment(TMUX_TMPDIR=str(self.short / "tmux"), CAO_HOME_DIR=str(self.home / ".cao"))
        self.socket = self.short / "tmux" / f"tmux-{os.getuid()}" / "default"
        self.server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        argv = [str(self.venv / "bin" / "cao-server"), "--host", "127.0.0.1", "--port", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            self.server = subprocess.Popen(
                argv, env=self.env, cwd=self.home, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + _UP_SECONDS
        while True:
            try:
                request(self.connect(), "GET", "/health")
            except OSError:
                if time.monotonic() > deadline or self.server.poll() is not None:
                    message = f"cao-server did not come up: {(self.folder / 'log').read_text()[-600:]}"
                    raise RuntimeError(message) from None
                time.sleep(0.02)
            else:
                return

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(self, number: int, *, carried: bool) -> str:
        assert not carried
        query = {"agent_profile": "developer", "provider": "mock_cli", "session_name": f"s{number}"}
        query |= {"working_directory": str(self.repo), "use_worktree": str(self.worktrees).lower()}
        body = {"initial_message": f"task {number}"}
        answer = request(self.connect(), "POST", f"/sessions?{urlencode(query)}", body)
        return str(answer["id"])

    def sessions(self, connection: Any) -> int:
        return len(request(connection, "GET", "/sessions"))

    def say(self, number: int, text: str) -> float | None:
        request(self.connect(), "POST", f"/terminals/{self.names[number]}/input?{urlencode({'message': text})}")
        return None

    def processes(self) -> tuple[int | None, int]:
        assert self.server is not None
        return self.server.pid, server_pid(self.socket, self.env)

    def resting(self) -> int:
        return sum(status in {"idle", "completed", "error"} for status in self._statuses().values())

    def crash(self, seconds: float) -> Answer:
        """After the restart its list, the status of every terminal, and a message to one of them, for a while."""
        assert self.server is not None
        before = self._statuses()
        victim = max(self.names)
        self.server.kill()
        self.server.wait()
        os.kill(self.journal.heard[f"task {victim}"][1], signal.SIGKILL)
        begin = time.monotonic()
        self.start()
        up = time.monotonic() - begin
        listed, after, known = self.sessions(self.connect()), self._statuses(), None
        first = min(self.names)
        self.say(first, "say 900001")
        reached = self.journal.until(["say 900001"], 5.0)
        while known is None and time.monotonic() - begin < seconds:
            time.sleep(0.5)
            after = self._statuses()
            right = all(after[number] in _KNOWN for number in self.names if number != victim)
            known = time.monotonic() - begin if right and after[victim] not in _KNOWN else None
        return {
            "sessions": len(self.names),
            "up": up,
            "known": known,
            "watched": time.monotonic() - begin,
            "listed": listed,
            "before": _counted(before),
            "after": _counted(after),
            "victim": after[victim],
            "message reached its agent": reached,
        }

    def _statuses(self) -> dict[int, str]:
        found, connection = {}, self.connect()
        for number, name in self.names.items():
            try:
                found[number] = str(request(connection, "GET", f"/terminals/{name}").get("status"))
            except RuntimeError:
                found[number] = "not found"
        return found

    def end(self) -> None:
        finish(self.server)
        end_server(self.socket, self.env)


def _counted(statuses: dict[int, str]) -> dict[str, int]:
    values = list(statuses.values())
    return {status: values.count(status) for status in sorted(set(values))}


def main() -> None:
    """Answer the harness."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("place", type=Path)
    parser.add_argument("venv", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("--folder", action="store_true", help="the repository itself instead of a worktree each")
    given = parser.parse_args()
    Orchestrator(given.place, given.venv, given.port, worktrees=not given.folder).serve()


if __name__ == "__main__":
    main()
