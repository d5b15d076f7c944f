"""The runtime for machines without tmux: a small detached holder process for every agent, found again by its files."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec

from holdfast.core import faults
from holdfast.core.clock import SYSTEM, Clock
from holdfast.core.errors import Invalid
from holdfast.fleet import processes
from holdfast.fleet.runtimes import surroundings
from holdfast.fleet.runtimes.holder import files, wire
from holdfast.fleet.runtimes.port import COLUMNS, ROWS, Handle, Key, Look, NotThere, Pane, Place, RuntimeFailed, Screen
from holdfast.fleet.runtimes.process_asking import Asking, Refused
from holdfast.fleet.runtimes.process_register import End, Held, Register, ended
from holdfast.fleet.runtimes.recording import SEGMENTS, Recording, segment

LOCKED = faults.point("process.locked", "a holder has taken the name, and waits to be told where to record")
BEGUN = faults.point("process.begun", "a recording was begun for a holder that has not been told of it")
LAUNCHED = faults.point("process.launched", "a holder has said that its agent runs, and nobody has been told")

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,119}")
_KEYS: Mapping[Key, bytes] = {"enter": b"\r", "escape": b"\x1b", "interrupt": b"\x03"}
#: By its path and without site packages: it starts in a fraction of the time, and holds a fraction of the memory.
_HOLDER = ("-I", "-S", "-E", str(Path(wire.__file__).with_name("__main__.py")))
#: What the kernel could not do just then; every other refusal to run a program is about the program.
_PASSING = {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ETXTBSY}
_SOON = 0.02


class ProcessRuntime:
    """Agents on terminals that holders own. There is no shared server: each holder is its own witness."""

    name = "process"

    def __init__(
        self,
        home: Path,
        store: str,
        *,
        start_seconds: float = 15,
        answer_seconds: float = 5,
        paste_seconds: float = 20,
        look_seconds: float = 1,
        clock: Clock = SYSTEM,
    ) -> None:
        """`home` is a folder in the data folder, `store` the id of the store, which tells data folders apart."""
        self._home = home
        self._store = store
        self._register = Register(home / self.name)
        self._asking = Asking(self._register, answer_seconds)
        self._start_seconds = start_seconds
        self._look_seconds = look_seconds
        self._paste_seconds = paste_seconds
        self._clock = clock

    def available(self) -> str | None:
        """What is missing on this machine; None when it can be used."""
        try:
            os.close(os.pidfd_open(os.getpid()))
        except (AttributeError, OSError) as error:
            return f"The runtime `process` needs pidfds ({error}): Linux 5.3 or later, and a sandbox that has them."
        return None if Path("/proc/self/stat").exists() else "The runtime `process` needs /proc; mount it."

    async def launch(self, place: Place) -> Handle:
        """Start the agent under a holder of its own; what was started under this name is found instead."""
        if not _NAME.fullmatch(place.name):
            raise Invalid(f"{place.name!r} is no name for a place: letters, digits, dots, hyphens; at most 120.")
        if (found := await self.find(place.name)) is not None:
            return found
        await asyncio.to_thread(surroundings.check, place)
        deadline = self._clock.monotonic() + self._start_seconds
        while self._clock.monotonic() < deadline:
            await self._start(place)
            if (found := await self.find(place.name)) is not None:
                await LAUNCHED.passed()
                return found
            await self._clock.sleep(_SOON)  # somebody else is just starting it, or has just given up
        raise RuntimeFailed(f"{place.name} is being started by somebody who does not come to an end; try again.")

    async def find(self, name: str) -> Handle | None:
        """What was launched under this name, dead or alive."""
        held = await asyncio.to_thread(self._register.read, name)
        return None if held is None else Handle(self.name, name, process=held.agent, server=held.holder)

    async def look(self) -> Look:
        """Every place: read from files and /proc; only a holder whose files leave a doubt is asked."""
        try:
            seen = await asyncio.to_thread(self._register.look)
        except FileNotFoundError:
            return Look("missing")
        except OSError as error:
            return Look("failed", f"{self._register.folder} cannot be read: {error.strerror}")
        asked = await asyncio.gather(*(self._look_at(name, held) for name, held in seen.doubtful.items()))
        return Look("alive", panes=seen.panes | {pane.name: pane for pane in asked})

    async def paste(self, handle: Handle, text: str) -> None:
        """Type text as a paste; `RuntimeFailed` when the agent does not read it in time: part may have been typed."""
        data = text.encode("utf-8", "surrogateescape")
        if b"\0" in data:
            raise Invalid("A terminal takes no paste with the character NUL in it; leave it out.")
        if not data:
            return
        if len(data) > wire.LARGEST:
            raise Invalid(f"{len(data)} bytes are more than {wire.LARGEST}, which can be pasted; give them by a file.")
        await self._asking.ask(handle.name, handle.server, wire.PASTE, data, seconds=self._paste_seconds)

    async def press(self, handle: Handle, key: Key) -> None:
        """Press one key."""
        await self._asking.ask(handle.name, handle.server, wire.INPUT, _KEYS[key])

    async def screen(self, handle: Handle) -> Screen:
        """What the holder's terminal shows."""
        answer = await self._asking.ask(handle.name, handle.server, wire.SCREEN)
        head, *lines = answer.decode("utf-8").split("\n")
        row, column = map(int, head.split())
        return Screen(tuple(lines), row, column)

    async def reads_lines(self, handle: Handle) -> bool:
        """Whether its terminal gathers lines now; a holder of an earlier version cannot tell."""
        try:
            return await self._asking.ask(handle.name, handle.server, wire.MODE) == wire.LINES
        except Refused:
            return False

    async def forget(self, name: str) -> None:
        """End the holder, by which the agent's terminal hangs up, and take its files away."""
        try:
            held = await asyncio.to_thread(self._register.read, name)
        except RuntimeFailed:
            await asyncio.to_thread(self._register.remove, name)
            if await asyncio.to_thread(self._register.path(name + files.PLACE).exists):
                raise  # damaged, and somebody holds it
            return
        if held is not None:
            try:
                await self._asking.ask(name, held.holder, wire.END)
            except NotThere:
                pass
            except RuntimeFailed:
                left = await asyncio.to_thread(processes.end, [held.holder], 0)
                if left.stubborn:
                    raise
        await asyncio.to_thread(self._register.remove, name)

    def attach(self, handle: Handle) -> Sequence[str]:
        """The command by which a person joins it; Ctrl-] leaves."""
        held = self._register.read(handle.name)
        if held is None or held.holder != handle.server:
            raise NotThere(f"{handle.name} is not held any more: there is nothing to join.")
        return [sys.executable, *_HOLDER, "attach", held.socket]

    async def close(self) -> None:
        """Nothing is held: every question is a connection of its own."""

    # --- starting ----------------------------------------------------------------------------------------------------

    async def _start(self, place: Place) -> None:
        """Run a starter to its end; it starts nothing when the name is taken."""
        try:
            order = await asyncio.to_thread(self._order, place)
            async with asyncio.timeout(self._start_seconds), self._starter(place) as (starter, to, answers):
                to.write(wire.words(order))
                first = await answers.read(1)
                if first == wire.LOCKED:
                    await LOCKED.passed()
                    begun = await asyncio.to_thread(self._begin, place)
                    await BEGUN.passed()
                    to.write(wire.words(begun))
                    answer = await answers.read()
                    await self._understand(place, answer, starter)
                elif first != wire.TAKEN:
                    await self._understand(place, first, starter)
                await starter.wait()
        except TimeoutError as error:
            raise RuntimeFailed(
                f"No holder of {place.name} came up in {self._start_seconds:g} s; try again."
            ) from error
        except OSError as error:
            raise RuntimeFailed(f"{place.name} could not be started ({error}); try again.") from error

    @asynccontextmanager
    async def _starter(
        self, place: Place
    ) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncio.StreamWriter, asyncio.StreamReader]]:
        pipe = asyncio.subprocess.PIPE
        starter = await asyncio.create_subprocess_exec(
            sys.executable,
            *_HOLDER,
            "hold",
            place.name,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env={},
            cwd="/",
            start_new_session=True,
        )
        assert starter.stdin is not None
        assert starter.stdout is not None
        try:
            yield starter, starter.stdin, starter.stdout
        finally:
            starter.stdin.close()
            if starter.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(starter.pid, signal.SIGKILL)
                await starter.wait()

    async def _understand(self, place: Place, answer: bytes, starter: asyncio.subprocess.Process) -> None:
        """Raise what a starter's last word means, unless it is that all is well."""
        if answer == wire.DONE:
            return
        if answer[:1] == wire.REFUSED:
            number = int(answer[1:])
            why = f"{place.argv[0]} cannot be started in {place.cwd}: {os.strerror(number)}"
            if number in _PASSING:
                raise RuntimeFailed(f"{why}; try again.")
            raise Invalid(f"{why}. Start it there by hand to see why.")
        assert starter.stderr is not None
        words = (await starter.stderr.read()).decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise RuntimeFailed(f"The holder of {place.name} could not start: {words or 'it was killed'}; try again.")

    def _order(self, place: Place) -> list[bytes]:
        self._register.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        socket = surroundings.socket_folder(self._home, self._store) / _short(place.name)
        env = {**surroundings.environment(), "TERM": "xterm-256color", **place.env}
        program = place.argv[0]
        found = shutil.which(place.cwd / program if "/" in program else program, path=env["PATH"])
        words: list[str | Path] = [
            self._register.path(place.name), socket, msgspec.json.encode(str(socket)).decode(), str(COLUMNS), str(ROWS),
            place.cwd, found or program, str(len(place.argv)), *place.argv,
        ]  # fmt: skip
        for name, value in env.items():
            words += [name, value]
        return [os.fsencode(word) for word in words]

    def _begin(self, place: Place) -> list[bytes]:
        first = segment(Recording(place.record).begin(), 0)
        return [os.fsencode(first), str(SEGMENTS).encode()]

    # --- looking -----------------------------------------------------------------------------------------------------

    async def _look_at(self, name: str, held: Held) -> Pane:
        try:
            answer = await self._asking.ask(name, held.holder, wire.STATUS, seconds=self._look_seconds)
        except RuntimeFailed:
            return Pane(name, "failed")
        except NotThere:
            end = await asyncio.to_thread(self._register.end, name, held)
            return Pane(name, "missing") if end is None else ended(name, end)
        return ended(name, msgspec.json.decode(answer, type=End)) if answer else Pane(name, "alive")


def _short(name: str) -> str:
    """The name of a place's socket: a socket's path has little room."""
    return "holder-" + hashlib.blake2s(name.encode(), digest_size=8).hexdigest()
