"""The runtime `tmux`: every session a tmux session on a server of our own, reached through one control client."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from holdfast.core import faults, logs
from holdfast.core.errors import Invalid
from holdfast.fleet import processes
from holdfast.fleet.processes import Identity
from holdfast.fleet.runtimes import line_mode, recording, surroundings
from holdfast.fleet.runtimes.port import (
    COLUMNS,
    ROWS,
    Handle,
    Key,
    Look,
    NotThere,
    Pane,
    Place,
    RuntimeFailed,
    Screen,
)
from holdfast.fleet.runtimes.recording import Recording
from holdfast.fleet.runtimes.tmux_control import Control, Refused, Script, quote
from holdfast.fleet.runtimes.tmux_server import BUFFER, NoServer, Server

_log = logs.get("tmux")

LAUNCHED = faults.point("tmux.launched", "tmux has started the agent, and the daemon has not said so yet")

#: How long commands may take: a look at everything, what changes something, and a paste of any length.
_LOOK_SECONDS, _SECONDS, _PASTE_SECONDS = 2.0, 5.0, 20.0
_OLDEST = (3, 2)
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_KEYS: dict[Key, str] = {"enter": "Enter", "escape": "Escape", "interrupt": "C-c"}
#: Bytes of a paste in one command: the server serves others between them.
_PIECE = 16_384
#: How often an end is asked for that tmux has not taken note of.
_NUDGES = 3

_FIELDS = (
    "@holdfast", "session_id", "pane_id", "pane_pid", "pane_dead", "pane_dead_status", "pane_dead_signal",
    "pane_pipe", "@holdfast_started",
)  # fmt: skip
_LIST = "list-panes -a -F " + quote("|".join(f"#{{{name}}}" for name in _FIELDS))


@dataclass(frozen=True, slots=True)
class _Row:
    """One pane of ours in tmux's list."""

    name: str
    session: str
    pane: str
    pid: int
    dead: bool
    status: str
    signal: str
    piped: bool
    started: str

    @classmethod
    def read(cls, line: bytes) -> _Row | None:
        """None for panes that are not ours: the keeper's, and those that a person opened beside an agent's."""
        word = line.decode("utf-8", "replace").split("|")
        if len(word) != len(_FIELDS) or not word[0]:
            return None
        return cls(word[0], word[1], word[2], int(word[3]), word[4] == "1", word[5], word[6], word[7] == "1", word[8])

    @property
    def unsettled(self) -> bool:
        """Whether its agent has ended and tmux did not say how, or not even that."""
        return not (self.status or self.signal) and not processes.lives(self.pid)

    def seen(self) -> Pane:
        """As the port says it."""
        if not self.dead:
            return Pane(self.name, "alive")
        number = None
        if self.signal:
            known = signal.Signals.__members__.get(f"SIG{self.signal.removeprefix('SIG')}")
            number = int(self.signal) if self.signal.isdigit() else known
        return Pane(self.name, "dead", int(self.status) if self.status.isdigit() else None, number)


class TmuxRuntime:
    """Agents in tmux. `home` is a folder of the data folder for its notes, `store` the uuid that names its sockets."""

    name = "tmux"

    def __init__(self, home: Path, store: str) -> None:
        self._server = Server(home, store)
        self._pastes = count()

    def available(self) -> str | None:
        """Whether tmux and what records its output are here."""
        if shutil.which("tmux") is None:
            return "tmux is not installed; install it, or set the runtime to `process`."
        said = subprocess.run(["tmux", "-V"], capture_output=True, text=True, check=False, timeout=5).stdout  # noqa: S607
        version = re.search(r"(\d+)\.(\d+)", said)
        if version is not None and (int(version[1]), int(version[2])) < _OLDEST:
            return f"{said.strip()} is too old; install tmux {_OLDEST[0]}.{_OLDEST[1]} or later."
        split = subprocess.run(["split", "--help"], capture_output=True, text=True, check=False, timeout=5)  # noqa: S607
        if "--filter" not in split.stdout:
            return "`split` is not that of GNU coreutils; install coreutils, or set the runtime to `process`."
        return None

    async def launch(self, place: Place) -> Handle:
        """Start the agent as the pane's own process, with its recorder in place before its first byte."""
        if _NAME.fullmatch(place.name) is None:
            raise Invalid(f"{place.name!r} is no name for a session; use letters, digits, hyphens and underscores.")
        await asyncio.to_thread(surroundings.check, place)
        control = await self._server.control(start=True)
        if (found := await self._find(control, place.name)) is not None:
            return found
        prefix = await _begin(place.record)
        try:
            answers = await control.ask(*_launching(place, prefix), seconds=_SECONDS)
        except Refused:
            # Somebody else was faster, or a recorder would not start: what stands under the name now is the answer.
            if (found := await self._find(control, place.name)) is None:
                raise
            return found
        await LAUNCHED.passed()
        pane, pid = answers[0][0].decode().split()
        process = processes.identify(int(pid))
        if process is not None:
            mark = f"set-option -p -t {pane} @holdfast_started {process.started}"
            await control.ask(mark, seconds=_SECONDS)
        return self._handle(place.name, pane, process or Identity(processes.boot_id(), int(pid), 0))

    async def find(self, name: str) -> Handle | None:
        """What stands under this name."""
        try:
            control = await self._server.control()
        except NoServer as error:
            if error.verdict == "failed":
                raise
            return None
        return await self._find(control, name)

    async def look(self) -> Look:
        """One list of all panes; more only where an agent's end, or its recorder's, was not taken note of."""
        try:
            control = await self._server.control()
            rows = await self._rows(control)
            for row in rows:
                if not row.piped and not row.dead:
                    await self._record_again(control, row)
        except NoServer as error:
            return Look(error.verdict, error.message)
        except RuntimeFailed as error:
            return Look(self._server.verdict(), error.message)
        return Look("alive", panes={row.name: row.seen() for row in rows})

    async def paste(self, handle: Handle, text: str) -> None:
        """Paste through a buffer, in one bracketed paste where the agent asked for those."""
        data = text.encode("utf-8", "surrogateescape")
        if b"\0" in data:
            raise Invalid("a terminal takes no paste with the character NUL in it; leave it out.")
        if not data:
            return
        control = await self._reach(handle)
        name = f"{BUFFER}{next(self._pastes)}"
        pieces = [data[at : at + _PIECE] for at in range(0, len(data), _PIECE)]
        filling = [Script((f"set-buffer -a -b {name} -- {quote(piece)}",)) for piece in pieces]
        # -r: a line's end stays what it is. Unlike an Enter it submits nothing.
        paste = f"paste-buffer -d -p -r -b {name} -t {handle.pane}"
        try:
            answers = await control.run(*filling, _unless_dead(handle, paste), seconds=_PASTE_SECONDS)
        except Refused as error:
            await self._drop(control, name)
            raise _gone(handle) if "can't find" in error.message else error from None
        if _dead(answers[-1]):
            await self._drop(control, name)
            raise _gone(handle)

    async def press(self, handle: Handle, key: Key) -> None:
        """Press a key; a person who scrolls back in it is brought to its end first, or tmux would take the key."""
        control = await self._reach(handle)
        keys = f"copy-mode -q -t {handle.pane}", f"send-keys -t {handle.pane} {_KEYS[key]}"
        try:
            (answers,) = await control.run(_unless_dead(handle, *keys), seconds=_SECONDS)
        except Refused as error:
            raise _gone(handle) if "can't find" in error.message else error from None
        if _dead(answers):
            raise _gone(handle)

    async def screen(self, handle: Handle) -> Screen:
        """What it shows, also after its agent's end."""
        control = await self._reach(handle)
        asking = f"display-message -p -t {handle.pane} '#{{pane_height}} #{{cursor_y}} #{{cursor_x}}'"
        showing = f"capture-pane -p -t {handle.pane}"
        try:
            ((told, lines),) = await control.run(Script((asking, showing), expect=_height), seconds=_SECONDS)
        except Refused as error:
            raise _gone(handle) if "can't find" in error.message else error from None
        _, row, column = map(int, told[0].split())
        return Screen(tuple(line.decode("utf-8", "replace") for line in lines), row, column)

    async def reads_lines(self, handle: Handle) -> bool:
        """Whether its terminal gathers lines now."""
        control = await self._reach(handle)
        try:
            ((told,),) = await control.ask(f"display-message -p -t {handle.pane} '#{{pane_tty}}'", seconds=_SECONDS)
        except Refused as error:
            raise _gone(handle) if "can't find" in error.message else error from None
        return await asyncio.to_thread(line_mode.reads_lines, os.fsdecode(told))

    async def forget(self, name: str) -> None:
        """End the tmux session, with whatever a person opened in it."""
        try:
            control = await self._server.control()
            sessions = {row.session for row in await self._listed(control) if row.name == name}
            for session in sessions:
                await control.ask(f"kill-session -t {session}", seconds=_SECONDS)
        except NoServer as error:
            if error.verdict == "failed":
                raise
        except Refused as error:
            if "can't find" not in error.message:
                raise

    def attach(self, handle: Handle) -> Sequence[str]:
        """`tmux attach`, also from within somebody's own tmux; the window keeps its size whoever looks at it."""
        return ["env", "-u", "TMUX", "tmux", "-S", str(self._server.socket), "-u", "attach", "-t", f"={handle.name}"]

    async def close(self) -> None:
        """Let go of the connection; a server in which nothing of ours stands is ended: nobody else wants it."""
        with suppress(RuntimeFailed):
            if self._server.connected:
                control = await self._server.control()
                if not await self._rows(control):
                    await control.ask("kill-server", seconds=_SECONDS)
        await self._server.close()

    # --- what it is made of ------------------------------------------------------------------------------------

    async def _listed(self, control: Control) -> list[_Row]:
        (lines,) = await control.ask(_LIST, seconds=_LOOK_SECONDS)
        return [row for row in map(_Row.read, lines) if row is not None]

    async def _rows(self, control: Control) -> list[_Row]:
        """The list, with every end in it that there was.

        tmux misses the end of a child while another one's terminal is signed off (libutempter takes its SIGCHLD away):
        it would show a dead pane without an exit status, or a living one, until any other child ends. The signal that
        it missed costs no fork.
        """
        rows = await self._listed(control)
        for _ in range(_NUDGES):
            server = self._server.identity
            if server is None or not any(row.unsettled for row in rows):
                break
            processes.tell(server, signal.SIGCHLD)
            rows = await self._listed(control)
        return rows

    async def _find(self, control: Control, name: str) -> Handle | None:
        row = next((row for row in await self._listed(control) if row.name == name), None)
        if row is None:
            return None
        # The pid of a dead pane may be somebody else's by now.
        process = None if row.dead else processes.identify(row.pid)
        if process is None:
            process = Identity(processes.boot_id(), row.pid, int(row.started or 0))
        return self._handle(name, row.pane, process)

    def _handle(self, name: str, pane: str, process: Identity) -> Handle:
        server = self._server.identity
        if server is None:
            raise RuntimeFailed("it is not known which tmux server answered; try again.")
        return Handle(self.name, name, process, server, pane)

    async def _reach(self, handle: Handle) -> Control:
        """The connection, if it is to the server that the pane was in: another one has panes of that id too."""
        try:
            control = await self._server.control()
        except NoServer as error:
            raise error if error.verdict == "failed" else _gone(handle) from None
        if self._server.identity != handle.server:
            raise _gone(handle)
        return control

    async def _drop(self, control: Control, buffer: str) -> None:
        try:
            await control.ask(f"delete-buffer -b {buffer}", seconds=_SECONDS)
        except RuntimeFailed:
            _log.info("a buffer was left in tmux until the next connection", buffer=buffer)

    async def _record_again(self, control: Control, row: _Row) -> None:
        """A recorder has died under its agent: begin a generation that says so."""
        try:
            ((folder,),) = await control.ask(
                f"display-message -p -t {row.pane} '#{{@holdfast_record}}'", seconds=_SECONDS
            )
            if not folder:  # it has gone meanwhile
                return
            prefix = await _begin(Path(os.fsdecode(folder)), interrupted=True)
            await control.ask(f"pipe-pane -O -t {row.pane} {_recorder(prefix)}", seconds=_SECONDS)
        except (Refused, _Unrecorded) as error:
            _log.warning(
                "a session is not recorded until its recorder starts again", name=row.name, reason=error.message
            )
        else:
            _log.warning("the recorder of a session had ended; output may be missing", name=row.name)


class _Unrecorded(RuntimeFailed):
    """A recording cannot be begun: the disk is full, or the folder is not ours."""


async def _begin(folder: Path, *, interrupted: bool = False) -> Path:
    try:
        return await asyncio.to_thread(Recording(folder).begin, interrupted=interrupted)
    except OSError as error:
        raise _Unrecorded(
            f"output cannot be recorded in {folder}: {error.strerror}; make room, or set its rights."
        ) from error


def _launching(place: Place, prefix: Path) -> list[str]:
    """The commands of a launch. They run in one turn of the server: the recorder is there before any output is read."""
    env = surroundings.environment() | dict(place.env)
    given = " ".join(f"-e {quote(f'{name}={value}')}" for name, value in env.items())
    # A single word would be given to a shell, and with $TMUX an agent's own tmux would open its windows here.
    argv = " ".join(map(quote, ("env", "-u", "TMUX", "-u", "TMUX_PANE", *place.argv)))
    target = f"={place.name}:"
    size, cwd = f"-x {COLUMNS} -y {ROWS}", quote(_literal(str(place.cwd)))
    return [
        f"new-session -d -P -F '#{{pane_id}} #{{pane_pid}}' -s {place.name} {size} -c {cwd} {given} -- {argv}",
        f"set-option -w -t {target} window-size manual",
        f"set-option -p -t {target} @holdfast {place.name}",
        f"set-option -p -t {target} @holdfast_record {quote(str(place.record))}",
        f"pipe-pane -O -t {target} {_recorder(prefix)}",
    ]


def _recorder(prefix: Path) -> str:
    # tmux expands formats in it, and the letters of strftime.
    return quote(_literal(recording.command(prefix)).replace("%", "%%"))


def _literal(text: str) -> str:
    """The text where tmux expands formats: the character of code 35, for a doubled one stays two before a `[`."""
    return text.replace("#", "#{a:35}")


def _unless_dead(handle: Handle, *commands: str) -> Script:
    """The commands, run only if the agent lives: pasting into a dead pane crashes tmux 3.3a, and all sessions with it.

    Asked and done in one turn of the server. Where it is dead, as many others answer for them.
    """
    dead = " ; ".join(["display-message -p dead"] * len(commands))
    asked = f"if-shell -F -t {handle.pane} '#{{pane_dead}}' {quote(dead)} {quote(' ; '.join(commands))}"
    return Script((asked,), inner=len(commands))


def _dead(answers: Sequence[Sequence[bytes]]) -> bool:
    return list(answers[1]) == [b"dead"]


def _height(answers: Sequence[Sequence[bytes]]) -> int | None:
    """How many lines of screen follow: an agent can show what looks like the end of an answer."""
    word = answers[0][0].split() if answers and answers[0] else []
    return int(word[0]) if len(word) == 3 else None  # noqa: PLR2004 - as asked


def _gone(handle: Handle) -> NotThere:
    return NotThere(f"the terminal of {handle.name} is gone, or its agent has ended; restore the session to go on.")
