"""The hook as agents run it: a process of its own, against a daemon that is there, away, slow, stopped or strange."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from holdfast.fleet.signals import hook
from holdfast.fleet.signals.spool import Spool, Spooled

SECRET = "hft_secret-of-this-session"
ENTRY = (sys.executable, "-m", "holdfast", "hook")

HOLDER = """
import fcntl, sys
with open(sys.argv[1], "a") as spool:
    fcntl.flock(spool, fcntl.LOCK_EX)
    print(flush=True)
    sys.stdin.read()
"""


@dataclass
class Caller:
    """A session, and its hook."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.spool = Spool(self.folder / "spool")
        own = {"SPOOL": self.spool.path("a-1"), "LAUNCH": 3, "SESSION": "a-1", "TOKEN": SECRET}
        source = str(Path(hook.__file__).parents[3])
        self.env |= {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": source,
            **{f"HOLDFAST_{k}": str(v) for k, v in own.items()},
        }

    def call(self, *words: str, given: bytes = b"", command: tuple[str, ...] = (), **more: Any) -> float:
        """Run the hook; how long it took. It never fails, and never says a word."""
        begun = time.monotonic()
        more = {"input": given, "timeout": 30, **more}
        done = subprocess.run(
            [*(command or hook.command()), *words], env=self.env, capture_output=True, check=False, **more
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        return time.monotonic() - begun

    def signals(self) -> tuple[Spooled, ...]:
        return self.spool.read("a-1").signals

    def details(self) -> list[dict[str, Any]]:
        return [signal.detail for signal in self.signals()]


@pytest.fixture
def caller(tmp_path: Path) -> Caller:
    return Caller(tmp_path)


@dataclass
class Daemon:
    """What a daemon saw of the calls; `spooled` is what stood in the spool at that time."""

    caller: Caller
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    spooled: list[int] = field(default_factory=list)


@contextmanager
def daemon(caller: Caller, answer: bytes = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n") -> Iterator[Daemon]:
    seen = Daemon(caller)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.spooled.append(len(caller.signals()))
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.requests.append((self.path, dict(self.headers), body))
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        caller.env["HOLDFAST_URL"] = f"http://127.0.0.1:{server.server_port}"
        try:
            yield seen
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.guards(
    "What an agent's hook says is in the spool before the daemon is called.",
    against="a signal that dies with the daemon that had just taken it",
    breaks=("hook-calls-before-it-writes",),
)
def test_a_signal_is_in_the_spool_and_then_with_the_daemon(caller: Caller) -> None:
    with daemon(caller) as seen:
        caller.call("claude-code", "Stop", given=b'{"session_id":"abc","n":1}')
    ((path, headers, body),) = seen.requests
    (kept,) = caller.signals()
    assert seen.spooled == [1]
    assert path == "/api/v1/sessions/a-1/signals"
    assert headers["Authorization"] == f"Bearer {SECRET}"
    assert body == {"launch": 3, "seq": kept.seq, "event": "Stop", "detail": {"session_id": "abc", "n": 1}}
    assert (kept.launch, kept.agent, kept.event, kept.detail) == (3, "claude-code", "Stop", body["detail"])


def test_the_sequence_is_the_clock_since_boot_as_the_hook_began(caller: Caller) -> None:
    for _ in range(2):
        before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        caller.call("codex", "notify", '{"type":"agent-turn-complete"}')
        assert before < caller.signals()[-1].seq < time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    first, second = caller.signals()
    assert first.seq < second.seq
    assert first.detail == {"type": "agent-turn-complete"}


def test_no_secret_is_in_the_spool(caller: Caller) -> None:
    with daemon(caller) as seen:
        caller.call("codex", "notify", "{}")
    assert len(seen.requests) == 1
    assert SECRET.encode() not in caller.spool.path("a-1").read_bytes()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://127.0.0.1:1",
        "http://[::1]:1",
        "http://127.0.0.1",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:x",
        "http://no.such.host.invalid:80",
        "https://127.0.0.1:1",
        "http://127.0.0.1:1/\r\nX: y",
        "ftp://é",
    ],
)
def test_a_daemon_that_cannot_be_reached_costs_no_signal(caller: Caller, url: str) -> None:
    caller.env["HOLDFAST_URL"] = url
    caller.call("codex", "notify", '{"n":1}')
    assert caller.details() == [{"n": 1}]


@pytest.mark.guards(
    "A daemon that does not answer holds an agent up for a fraction of a second.",
    against="agents that stand still while the daemon is stopped",
    breaks=("hook-waits-for-the-daemon",),
)
def test_a_daemon_that_does_not_answer_is_not_waited_for(caller: Caller) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        caller.env["HOLDFAST_URL"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
        took = caller.call("codex", "notify", json.dumps({"text": "x" * 100_000}))
        assert len(caller.details()) == 1
        assert took < 10
        line, _ = silent.accept()
        with line:
            assert line.recv(4) == b"POST"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 500 No\r\n\r\n", b"HTTP/1.1 401 No\r\n\r\n", b"\xff" * 100_000])
def test_what_the_daemon_answers_does_not_matter(caller: Caller, answer: bytes) -> None:
    with daemon(caller, answer):
        caller.call("codex", "notify", '{"n":1}')
    assert caller.details() == [{"n": 1}]


@pytest.mark.parametrize("spool", ["", "/no/such/folder/a.jsonl", "/dev/full", "relative", "/", "/proc/self/mem"])
def test_a_spool_that_cannot_be_written_fails_nothing(caller: Caller, spool: str, tmp_path: Path) -> None:
    caller.env["HOLDFAST_SPOOL"] = spool
    with daemon(caller) as seen:
        caller.call("codex", "notify", '{"n":1}', cwd=tmp_path)
    assert [body["detail"] for _, _, body in seen.requests] == [{"n": 1}]


@pytest.mark.guards(
    "The hook ends with 0 and says nothing, whatever is wrong.",
    against="an agent that breaks off, or feeds a stack trace to its model, because of a hook",
    breaks=("hook-fails-its-agent",),
)
def test_a_hook_that_is_interrupted_ends_well_and_counts_what_it_could_not_say(caller: Caller) -> None:
    with subprocess.Popen(
        [*hook.command(), "claude-code", "Stop"],
        env=caller.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b'{"half":')
        process.stdin.flush()
        left = bytearray(4)
        while fcntl.ioctl(process.stdin, termios.FIONREAD, left) == 0 and any(left):
            os.sched_yield()  # until it has taken the first half, and waits for the other
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == b""
        assert process.wait(30) == 0
    batch = caller.spool.read("a-1")
    # It waits for the other half for a moment only: if that was over before we came, it has said what it had.
    assert len(batch.signals) + batch.dropped == 1


@pytest.mark.parametrize("launch", ["", "x", "-1", "1e3", "²", "9" * 30])
def test_an_environment_that_is_broken_fails_nothing(caller: Caller, launch: str) -> None:
    caller.env["HOLDFAST_LAUNCH"] = launch
    caller.call("codex", "notify", '{"n":1}')
    assert (caller.spool.path("a-1")).stat().st_size > 0


@pytest.mark.parametrize("words", [(), ("codex",), ("codex", "a\nb"), ("codex", "\udcff", "\udcff"), ("", "", "", "")])
def test_it_never_fails_for_how_it_is_called(caller: Caller, words: tuple[str, ...]) -> None:
    caller.call(*words)
    assert len(caller.signals()) == (len(words) > 1)


@pytest.mark.parametrize(
    ("given", "detail"),
    [
        (b"", {}),
        (b'{"prompt":"' + b"x" * 200_000 + b'"}', {"prompt": "x" * 200_000}),
        (b'{"a":', {"unreadable": '{"a":'}),
        (b'["list"]', {"value": ["list"]}),
    ],
)
def test_the_payload_is_read_from_the_standard_input(caller: Caller, given: bytes, detail: dict[str, Any]) -> None:
    caller.call("claude-code", "Stop", given=given)
    assert caller.details() == [detail]


def test_an_agent_that_does_not_close_the_standard_input_is_not_waited_for(caller: Caller) -> None:
    readable, writable = os.pipe()
    os.write(writable, b'{"n":1}')
    with os.fdopen(readable, "rb") as given, os.fdopen(writable, "wb"):
        took = caller.call("claude-code", "Stop", stdin=given, input=None)
    assert caller.details() == [{"n": 1}]
    assert took < 10


@pytest.mark.parametrize("source", ["terminal", "closed", "silent"])
def test_a_standard_input_that_gives_nothing_is_not_waited_for(caller: Caller, source: str) -> None:
    first, second = pty.openpty() if source == "terminal" else os.pipe()
    given = second if source == "terminal" else first
    command = ("/bin/sh", "-c", 'exec "$@" <&-', "sh", *hook.command()) if source == "closed" else hook.command()
    took = caller.call("claude-code", "Stop", stdin=given, input=None, command=command)
    for end in (first, second):
        os.close(end)
    assert caller.details() == [{}]
    assert took < 10


def test_hooks_that_run_at_once_each_leave_a_whole_line(caller: Caller) -> None:
    command = [*hook.command(), "codex", "notify"]
    running = [
        subprocess.Popen([*command, json.dumps({"n": number, "text": "x" * 50_000})], env=caller.env)
        for number in range(20)
    ]
    assert [process.wait(60) for process in running] == [0] * 20
    batch = caller.spool.read("a-1")
    assert batch.garbage == 0
    found = list(batch.signals)
    while batch.more:
        caller.spool.settle(batch)
        batch = caller.spool.read("a-1")
        found += batch.signals
    assert sorted(signal.detail["n"] for signal in found) == list(range(20))


def test_a_stopped_hook_that_holds_the_lock_stops_no_other(caller: Caller) -> None:
    words = [sys.executable, "-c", HOLDER, str(caller.spool.path("a-1"))]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        assert caller.call("codex", "notify", '{"n":1}') < 10
        process.send_signal(signal.SIGCONT)
        process.communicate(b"")
    assert caller.details() == [{"n": 1}]


def test_the_command_line_reaches_the_same_hook_without_loading_itself(caller: Caller) -> None:
    caller.call("codex", "notify", '{"n":1}', command=ENTRY)
    caller.call("codex", "stop", given=b'{"n":2}', command=ENTRY)
    assert caller.details() == [{"n": 1}, {"n": 2}]
    words = [sys.executable, "-X", "importtime", *ENTRY[1:], "codex", "stop"]
    done = subprocess.run(words, env=caller.env, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "json" in loaded
    assert not {"typer", "asyncio", "fastapi", "msgspec", "holdfast.fleet", "socket"} & loaded


def test_it_loads_little(caller: Caller) -> None:
    command = (sys.executable, "-X", "importtime", *hook.command()[1:], "codex", "stop")
    done = subprocess.run(command, env=caller.env, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "json" in loaded
    assert not {"socket", "typing", "pathlib", "subprocess", "threading", "ssl", "dataclasses", "site"} & loaded
