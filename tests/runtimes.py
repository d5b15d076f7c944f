"""Runtimes for tests: every one that there is, real agents in them, and waits for what they do.

Run as a program it is a daemon of one act, for tests that kill it: `runtimes.py KIND HOME STORE`, with the act as JSON
on its standard input. It says what came of it and lives on until somebody ends it.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from holdfast.fleet import processes
from holdfast.fleet.processes import Identity
from holdfast.fleet.runtimes.port import Handle, Pane, Place, Runtime
from holdfast.fleet.runtimes.recording import Recording

PATIENCE = 30.0
PYTHON = (sys.executable, "-I", "-S", "-c")
_IN_MODIFY, _IN_MOVED_TO, _IN_CREATE = 0x2, 0x80, 0x100


# --- every runtime there is --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """One runtime: how the daemon makes it, and where a launch can be torn before it was answered for."""

    name: str
    make: Callable[[Path, str], Runtime]
    torn: tuple[str, ...]
    #: The program without which its tests are skipped.
    needs: str | None = None


def _tmux(home: Path, store: str) -> Runtime:
    from holdfast.fleet.runtimes.tmux import TmuxRuntime

    return TmuxRuntime(home, store)


def _process(home: Path, store: str) -> Runtime:
    from holdfast.fleet.runtimes.process import ProcessRuntime

    return ProcessRuntime(home, store)


RUNTIMES = (
    Kind("tmux", _tmux, ("tmux.server_started", "tmux.launched"), needs="tmux"),
    Kind("process", _process, ("process.locked", "process.begun", "process.launched")),
)


def every() -> list[Any]:
    """All of them as pytest's parameters."""
    return [
        pytest.param(kind, id=kind.name, marks=[pytest.mark.needs(kind.needs)] if kind.needs else [])
        for kind in RUNTIMES
    ]


def torn() -> list[Any]:
    """Each with each of its points between the start of an agent and the answer."""
    return [
        pytest.param(kind, point, id=point, marks=[pytest.mark.needs(kind.needs)] if kind.needs else [])
        for kind in RUNTIMES
        for point in kind.torn
    ]


# --- waiting for what really happens -----------------------------------------------------------------------------


async def ended(identity: Identity) -> None:
    """Return when this process is gone."""
    gone = asyncio.Event()
    unwatch = processes.watch(identity, gone.set)
    try:
        async with asyncio.timeout(PATIENCE):
            await gone.wait()
    finally:
        unwatch()


async def written(folder: Path, seen: Callable[[], Any]) -> Any:
    """Look each time something is written in a folder, until there is something to see."""
    folder.mkdir(parents=True, exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if (
        descriptor < 0
        or libc.inotify_add_watch(descriptor, os.fsencode(folder), _IN_MODIFY | _IN_CREATE | _IN_MOVED_TO) < 0
    ):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
    changed = asyncio.Event()

    def read() -> None:
        try:
            os.read(descriptor, 65_536)
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
        changed.set()

    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, read)
    try:
        async with asyncio.timeout(PATIENCE):
            while not (found := seen()):
                await changed.wait()
                changed.clear()
            return found
    except TimeoutError:
        raise AssertionError(f"not in {folder} within {PATIENCE:g} s: {sorted(folder.iterdir())}") from None
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


# --- agents on a stage -------------------------------------------------------------------------------------------


@dataclass
class Actor:
    """One launched agent."""

    stage: Stage
    place: Place
    handle: Handle

    @property
    def recording(self) -> Recording:
        return Recording(self.place.record)

    def output(self) -> bytes:
        """All that is recorded and kept."""
        at, parts = self.recording.start(), []
        while (chunk := self.recording.read(at, 1 << 20)).data:
            parts.append(chunk.data)
            at = chunk.next
        return b"".join(parts)

    async def shows(self, text: bytes) -> bytes:
        """Wait until its recorded output holds this text; all of it."""

        def seen() -> bytes | None:
            now = self.output()
            return now if text in now else None

        found: bytes = await written(self.place.record, seen)
        return found

    async def ended(self) -> None:
        """Wait until its process is gone."""
        await ended(self.handle.process)

    async def pane(self, so: Callable[[Pane], bool]) -> Pane:
        """Look until the runtime tells this of it; every look is a question to the runtime."""
        pane = None
        async with asyncio.timeout(PATIENCE):
            while pane is None or not so(pane):
                pane = (await self.stage.runtime.look()).panes.get(self.place.name)
                await asyncio.sleep(0)
        return pane

    async def end_of(self) -> Pane:
        """Wait for its end, and until the runtime tells how it was."""
        await self.ended()
        return await self.pane(lambda pane: pane.exit_status is not None or pane.exit_signal is not None)


@dataclass
class Stage:
    """One data folder with a runtime in it. Whatever was started there is gone after the test."""

    kind: Kind
    folder: Path
    store: str = field(default_factory=lambda: uuid4().hex)
    servers: set[Identity] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.home = self.folder / "runtimes"
        self.work = self.folder / "work"
        self.work.mkdir(parents=True)
        self.runtime = self.kind.make(self.home, self.store)

    def place(self, name: str, *argv: str, **env: str) -> Place:
        """Somewhere to run a program."""
        marks = {"HOLDFAST_STORE": self.store, "HOLDFAST_SESSION": name}
        return Place(name, self.work, argv, marks | env, self.folder / "records" / name)

    async def launch(self, name: str, *argv: str, **env: str) -> Actor:
        """Run a program."""
        place = self.place(name, *argv, **env)
        handle = await self.runtime.launch(place)
        self.servers.add(handle.server)
        return Actor(self, place, handle)

    async def shell(self, name: str, script: str, **env: str) -> Actor:
        """Run a shell script."""
        return await self.launch(name, "sh", "-c", script, **env)

    async def python(self, name: str, program: str, *words: str, **env: str) -> Actor:
        """Run a Python program."""
        return await self.launch(name, *PYTHON, program, *words, **env)

    def owned(self, name: str | None = None) -> list[Identity]:
        """The processes that belong to this store, or to one launch of it."""
        return processes.owned(None, {"HOLDFAST_STORE": self.store} | ({"HOLDFAST_SESSION": name} if name else {}))

    def again(self) -> None:
        """A new daemon: it knows nothing but where things are."""
        self.runtime = self.kind.make(self.home, self.store)

    async def clear(self) -> None:
        """End everything."""
        for name in (await self.runtime.look()).panes:
            if (handle := await self.runtime.find(name)) is not None:
                self.servers.add(handle.server)
            await self.runtime.forget(name)
        noted = self.home / "tmux.json"
        if noted.exists():
            self.servers.add(msgspec.convert(json.loads(noted.read_text())["server"], Identity))
        await self.runtime.close()
        left = processes.end(self.owned, 0.5).stubborn + processes.end(self.servers, 0.5).stubborn
        assert not left, f"these would not end: {left}"


# --- a daemon of one act, to be killed ---------------------------------------------------------------------------


def order(place: Place) -> dict[str, Any]:
    """A launch as JSON."""
    return {
        "name": place.name, "cwd": str(place.cwd), "argv": list(place.argv), "env": dict(place.env),
        "record": str(place.record),
    }  # fmt: skip


@contextmanager
def daemon(stage: Stage, places: Iterable[Place], faults: str = "") -> Any:
    """Another process that launches these and lives on; it is killed at the end of the block, if it still lives."""
    root = Path(__file__).parent
    env = {"PYTHONPATH": f"{root.parent / 'src'}:{root}", "HOLDFAST_FAULTS": faults}
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "XDG_RUNTIME_DIR") if name in os.environ}
    child = subprocess.Popen(
        [sys.executable, __file__, stage.kind.name, str(stage.home), stage.store],
        env=kept | env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(json.dumps([order(place) for place in places]).encode() + b"\n")
        child.stdin.flush()
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()


def handles(child: subprocess.Popen[bytes]) -> list[Handle]:
    """What the daemon has launched; waits until it says so, and is empty if it dies before."""
    assert child.stdout is not None
    line = child.stdout.readline()
    return msgspec.json.decode(line, type=list[Handle]) if line else []


async def _act(kind: Kind, home: Path, store: str, orders: Sequence[Mapping[str, Any]]) -> None:
    runtime = kind.make(home, store)
    launched = [
        await runtime.launch(
            Place(each["name"], Path(each["cwd"]), tuple(each["argv"]), each["env"], Path(each["record"]))
        )
        for each in orders
    ]
    print(msgspec.json.encode(launched).decode(), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    chosen = next(kind for kind in RUNTIMES if kind.name == sys.argv[1])
    asyncio.run(_act(chosen, Path(sys.argv[2]), sys.argv[3], json.loads(sys.stdin.readline())))
