"""What every fleet of the bench shares, ours, the floor and the peer: its folder, its agent's journal, its questions.

The agent is `fleet_agent.sh` in all of them. It stamps its begin and every line that it reads with the wall clock, in
one file; whoever asks for a session stamps with the same clock, so no fleet is believed about itself.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.peers.answer import Answer, serve

AGENT = Path(__file__).with_name("fleet_agent.sh")
#: The mode of the agent's copy, and files of a repository that is small but no toy.
_PROGRAM, _FILES, _LINES = 0o755, 200, 40
#: The file that names what a fleet has started.
STARTED = "started"
_WORDS = re.compile(r"(task|say) (\d+)")
_LOOK = 0.005


class Journal:
    """What the agents of one fleet have written down, read as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        #: When the agent of this pid began; when, and by which pid, a text was read first.
        self.began: dict[int, float] = {}
        self.heard: dict[str, tuple[float, int]] = {}
        #: How often each text was read.
        self.times: dict[str, int] = {}

    def look(self) -> None:
        """Take in what has been written since the last look."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            whole = file.read().rpartition(b"\n")[0]
        self._read += len(whole) + 1 if whole else 0
        for line in whole.decode("utf-8", "replace").splitlines():
            word, stamp, pid, *rest = line.split(" ", 3)
            if word == "start":
                self.began[int(pid)] = float(stamp)
            elif found := _WORDS.search("".join(rest)):
                self.heard.setdefault(found[0], (float(stamp), int(pid)))
                self.times[found[0]] = self.times.get(found[0], 0) + 1

    def until(self, texts: Iterable[str], seconds: float) -> bool:
        """Wait until all of these were read by somebody."""
        left, deadline = set(texts), time.monotonic() + seconds
        while left:
            self.look()
            left -= self.heard.keys()
            if left and time.monotonic() > deadline:
                return False
            time.sleep(_LOOK if left else 0)
        return True


class Fleet:
    """A fleet in a folder of its own, with the agent in `bin`, a repository in `repo` and a private home."""

    #: Requests that are under way at once when many sessions are asked for; a loop of commands has one.
    at_once = 8

    def __init__(self, folder: Path, program: str) -> None:
        self.folder = folder
        self.short = Path(tempfile.mkdtemp(prefix="fleet-"))  # sockets need short paths
        self.home, self.repo = folder / "home", folder / "repo"
        for each in (folder / "bin", self.home):
            each.mkdir(parents=True)
        self.agent = folder / "bin" / program
        shutil.copyfile(AGENT, self.agent)
        self.agent.chmod(_PROGRAM)
        self.journal = Journal(folder / "journal")
        self.names: dict[int, str] = {}
        _repository(self.repo, self.environment())

    def environment(self, **more: str) -> dict[str, str]:
        """A clean one: nothing of the caller's but the path."""
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        fixed = {"LANG": "C.UTF-8", "SHELL": "/bin/bash", "TERM": "xterm-256color", "PATH": path}
        return {**fixed, "HOME": str(self.home), "GIT_CONFIG_NOSYSTEM": "1", **more}

    # --- what each fleet does its own way --------------------------------------------------------------------------

    def start(self) -> None:
        """Have everything up that there is before the first session."""
        raise NotImplementedError

    def ask(self, number: int, *, carried: bool) -> str:
        """Ask for a session that is to read `task <number>`, typed or on its command line; its name."""
        raise NotImplementedError

    def asked_all(self, numbers: Iterable[int]) -> None:
        """All sessions of one experiment were asked for."""

    def sessions(self, connection: Any) -> int:
        """List the sessions once; how many there are."""
        raise NotImplementedError

    def connect(self) -> Any:
        """What `sessions` is asked through."""
        return None

    def say(self, number: int, text: str) -> float | None:
        """Say a line to a session; when it is known that the agent has it, if that is ever known."""
        raise NotImplementedError

    def processes(self) -> tuple[int | None, int]:
        """The daemon and the tmux server."""
        raise NotImplementedError

    def resting(self) -> int:
        """How many sessions it takes for idle."""
        return len(self.names)

    def crash(self, seconds: float) -> Answer:
        """End the daemon by signal 9 and one agent with it; start it again and see what it knows."""
        raise NotImplementedError

    def end(self) -> None:
        """End everything that was started."""
        raise NotImplementedError

    # --- the questions -----------------------------------------------------------------------------------------

    def spawn(self, first: int, count: int, seconds: float, *, carried: bool = False) -> Answer:
        """Ask for sessions, several at once, and wait until each has read its prompt."""
        numbers = range(first, first + count)
        asked: dict[int, float] = {}
        answered: dict[int, float] = {}
        refused: list[str] = []

        def one(number: int) -> None:
            asked[number] = time.time()
            try:
                self.names[number] = self.ask(number, carried=carried)
            except (OSError, RuntimeError, subprocess.SubprocessError) as error:
                refused.append(f"{number}: {error}"[:300])
            answered[number] = time.time()

        with ThreadPoolExecutor(self.at_once) as pool:
            list(pool.map(one, numbers))
        self.asked_all(numbers)
        self.journal.until((f"task {number}" for number in numbers), seconds)
        self._note()
        begin, pids = min(asked.values()), self._agents(numbers)
        rows = [
            {
                "since the first": asked[number] - begin,
                "answered": answered[number] - asked[number],
                "alive": self.journal.began[pids[number]] - asked[number],
                "read": self.journal.heard.get(f"task {number}", (asked[number] + seconds, 0))[0] - asked[number],
            }
            for number in numbers
            if number in pids
        ]
        texts = [f"task {number}" for number in numbers]
        return {
            "sessions": rows,
            "alive": max((self.journal.began[pid] for pid in pids.values()), default=begin) - begin,
            "read": max(self.journal.heard.get(text, (begin + seconds, 0))[0] for text in texts) - begin,
            "not alive": count - len(rows),
            "not read": sum(text not in self.journal.heard for text in texts),
            "refused": refused[:3],
        }

    def _agents(self, numbers: Iterable[int]) -> dict[int, int]:
        """Whose agent has which pid: by the prompt that it has read, else by the name of its worktree."""
        self.journal.look()
        heard = {number: self.journal.heard.get(f"task {number}") for number in numbers}
        pids = {number: found[1] for number, found in heard.items() if found is not None}
        places = {}
        for pid in self.journal.began.keys() - {pid for _, pid in self.journal.heard.values()}:
            with suppress(OSError):
                places[Path(f"/proc/{pid}/cwd").readlink().name] = pid
        unread = [number for number in heard if number not in pids and self.names.get(number) in places]
        return pids | {number: places[self.names[number]] for number in unread}

    def list_all(self, times: int) -> Answer:
        """How long a list of all sessions takes, again and again on one connection."""
        connection, taken, count = self.connect(), [], 0
        for _ in range(times):
            begin = time.perf_counter()
            count = self.sessions(connection)
            taken.append((time.perf_counter() - begin) * 1e3)
        return {"ms": taken, "sessions": count}

    def talk(self, first: int, count: int, seconds: float) -> Answer:
        """Say one line to each of some sessions, one after the other; ms to its reading and to its confirmation."""
        read: list[float] = []
        confirmed: list[float] = []
        for number in range(first, first + count):
            text, begin = f"say {number}", time.time()
            known = self.say(number, text)
            if self.journal.until([text], seconds):
                read.append((self.journal.heard[text][0] - begin) * 1e3)
            if known is not None:
                confirmed.append((known - begin) * 1e3)
        return {"read": read, "confirmed": confirmed}

    def settle(self, seconds: float) -> Answer:
        """Wait until it takes all of its sessions for idle."""
        deadline = time.monotonic() + seconds
        while (resting := self.resting()) < len(self.names) and time.monotonic() < deadline:
            time.sleep(0.5)
        return {"resting": resting}

    def pids(self) -> Answer:
        """Who takes part: the daemon, the tmux server, what it runs to record, and the agents."""
        daemon, server = self.processes()
        self.journal.look()
        agents = {pid for pid in self.journal.began if Path(f"/proc/{pid}").exists()}
        parents = _parents()
        holding = {parents.get(pid) for pid in agents}  # shells that an agent was started from
        children = {pid for pid, parent in parents.items() if parent == server}
        recorders = children - agents - holding
        recorders |= {pid for pid, parent in parents.items() if parent in recorders}
        return {"daemon": daemon, "server": server, "recorders": sorted(recorders), "agents": sorted(agents)}

    def close(self) -> Answer:
        """End everything; how much processor time it took that nobody here has waited for: below the tmux server."""
        elsewhere = 0.0
        with suppress(OSError, subprocess.SubprocessError, StopIteration):
            elsewhere = _ticks_below(self.processes()[1])
        self.end()
        shutil.rmtree(self.short, ignore_errors=True)
        return {"elsewhere": elsewhere}

    def serve(self) -> None:
        """Answer the harness until it has no more questions, and leave nothing behind."""
        questions: dict[str, Callable[..., Answer]] = {
            "start": self._started, "spawn": self.spawn, "list": self.list_all, "talk": self.talk,
            "pids": self.pids, "settle": self.settle, "crash": self.crash, "close": self.close,
            **self.handlers(),
        }  # fmt: skip
        signal.signal(signal.SIGTERM, _leave)
        try:
            serve(questions)
        finally:
            self.close()

    def handlers(self) -> dict[str, Callable[..., Answer]]:
        """Questions that only this fleet is asked."""
        return {}

    def _started(self) -> Answer:
        begin = time.perf_counter()
        self.start()
        return {"seconds": time.perf_counter() - begin}

    def _note(self) -> None:
        """Write down what was started here, by identity: for the harness, should this process be killed."""
        pids = (pid for pid in self.processes() if pid is not None)
        (self.folder / STARTED).write_text("".join(f"{pid} {began(pid)}\n" for pid in pids))


def _leave(_number: int, _frame: object) -> None:
    """End as if there were no more questions."""
    raise SystemExit(1)


def began(pid: int) -> str:
    """When the process of this pid began, in ticks: with its pid it is nobody else."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _repository(folder: Path, env: dict[str, str]) -> None:
    """Some hundred files with one commit: a checkout costs something."""
    for number in range(_FILES):
        path = folder / f"part{number % 10}" / f"file{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"line of file {number}\n" * _LINES)
    who = ("-c", "user.name=A Person", "-c", "user.email=person@example.org")
    for words in (("init", "-q", "-b", "main"), ("add", "."), (*who, "commit", "-q", "-m", "first")):
        subprocess.run(["git", "-C", str(folder), *words], env=env, check=True)


def _parents() -> dict[int, int]:
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError):
                found[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    return found


def _ticks_below(top: int) -> float:
    """Processor seconds of a process, of all below it, and of those that they have waited for."""
    parents, total = _parents(), 0.0
    below = {top}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    for pid in below:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return total


def request(
    connection: http.client.HTTPConnection, method: str, path: str, body: object = None, token: str | None = None
) -> Any:
    """One request on a connection; its JSON, or an error with what was said."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    response = connection.getresponse()
    raw = response.read()
    if response.status >= http.client.BAD_REQUEST:
        message = f"{method} {path}: {response.status} {raw[:300].decode('utf-8', 'replace')}"
        raise RuntimeError(message)
    return json.loads(raw) if raw else None


def finish(process: subprocess.Popen[Any] | None, seconds: float = 10.0) -> None:
    """Ask a process that was started here to end, and make it."""
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def end_server(socket: Path, env: dict[str, str]) -> None:
    """End a tmux server of ours, and with it every terminal and agent in it."""
    subprocess.run(
        ["tmux", "-S", str(socket), "kill-server"], env=env, stderr=subprocess.DEVNULL, timeout=20, check=False
    )


def server_pid(socket: Path, env: dict[str, str]) -> int:
    """Who the tmux server is."""
    words = ["tmux", "-S", str(socket), "display-message", "-p", "#{pid}"]
    return int(subprocess.run(words, env=env, capture_output=True, text=True, timeout=20, check=True).stdout)
