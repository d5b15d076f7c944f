"""`holdfast up`: how soon it answers, how much memory it holds, what it costs while nothing happens."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.contender import ROOT, ContenderError, environment
from bench.figures import Figure, Target
from bench.machine import cpu_seconds, free_port, resident_kb, wake_ups
from bench.run import Run

START_LIMIT = 15.0
ASK = b"GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n"


def _answers(port: int, path: bytes) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as sock:
            sock.sendall(ASK % (path, port))
            return sock.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


class Started:
    """A program that was told to run, since when, and where it says what."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path, begin: float) -> None:
        self.process = process
        self.pid = process.pid
        self._port = port
        self._log = log
        self._begin = begin

    def seconds_to(self, path: bytes) -> float:
        """Seconds from its start to the first 200 on this path; a program that dies instead is an error."""
        while not _answers(self._port, path):
            if self.process.poll() is not None or time.perf_counter() - self._begin > START_LIMIT:
                said = self._log.read_text(errors="replace").strip()[-600:]
                message = f"{path.decode()} never answered 200 (exit status {self.process.poll()}): {said}"
                raise ContenderError(message)
            time.sleep(0.002)
        return time.perf_counter() - self._begin

    def must_live(self) -> None:
        """Numbers of a dead process are none."""
        if self.process.poll() is not None:
            said = self._log.read_text(errors="replace").strip()[-600:]
            message = f"the daemon ended by itself with status {self.process.returncode}: {said}"
            raise ContenderError(message)


@contextmanager
def started(command: list[str], port: int, log: Path) -> Iterator[Started]:
    """Run a program; it is asked to end afterwards, and made to if it does not."""
    with log.open("ab") as out:
        begin = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment(), cwd=ROOT
        )
    try:
        yield Started(process, port, log, begin)
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def up(data: Path, port: int) -> list[str]:
    """The command a person types, by this interpreter."""
    return [sys.executable, "-m", "holdfast", "up", "--data", str(data), "--listen", f"127.0.0.1:{port}"]


def _bare(folder: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "bench.peers.webapp", str(port), str(folder / "bare.db")]


def _one_start(command: list[str], port: int, log: Path, paths: tuple[bytes, ...]) -> tuple[list[float], float]:
    """Seconds to the first 200 on each path, one after the other, and resident MB a moment later."""
    with started(command, port, log) as daemon:
        took = [daemon.seconds_to(path) for path in paths]
        time.sleep(0.3)
        daemon.must_live()
        return took, resident_kb(daemon.pid) / 1024


def start(run: Run) -> Iterator[Figure]:
    """Cold (nothing there yet), warm (an empty store is there), beside the bare web server, in turns."""
    alive: dict[str, list[float]] = {"cold": [], "warm": [], "bare": []}
    whole: dict[str, list[float]] = {"cold": [], "warm": [], "bare": []}
    memory: dict[str, list[float]] = {"cold": [], "warm": [], "bare": []}
    for _ in run.rounds(5, 1):
        place = run.place("start")
        for kind in ("cold", "bare", "warm"):
            port = free_port()
            command = _bare(place, port) if kind == "bare" else up(place / "data", port)
            paths = (b"/healthz",) if kind == "bare" else (b"/healthz", b"/readyz")
            took, resident = _one_start(command, port, place / f"{kind}.log", paths)
            alive[kind].append(took[0])
            whole[kind].append(took[-1])
            memory[kind].append(resident)
    limit = Target("<=", 0.8)
    yield Figure("start-cold", "up to /healthz, no data folder yet", "s", alive["cold"], alive["bare"], limit)
    yield Figure("start-warm", "up to /healthz, empty store", "s", alive["warm"], alive["bare"], limit)
    # /healthz says that the process lives; everything it is for works from /readyz on.
    yield Figure("ready-cold", "up to /readyz 200, no data folder yet", "s", whole["cold"], whole["bare"])
    yield Figure("ready-warm", "up to /readyz 200, empty store", "s", whole["warm"], whole["bare"])
    yield Figure("resident", "resident when ready", "MB", memory["warm"], memory["bare"], Target("<=", 90))


def idle(run: Run) -> Iterator[Figure]:
    """Processor time and wake-ups of a daemon that nobody asks anything."""
    place, port = run.place("idle"), free_port()
    span = 5.0 if run.quick else 20.0
    with started(up(place / "data", port), port, place / "log") as daemon:
        daemon.seconds_to(b"/readyz")
        time.sleep(2.0)
        cpu, woken, begin = cpu_seconds(daemon.pid), wake_ups(daemon.pid), time.perf_counter()
        time.sleep(span)
        passed = time.perf_counter() - begin
        daemon.must_live()
        share = 100 * (cpu_seconds(daemon.pid) - cpu) / passed
        notes = {"wake-ups a second": (wake_ups(daemon.pid) - woken) / passed, "seconds": passed}
        resident = resident_kb(daemon.pid) / 1024
    yield Figure("idle", "idle, share of a core", "%", [share], target=Target("<=", 0.3), notes=notes)
    yield Figure("idle-resident", "resident after idling", "MB", [resident], target=Target("<=", 90))
