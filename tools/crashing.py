"""`make crash`: many rounds of the crash tests, then a death at every fault point, on both engines.

A first round lives every life of `tests/crash/lives.py`, and one of the whole daemon, and notes which points each
reaches. Then each life dies at each of its points and what was acknowledged is looked for. A point that no life reaches
fails.
`crashing.py points` walks the points only, `crashing.py rounds` runs the tests only.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import holdfast
from guarantees import ROOT, environment
from holdfast.core import faults

sys.path.insert(0, str(ROOT / "tests"))

from crash import fleeting
from daemons import Daemon
from fleets import fleet
from pg import Server

LIVES = ROOT / "tests" / "crash" / "lives.py"
NOTING = ROOT / "tests" / "crash" / "noting"
SCRIPTED = ("writing", "crossing", "gap", "migrating", "backing-up", "propagating")
DAEMON = "daemon"
ROUNDS = "200"
SECONDS = 120
WRITES = 30
_ACCEPTED = 201


@dataclass(frozen=True)
class Lived:
    """How a life ended, and what it told of before."""

    status: int
    told: tuple[str, ...]
    words: str


def registry() -> list[str]:
    """Every point that the package declares."""
    for info in pkgutil.walk_packages(holdfast.__path__, "holdfast."):
        if not info.name.endswith("__main__"):
            importlib.import_module(info.name)
    return sorted(faults.points())


def live(life: str, data: Path, url: str | None, **more: str) -> Lived:
    """Live one of the scripts, or as a daemon."""
    if life == DAEMON:
        return whole(data, url, **more)
    words = [sys.executable, str(LIVES), life, str(data), *([url] if url else [])]
    done = subprocess.run(
        words, env={**environment(ROOT), **more}, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    told = [line.partition(" ")[2] for line in done.stdout.splitlines() if line.startswith("ack ")]
    return Lived(done.returncode, tuple(told), done.stderr[-1500:])


def verified(life: str, data: Path, url: str | None, told: tuple[str, ...]) -> str:
    """What is wrong with the store that a life left; empty if nothing."""
    if life == DAEMON:
        return verified_daemon(data, url, told)
    words = [sys.executable, str(LIVES), f"after-{life}", str(data), *([url] if url else [])]
    done = subprocess.run(
        words,
        env=environment(ROOT),
        input="\n".join(told),
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    return "" if done.returncode == 0 else done.stderr[-1500:]


@contextmanager
def _ending(daemon: Daemon) -> Iterator[Daemon]:
    try:
        yield daemon
    finally:
        daemon.close()


def _write(daemon: Daemon, told: list[str]) -> None:
    for number in range(WRITES):
        answer = daemon.ask("POST", "/api/v1/tokens", {"name": f"kept-{number}", "scope": "read"})
        if answer.status == _ACCEPTED:
            told.append(answer.body["id"])


def whole(data: Path, url: str | None, **more: str) -> Lived:
    """The life of a daemon: it starts, takes writes, is told to end."""
    told: list[str] = []
    with _ending(Daemon(data, database=url, env=more)) as daemon:
        daemon.begin()
        if daemon.ready():
            with suppress(OSError, HTTPException):  # it died while it was asked
                _write(daemon, told)
            with suppress(ProcessLookupError):
                daemon.stop()
        return Lived(daemon.ended(), tuple(told), daemon.said()[-1500:])


def verified_daemon(data: Path, url: str | None, told: tuple[str, ...]) -> str:
    """What is wrong when a daemon starts on what another left."""
    with _ending(Daemon(data, database=url)) as daemon:
        daemon.begin()
        if not daemon.ready():
            return f"does not start again: {daemon.said()[-1500:]}"
        listed = daemon.ask("GET", "/api/v1/tokens?limit=500").body["items"]
        gone = set(told) - {token["id"] for token in listed}
        status = daemon.stop()
    if gone:
        return f"acknowledged writes are gone: {sorted(gone)}"
    return f"ended with {status}" if status else ""


@dataclass
class Walk:
    """One engine's walk over the points."""

    server: Server | None
    folder: Path
    number: int = 0

    @property
    def engine(self) -> str:
        """Its name."""
        return "postgres" if self.server else "sqlite"

    def place(self) -> tuple[Path, str | None]:
        """A fresh data folder and, on PostgreSQL, a fresh database."""
        self.number += 1
        data = self.folder / f"{self.engine}-{self.number}" / "data"
        data.parent.mkdir()
        return data, self.server.new_database() if self.server else None

    def survey(self) -> dict[str, list[str]]:
        """The lives that reach each point; a life that fails without any fault ends the walk."""
        reached: dict[str, list[str]] = {}
        for life in (*SCRIPTED, DAEMON):
            data, url = self.place()
            noted = data.with_name("noted")
            path = f"{NOTING}{os.pathsep}{ROOT / 'src'}"
            lived = live(life, data, url, NOTE_POINTS=str(noted), PYTHONPATH=path)
            if lived.status != 0:
                raise SystemExit(f"{self.engine}: {life} fails without any fault ({lived.status}):\n{lived.words}")
            for point in noted.read_text(encoding="utf-8").split() if noted.exists() else []:
                reached.setdefault(point, []).append(life)
        return reached

    def die(self, life: str, point: str) -> tuple[bool, str]:
        """Die there, and look for what was told of: whether it died, and what is wrong."""
        data, url = self.place()
        lived = live(life, data, url, HOLDFAST_FAULTS=f"{point}=die")
        if lived.status not in (0, faults.DIED):
            return False, f"ended with {lived.status}:\n{lived.words}"
        return lived.status == faults.DIED, verified(life, data, url, lived.told)


def walk(engine: Walk, died_at: set[str]) -> int:
    """Die at every point in every life that reaches it; how often something was wrong."""
    wrong = 0
    for point, lives in sorted(engine.survey().items()):
        for life in lives:
            died, why = engine.die(life, point)
            wrong += bool(why)
            if died:
                died_at.add(point)
            # Some points are met by chance: a conflict, a gap. One life that dies there is enough.
            word = "FAIL" if why else "died" if died else "not met this time"
            print(f"{engine.engine:<8} {life:<10} {point}: {word} {why}", flush=True)
    return wrong


def points() -> int:
    """Walk the registry on both engines."""
    names, found = set(registry()), set[str]()
    with tempfile.TemporaryDirectory() as folder:
        wrong = walk(Walk(None, Path(folder)), found)
        server = Server()
        try:
            wrong += walk(Walk(server, Path(folder)), found)
        finally:
            server.stop()
    for runtime in ("tmux", "process"):
        with tempfile.TemporaryDirectory() as folder, fleet(Path(folder), runtime) as subject:
            left = fleeting.walk(subject, Path(folder) / "dying")
            found |= set(fleeting.points(runtime)) - set(left)
            print(
                f"sqlite   sessions   {runtime}: died at {len(fleeting.points(runtime)) - len(left)} points", flush=True
            )
    messages = {name for name in names if name.startswith("message.")}
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/crash/test_message_kill9.py"]
    if subprocess.run(words, cwd=ROOT, env=environment(ROOT), check=False).returncode:
        wrong += 1
    else:
        found |= messages
    missed = sorted(names - found)
    for name in missed:
        print(f"FAIL no life died at the point {name}")
    print(f"crash: {len(found)} of {len(names)} points died at, {wrong} lives that went wrong")
    return 1 if wrong or missed else 0


def rounds() -> int:
    """The crash tests, with many more rounds."""
    words = [sys.executable, "-m", "pytest", "-n", "2", "--dist=loadgroup", "-m", "crash", "--timeout=3600", "tests"]
    return subprocess.run(
        words, cwd=ROOT, env={**environment(ROOT), "HOLDFAST_CRASH_ROUNDS": ROUNDS}, check=False
    ).returncode


def main() -> int:
    """Both, or what was asked for."""
    match sys.argv[1:]:
        case []:
            return rounds() or points()
        case ["points"]:
            return points()
        case ["rounds"]:
            return rounds()
        case _:
            print("usage: crashing.py [points|rounds]")
            return 2


if __name__ == "__main__":
    sys.exit(main())
