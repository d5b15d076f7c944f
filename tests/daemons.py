"""Real daemons for tests: `holdfast up` as a process of its own, asked over HTTP, ended as the test wants."""

from __future__ import annotations

import http.client
import json
import os
import re
import selectors
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
PATIENCE = 30.0
_UP = re.compile(rb"is up at (\S+) \(pid (\d+)")


def environment(**extra: str) -> dict[str, str]:
    """The environment of a stranger's shell: no settings of ours but those given."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HOLDFAST_")}
    return kept | {"PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"} | extra


def holdfast(*words: str, seconds: float = PATIENCE, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        [sys.executable, "-m", "holdfast", *words],
        env=environment(**env), cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip


@dataclass
class Answer:
    """What the daemon answered."""

    status: int
    body: Any
    headers: Mapping[str, str]


@dataclass
class Daemon:
    """One data folder and the daemon that runs on it, if one does."""

    data: Path
    database: str | None = None
    words: Sequence[str] = ("--listen", "127.0.0.1:0")
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    url: str = ""

    def begin(self) -> None:
        """Start the process; it may die at any moment from now on."""
        extra = {"HOLDFAST_DATABASE": self.database} if self.database else {}
        self.data.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "holdfast", "up", "--data", str(self.data), *self.words],
                env=environment(**extra, **self.env), cwd=ROOT, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip

    @property
    def log(self) -> Path:
        """What the daemon said on its error stream."""
        return self.data.with_name(self.data.name + ".stderr")

    def said(self) -> str:
        """All of it."""
        return self.log.read_text("utf-8", errors="replace")

    @property
    def running(self) -> subprocess.Popen[bytes]:
        """The process."""
        assert self.process is not None, "the daemon was not started"
        return self.process

    def ready(self) -> bool:
        """Wait until it says that it is up; False if it ended before."""
        out = self.running.stdout
        assert out is not None
        deadline = monotonic() + PATIENCE
        heard = b""
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            while selector.select(max(0.0, deadline - monotonic())):
                chunk = os.read(out.fileno(), 65_536)
                heard += chunk
                if (found := _UP.search(heard)) is not None:
                    self.url = found[1].decode()
                    return True
                if not chunk:
                    return False
        raise AssertionError(f"the daemon was not up after {PATIENCE:g} s; it said:\n{self.said()}")

    def up(self) -> Daemon:
        """Start it and wait until it is up."""
        self.begin()
        assert self.ready(), f"the daemon ended with {self.ended()}; it said:\n{self.said()}"
        return self

    def ended(self) -> int:
        """Wait for its end; the exit status."""
        status = self.running.wait(PATIENCE)
        if self.running.stdout is not None:
            self.running.stdout.close()
        return status

    def kill(self) -> None:
        """End it as a power button would."""
        self.running.send_signal(signal.SIGKILL)
        self.ended()

    def stop(self) -> int:
        """Ask it to end and wait; the exit status."""
        self.running.send_signal(signal.SIGTERM)
        return self.ended()

    def close(self) -> None:
        """End it, if it still runs."""
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.ended()

    @property
    def token(self) -> str:
        """The first token."""
        return (self.data / "token").read_text("utf-8").strip()

    def connect(self) -> http.client.HTTPConnection:
        """A connection to it."""
        parts = urlsplit(self.url)
        assert parts.hostname is not None, "the daemon is not up"
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE)

    def ask(self, method: str, path: str, body: object = None, *, token: str | None = "", **headers: str) -> Answer:
        """One request on a connection of its own, signed in unless `token` is None."""
        connection = self.connect()
        try:
            return ask(connection, method, path, body, token=self.token if token == "" else token, **headers)
        finally:
            connection.close()


def ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: object = None,
    *,
    token: str | None = None,
    **headers: str,
) -> Answer:
    """One request on a connection that is there."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    if body is not None:
        sent["Content-Type"] = "application/json"
    connection.request(method, path, None if body is None else json.dumps(body), sent)
    response = connection.getresponse()
    raw = response.read()
    found = {name.lower(): value for name, value in response.getheaders()}
    is_json = found.get("content-type", "").startswith("application/json")
    return Answer(response.status, json.loads(raw) if raw and is_json else raw, found)
