"""The tmux server of one data folder: where its socket is, who it is, how it starts, and the one connection to it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from holdfast.core import clock, faults, logs
from holdfast.fleet import processes
from holdfast.fleet.processes import Identity
from holdfast.fleet.runtimes.port import COLUMNS, ROWS, RuntimeFailed, Verdict
from holdfast.fleet.runtimes.surroundings import environment, socket_folder
from holdfast.fleet.runtimes.tmux_control import Broken, Control

_log = logs.get("tmux")

STARTED = faults.point("tmux.server_started", "the tmux server runs, and nobody has noted who it is")

#: The session that the daemon's own connection hangs on; its pane is dead from the start and holds no process.
KEEPER = "holdfast-keeper"
#: How often a connection is tried; one try is for the start.
_TRIES = 3
_START_SECONDS, _CONNECT_SECONDS, _REVIVE_SECONDS = 10.0, 5.0, 1.0
#: Buffers on their way into a pane; those of a daemon that died on the way are removed.
BUFFER = "holdfast-paste-"

_OPTIONS: tuple[tuple[str, ...], ...] = (
    ("-g", "exit-empty", "off"),
    ("-g", "remain-on-exit", "on"),
    ("-gq", "remain-on-exit-format", ""),  # nothing is to be written over the agent's last screen
    ("-g", "destroy-unattached", "off"),
    ("-g", "status", "off"),
    ("-g", "history-limit", "5000"),
    ("-g", "default-terminal", "screen-256color"),
    ("-g", "default-size", f"{COLUMNS}x{ROWS}"),
    ("-g", "allow-rename", "off"),
    ("-g", "automatic-rename", "off"),
    ("-g", "escape-time", "20"),
    ("-g", "set-clipboard", "off"),
)


class NoServer(RuntimeFailed):
    """No server was reached; `verdict` says whether that is known to be its end."""

    def __init__(self, verdict: Verdict, message: str, *, again: bool = False) -> None:
        super().__init__(message)
        self.verdict: Verdict = verdict
        #: Whether it is worth another try at once.
        self.again = again


#: How much of what it says is told.
_SAID = 2_000


class _Note(msgspec.Struct, frozen=True):
    """What is written down of the server, so that its end can be told from its silence."""

    server: Identity
    socket: str


class Server:
    """The server that all tmux sessions of one data folder are in. It belongs to nobody's login and outlives us."""

    def __init__(self, home: Path, store: str) -> None:
        self._home = home
        self._store = store
        self._note_path = home / "tmux.json"
        self._note: _Note | None = None
        self._control: Control | None = None
        self._lock = asyncio.Lock()

    @property
    def socket(self) -> Path:
        """Its socket, in the short folder."""
        return socket_folder(self._home, self._store) / "tmux"

    @property
    def identity(self) -> Identity | None:
        """Who the server is, as far as is known; it may be gone."""
        if self._note is None:
            with suppress(FileNotFoundError, msgspec.MsgspecError):
                self._note = msgspec.json.decode(self._note_path.read_bytes(), type=_Note)
        return self._note.server if self._note is not None else None

    def words(self, *words: str) -> list[str]:
        """A tmux command line for this server, in UTF-8, without anybody's configuration file."""
        return ["tmux", "-S", str(self.socket), "-u", "-f", "/dev/null", *words]

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._control is not None and self._control.open

    async def control(self, *, start: bool = False) -> Control:
        """The connection, made when there is none; `NoServer` when there is no server and none is to be started."""
        if self._control is not None and self._usable(self._control):
            return self._control
        async with self._lock:
            if self._control is None or not self._usable(self._control):
                await self.close()
                self._control = await self._found(start=start)
            return self._control

    def _usable(self, control: Control) -> bool:
        """Whether it is open to a server that lives: the client notices its server's end a moment later than /proc."""
        return control.open and self.verdict() != "dead"

    async def close(self) -> None:
        """Let go of the connection."""
        if self._control is not None:
            await self._control.close()

    def verdict(self) -> Verdict:
        """What a server that does not answer is: `failed`, unless it is proved gone."""
        known = self.identity
        return "dead" if known is not None and processes.state(known) == "dead" else "failed"

    async def _found(self, *, start: bool) -> Control:
        """A connection; a client that ended while it was made proves nothing, so another one is tried."""
        for left in reversed(range(_TRIES)):
            try:
                return await self._connected()
            except NoServer as missing:
                if missing.verdict == "failed" and missing.again and left:
                    _log.warning("a tmux client ended at once", reason=missing.message)
                elif start and missing.verdict in {"missing", "dead"} and left:
                    await self._start()
                else:
                    raise
        raise AssertionError("the last try returns or raises")

    async def _connected(self) -> Control:
        path = self.socket
        if not _listens(path):
            await self._absent(path)
        # `new-session -A` finds the keeper or makes it anew; `-N` starts no server, for whose start there are rules.
        keeper = ("new-session", "-A", "-s", KEEPER, "-f", "no-output", "-x", str(COLUMNS), "-y", str(ROWS))
        argv = self.words("-N", "-C", *keeper, "env", "true")
        try:
            control = await Control.connect(argv, environment(), seconds=_CONNECT_SECONDS)
            try:
                await self._greet(control, path)
            except BaseException:
                await control.close()
                raise
        except RuntimeFailed as error:
            raise NoServer(self.verdict(), error.message, again=isinstance(error, Broken)) from error
        return control

    async def _absent(self, path: Path) -> None:
        """Nothing listens at the socket: raise what that means, unless the server makes its socket anew."""
        known = self.identity
        if known is None:
            raise NoServer("missing", "no tmux server was started yet.")
        if processes.state(known) == "dead":
            raise NoServer("dead", f"the tmux server (pid {known.pid}) is gone, and every terminal in it.")
        # Somebody cleaned the folder. The server makes its socket anew on this signal.
        processes.tell(known, signal.SIGUSR1)
        deadline = clock.SYSTEM.monotonic() + _REVIVE_SECONDS
        while not _listens(path):
            if clock.SYSTEM.monotonic() > deadline:
                raise NoServer("failed", f"the tmux server (pid {known.pid}) lives, but does not listen at {path}.")
            await clock.SYSTEM.sleep(0.01)
        _log.warning("the socket of the tmux server was gone and is there again", socket=str(path))

    async def _greet(self, control: Control, path: Path) -> None:
        """Learn who the server is and write it down; sweep what a daemon that died left half done."""
        (pid,), buffers = await control.ask(
            "display-message -p '#{pid}'", "list-buffers -F '#{buffer_name}'", seconds=_CONNECT_SECONDS
        )
        server = processes.identify(int(pid))
        if server is None:
            raise NoServer("dead", f"the tmux server (pid {int(pid)}) ended while it was asked who it is.")
        if self.identity != server:
            self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._note = _Note(server, str(path))
            new = self._note_path.with_suffix(".new")
            new.write_bytes(msgspec.json.encode(self._note))
            new.replace(self._note_path)
        stale = [name.decode() for name in buffers if name.startswith(BUFFER.encode())]
        if stale:
            await control.ask(*(f"delete-buffer -b {name}" for name in stale), seconds=_CONNECT_SECONDS)

    async def _start(self) -> None:
        """Start the server, detached from everything: no terminal, its own session, its own scope where it can."""
        commands: list[str] = ["start-server"]
        for option in _OPTIONS:
            commands += [";", "set-option", *option]
        commands += [";", "new-session", "-d", "-s", KEEPER, "-x", str(COLUMNS), "-y", str(ROWS), "env", "true"]
        argv = self.words(*commands)
        said = ""
        for prefix in (*_scopes(), ()):
            status, said = await _run([*prefix, *argv], _START_SECONDS)
            if status == 0:
                await STARTED.passed()
                return
        raise NoServer("failed", f"the tmux server did not start: {said or 'it said nothing'}.")


def _listens(path: Path) -> bool:
    """Whether somebody takes connections at a socket; one that takes none proves that its server is gone."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_REVIVE_SECONDS)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return True  # full, or slow: it is there
    return True


def _scopes() -> list[tuple[str, ...]]:
    """How to leave the login that the daemon was started from: systemd ends all of that at log-out."""
    manager = Path(os.environ.get("XDG_RUNTIME_DIR", "/nowhere")) / "systemd" / "private"
    if shutil.which("systemd-run") is None or not manager.exists():
        return []
    return [("systemd-run", "--user", "--scope", "--quiet", "--collect", "--")]


async def _run(argv: Sequence[str], seconds: float) -> tuple[int, str]:
    # What it says goes to a file: a pipe would stay open, and be waited for, in the server that is left behind.
    with tempfile.TemporaryFile() as said:
        process = await asyncio.create_subprocess_exec(
            *argv, env=environment(), cwd="/", start_new_session=True,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=said,
        )  # fmt: skip
        try:
            async with asyncio.timeout(seconds):
                await process.wait()
        except TimeoutError:
            return -1, f"no answer within {seconds:g} s"
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        said.seek(0)
        return process.returncode or 0, said.read(_SAID).decode("utf-8", "replace").strip()
