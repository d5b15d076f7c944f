"""Fleets for tests: a real daemon, a real repository, real runtimes; and what they may leave behind."""

from __future__ import annotations

import hashlib
import json
import os
import re
import select
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import apsw
import msgspec
import pytest

from daemons import PATIENCE, Answer, Daemon
from holdfast.core.store.prepare import DATABASE
from holdfast.fleet import processes
from holdfast.fleet.processes import Identity
from holdfast.fleet.runtimes.port import Handle

GIT = {
    "GIT_AUTHOR_NAME": "A Person",
    "GIT_AUTHOR_EMAIL": "person@example.org",
    "GIT_COMMITTER_NAME": "A Person",
    "GIT_COMMITTER_EMAIL": "person@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}
_OVER = ("terminated", "done")
#: What a test does not wait for, unless it is about that.
_QUICK = {"HOLDFAST_FLEET_MIN_FREE_MEMORY_MB": "0", "HOLDFAST_STREAM_KEEP_ALIVE_SECONDS": "1"}
#: Both runtimes, as pytest's parameters.
RUNTIMES = (pytest.param("tmux", marks=[pytest.mark.needs("tmux")]), "process")


def settled(row: Any) -> bool:
    """A session that lives and waits, with nobody at work on it."""
    return row["is_alive"] and row["status"] == "idle" and row["saga"] is None


def ended(row: Any) -> bool:
    """A session that has ended, with nobody at work on it."""
    return row["state"] in _OVER and row["saga"] is None


def git(repository: Path, *words: str) -> str:
    """What git says of a repository; it must succeed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | GIT
    done = subprocess.run(["git", "-C", str(repository), *words], env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def repository(folder: Path) -> Path:
    """A small repository with two commits."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    (folder / "README").write_text("first\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    (folder / "code.py").write_text("print('hello')\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "second")
    return folder


@dataclass
class Fleet:
    """One daemon with one project, and the person who uses it."""

    daemon: Daemon
    repository: Path
    runtime: str
    _store: str = field(default="", init=False)

    def up(self, **env: str) -> Fleet:
        """Start the daemon, with these variables for this start only, and wait until it is up."""
        self.begin(**env)
        assert self.daemon.ready(), self.daemon.said()
        return self

    def begin(self, **env: str) -> None:
        """Start the daemon, which may die at any moment."""
        self.daemon.env = {"HOLDFAST_FLEET_RUNTIME": self.runtime, **_QUICK} | env
        self.daemon.begin()

    def again(self, **env: str) -> Fleet:
        """Start the next daemon where the last one listened: agents call it there."""
        self.daemon.words = ("--listen", f"127.0.0.1:{urlsplit(self.daemon.url).port}")
        return self.up(**env)

    @property
    def store(self) -> str:
        """The store's uuid, by which everything outside is marked."""
        if not self._store:
            self._store = self.get("/api/v1/status")["store"]["uuid"]
        return self._store

    def get(self, path: str) -> Any:
        """What a GET answers; it must succeed."""
        answer = self.daemon.ask("GET", path)
        assert answer.status == 200, (path, answer)
        return answer.body

    def post(self, path: str, body: object | None = None, *, status: int | None = None) -> Any:
        """What a POST answers; it must succeed, or have this status."""
        answer = self.daemon.ask("POST", path, body)
        assert answer.status == status if status is not None else answer.status < 300, (path, answer)
        return answer.body

    def register(self, **more: object) -> None:
        """Register the repository as project `demo`."""
        self.post(
            "/api/v1/projects",
            {"path": str(self.repository), "id": "demo", "agent": "scripted", "max_sessions": 50, **more},
        )

    def spawn(self, prompt: str = "say hello", *, steps: str = "", **more: object) -> str:
        """Ask for a session, whose agent takes these steps; its id."""
        asked = {"project": "demo", "prompt": prompt, **({"options": {"steps": steps}} if steps else {}), **more}
        return str(self.post("/api/v1/sessions", asked)["id"])

    def ask(self, session: str, what: str) -> Answer:
        """Ask for something to be done with a session: kill, restore, cleanup."""
        return self.daemon.ask("POST", f"/api/v1/sessions/{session}/{what}")

    def say(self, session: str, text: str) -> int:
        """Say something to an agent; the number of the message."""
        return int(self.post(f"/api/v1/sessions/{session}/messages", {"text": text})["id"])

    def turn(self, session: str, text: str) -> Any:
        """Say something to an agent that waits, and wait until it has done it; the session then."""
        before = self.session(session)["activity"]["at"]
        self.say(session, text)
        return self.until(session, lambda row: settled(row) and row["activity"]["at"] > before)

    def session(self, session: str) -> Any:
        """A session as it is now."""
        return self.get(f"/api/v1/sessions/{session}")

    def sessions(self) -> dict[str, Any]:
        """All of them, by id."""
        return {row["id"]: row for row in self.get("/api/v1/sessions?limit=500")["items"]}

    def until_all(
        self, ids: Iterable[str], right: Callable[[Any], bool], *, seconds: float = PATIENCE
    ) -> dict[str, Any]:
        """Wait until all of these sessions are as they should be."""
        wanted = list(ids)
        found = self.wait(self.sessions, lambda rows: all(right(rows[each]) for each in wanted), seconds=seconds)
        return {each: found[each] for each in wanted}

    def until(self, session: str, right: Callable[[Any], bool], *, seconds: float = PATIENCE) -> Any:
        """Wait until a session is as it should be; told of by the change stream, so nothing is slept through."""
        return self.wait(lambda: self.session(session), right, seconds=seconds)

    def wait(self, look: Callable[[], Any], right: Callable[[Any], bool], *, seconds: float = PATIENCE) -> Any:
        """Look again after every change, and whenever the stream says that it is there, until it is right."""
        deadline = monotonic() + seconds
        head = self.get("/api/v1/changes?limit=1")["head"]
        found = look()
        if right(found):
            return found
        with closing(self.daemon.connect()) as line:
            line.request(
                "GET", f"/api/v1/events?after={head}", headers={"Authorization": f"Bearer {self.daemon.token}"}
            )
            stream = line.getresponse()
            while not right(found):
                assert monotonic() < deadline, f"not within {seconds:g} s: {_brief(found)}"
                try:
                    told = stream.readline()
                except TimeoutError:
                    continue
                if not told:
                    raise DaemonGoneError
                if not told.strip():  # an event has ended, or a comment
                    found = look()
        return found

    # --- what is stored ----------------------------------------------------------------------------------------

    def rows(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """What the store holds, read from outside of the daemon; or changed, where none runs."""
        with closing(apsw.Connection(str(self.daemon.data / DATABASE))) as connection:
            connection.set_busy_timeout(5_000)
            cursor = connection.cursor()
            cursor.row_trace = lambda at, row: dict(zip((name for name, _ in at.get_description()), row, strict=True))
            return list(cursor.execute(statement, values))

    def launch(self, session: str, number: int = 1) -> dict[str, Any]:
        """The row of a launch."""
        (row,) = self.rows("SELECT * FROM launches WHERE session = ? AND number = ?", session, number)
        return row

    def handle(self, session: str, number: int = 1) -> Handle:
        """What was started."""
        return msgspec.json.decode(self.launch(session, number)["handle"], type=Handle)

    def notices(self) -> list[dict[str, Any]]:
        """What people were told of."""
        return self.rows("SELECT kind, subject, text, resolved_at FROM notices ORDER BY id")

    def incidents(self) -> list[dict[str, Any]]:
        """Outages of what many sessions share."""
        return self.rows("SELECT runtime, cause, sessions, ended_at FROM incidents ORDER BY id")

    def owed(self) -> list[dict[str, Any]]:
        """What is still to be done to sessions; what is to be said to them, or looked at in a minute, may wait."""
        found = self.rows("SELECT kind, key, state, reason, error FROM propagations WHERE state <> 'dead'")
        return [
            each
            for each in found
            if each["kind"].startswith("fleet.") and each["kind"] not in {"fleet.message", "fleet.pull"}
        ]

    # --- what the agent says of itself -------------------------------------------------------------------------

    def home(self, session: str) -> Path:
        """The folder of an agent's own files."""
        return self.daemon.data / "sessions" / session / "agent"

    def journal(self, session: str, kind: str | None = None) -> list[dict[str, Any]]:
        """What an agent has noted: what it was given, exactly."""
        path = self.home(session) / "journal.jsonl"
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
        return [line for line in lines if kind in {None, line["kind"]}]

    # --- what is outside ---------------------------------------------------------------------------------------

    def processes(self, session: str | None = None) -> list[Identity]:
        """Every process that bears the mark of this store, or of one of its sessions."""
        marks = {"HOLDFAST_STORE": self.store} | ({"HOLDFAST_SESSION": session} if session else {})
        return processes.owned(None, marks)

    def places(self) -> set[str]:
        """What the runtime has of ours."""
        if self.runtime == "tmux":
            socket = self.tmux_socket()
            done = subprocess.run(
                ["tmux", "-S", str(socket), "list-sessions", "-F", "#{session_name}"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            return {line for line in done.stdout.splitlines() if line.startswith(f"hf{self.store[:8]}-")}
        return {
            name.group(0)
            for name in map(re.compile(rf"hf{self.store[:8]}-[a-z0-9-]+").search, self._cmdlines())
            if name
        }

    def tmux_socket(self) -> Path:
        """Where the tmux server of this store listens."""
        base = Path(os.environ["XDG_RUNTIME_DIR"]) / "holdfast" if os.environ.get("XDG_RUNTIME_DIR") else None
        folders = [base, Path(f"/tmp/holdfast-{os.getuid()}")]
        found = [each / self.store[:8] / "tmux" for each in folders if each is not None]
        return next((each for each in found if each.exists()), found[-1])

    def _cmdlines(self) -> Iterator[str]:
        for _, words in _running():
            yield b" ".join(words).decode("utf-8", "replace")

    def tmux_processes(self) -> list[Identity]:
        """Every tmux that was started for this store, by the socket that it was given: servers, also such as hang, have
        lost their socket, or were started by a daemon that died before it could note them; and their clients."""
        ours = [[b"-S", os.fsencode(folder / "tmux")] for folder in self._socket_folders()]
        found = (processes.identify(pid) for pid, words in _running() if words[1:3] in ours)
        return [each for each in found if each is not None]

    def _socket_folders(self) -> list[Path]:
        """The folders for sockets that daemons have noted here."""
        noted = (path.read_text("utf-8").strip() for path in self.daemon.data.glob("runtimes/*/sockets"))
        return [Path(each) for each in dict.fromkeys(noted) if each]

    def worktrees(self) -> set[str]:
        """The paths of git's worktrees beside the person's own checkout."""
        lines = git(self.repository, "worktree", "list", "--porcelain").splitlines()
        found = {line.removeprefix("worktree ") for line in lines if line.startswith("worktree ")}
        return found - {str(self.repository.resolve())}

    def branches(self) -> set[str]:
        """The branches that are ours."""
        return set(git(self.repository, "for-each-ref", "--format=%(refname:short)", "refs/heads/holdfast").split())

    def close(self) -> None:
        """End the daemon and everything that it has started, by identity, however far it came; and prove it."""
        try:
            self.daemon.close()
        finally:
            if not self._store:  # it was never asked
                with suppress(apsw.Error, IndexError):
                    self._store = self.rows("SELECT value FROM store_meta WHERE name = 'uuid'")[0]["value"]
            agents = processes.end(self.processes, 0.5).stubborn if self._store else ()
            stubborn = [*agents, *processes.end(self.tmux_processes, 0.5).stubborn]
            for folder in self._socket_folders():
                shutil.rmtree(folder, ignore_errors=True)
        assert not stubborn, f"these would not end: {stubborn}"


def _running() -> Iterator[tuple[int, list[bytes]]]:
    """The pid and the command line of every process."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                yield int(folder.name), (folder / "cmdline").read_bytes().split(b"\0")


def _brief(found: Any) -> str:
    """What was seen instead, in a few lines."""
    rows = list(found.values()) if isinstance(found, dict) and "state" not in found else [found]
    names = ("id", "state", "status", "reason", "launch", "saga", "is_alive", "activity", "queue_reason", "evidence")
    told = [{name: row[name] for name in names} if isinstance(row, dict) and "saga" in row else row for row in rows]
    return "\n".join(json.dumps(each)[:800] for each in told)[:4000]


def gone(identity: processes.Identity, seconds: float = PATIENCE) -> bool:
    """Wait until this process is gone; whether it is."""
    with suppress(ProcessLookupError):
        descriptor = os.pidfd_open(identity.pid)
        try:
            if processes.state(identity) == "alive":
                poll = select.poll()
                poll.register(descriptor, select.POLLIN)
                poll.poll(seconds * 1000)
        finally:
            os.close(descriptor)
    return processes.state(identity) == "dead"


def bytes_of(folder: Path) -> dict[str, str]:
    """Everything below a folder: the kind, mode and content of each, without git's own folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if name.parts[0] == ".git":
            continue
        content = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        raw = content.encode() if isinstance(content, str) else content
        found[str(name)] = f"{path.lstat().st_mode:o} {hashlib.sha256(raw).hexdigest()}"
    return found


class DaemonGoneError(Exception):
    """The daemon ended while something was waited for."""


@contextmanager
def fleet(folder: Path, runtime: str, **env: str) -> Iterator[Fleet]:
    """A fleet whose daemon is up and whose project is registered; nothing of it is left afterwards."""
    made = Fleet(Daemon(folder / "data"), repository(folder / "repo"), runtime)
    try:
        made.up(**env)
        assert made.store
        made.register()
        yield made
    finally:
        made.close()
