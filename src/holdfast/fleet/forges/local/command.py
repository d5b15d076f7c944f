"""Runs one check of a pull within its bounds: time, memory, output, disk; and ends all that it leaves behind."""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from holdfast.core import faults
from holdfast.core.clock import SYSTEM
from holdfast.core.redact import plain, redact
from holdfast.fleet import processes
from holdfast.fleet.pulls.facts import TAIL_BYTES
from holdfast.fleet.workspaces.place import disk

#: So much of the output is held before what drives terminals is taken out of it.
_HELD_BYTES = 4 * TAIL_BYTES
#: A check that says more than this is ended: nobody reads it, and it costs a processor.
OUTPUT_BYTES = 1024 * 1024 * 1024
#: Left on the disk for everybody else, whatever a check does.
FLOOR_BYTES = 100 * 1024 * 1024
_CHUNK = 256 * 1024
#: How often a command that says nothing is asked whether it has ended, and how often its disk is looked at.
_LOOK_SECONDS = 0.05
_DISK_SECONDS = 0.5
#: Seconds that what is to end has for it.
_GRACE_SECONDS = 1.0
# Limits that a shell sets for itself and all that it starts: nothing has to run between a fork and an exec.
_SHELL = 'ulimit -c 0; if [ "$1" -gt 0 ]; then ulimit -v "$1"; fi; exec /bin/sh -c "$2"'
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")

STARTED = faults.point("forge.check-started", "a check runs")
ENDED = faults.point("forge.check-ended", "a check has ended, what it left behind has not, and no row says how it went")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a check may take."""

    seconds: float
    memory_mb: int
    disk_mb: int


@dataclass(frozen=True, slots=True)
class Ended:
    """How a check ended. What it leaves unsaid is errored: that was not the check's own doing."""

    state: Literal["passed", "failed", "errored"]
    step: str
    exit_status: int | None
    tail: str


@dataclass(slots=True)
class _Heard:
    """The end of all that was said."""

    kept: bytearray = field(default_factory=bytearray)
    total: int = 0

    def take(self, said: bytes) -> None:
        self.total += len(said)
        self.kept += said
        if len(self.kept) > 2 * _HELD_BYTES:
            del self.kept[:-_HELD_BYTES]

    def text(self) -> str:
        """As people and agents read it: nothing that drives a terminal, no secret, and only then cut."""
        raw = bytes(self.kept[-_HELD_BYTES:])
        if self.total > len(raw):  # the first line may be a half of one, and of a secret in it
            raw = raw.partition(b"\n")[2] or raw[-TAIL_BYTES:]
        return readable(raw.decode("utf-8", "replace"))


def readable(text: str) -> str:
    """A log as a person would have seen it on a terminal, without secrets; the last of it, from the start of a line."""
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in _ESCAPES.sub("", text).split("\n"))
    said = redact(plain("\n".join(lines)))
    if len(said) <= TAIL_BYTES:
        return said
    return said[-TAIL_BYTES:].partition("\n")[2] or said[-TAIL_BYTES:]


@dataclass(slots=True)
class Command:
    """One run of one check."""

    words: str
    folder: Path
    env: Mapping[str, str]
    #: What in their environment shows processes to be of this very check.
    marks: Mapping[str, str]
    bounds: Bounds
    #: Set by whoever does not want it any more.
    unwanted: threading.Event
    _heard: _Heard = field(default_factory=_Heard)

    def run(self) -> Ended:
        """Run it to its end, and end whatever is left of it then."""
        with disk(str(self.folder)):
            free = shutil.disk_usage(self.folder).free
            process = subprocess.Popen(  # noqa: S603 - the project's own words, which its owner wrote for a shell
                ["/bin/sh", "-c", _SHELL, "sh", str(self.bounds.memory_mb * 1024), self.words],
                cwd=self.folder,
                env={**self.env, **self.marks},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        root = processes.identify(process.pid)
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        try:
            STARTED()
            cut = self._until_ended(process, process.stdout, _Room(self.folder, free, self.bounds.disk_mb))
            ENDED()
        finally:
            if process.poll() is None:
                processes.end(lambda: processes.owned(root, self.marks), _GRACE_SECONDS)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            processes.end(lambda: processes.owned(root, self.marks), _GRACE_SECONDS)
            process.stdout.close()
        return self._came_to(process.returncode, cut)

    def _came_to(self, status: int, cut: _Cut | None) -> Ended:
        tail = self._heard.text()
        if cut is not None:
            return Ended(cut.state, cut.why, None, tail)
        if status == 0:
            return Ended("passed", "", 0, tail)
        if status < 0:
            return Ended("failed", f"was ended by {_signal(-status)}", status, tail)
        return Ended("failed", f"ended with status {status}", status, tail)

    def _until_ended(self, process: subprocess.Popen[bytes], pipe: IO[bytes], room: _Room) -> _Cut | None:
        """Why it was cut off; none where it ended by itself."""
        # It has ended when the shell has, not when the pipe closes: what it left behind may hold that for ever.
        deadline = SYSTEM.monotonic() + self.bounds.seconds
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while True:
                ended = process.poll() is not None
                said = pipe.read(_CHUNK) if ended or selector.select(_LOOK_SECONDS) else None
                if said:
                    self._heard.take(said)
                elif ended:
                    return None
                elif said == b"":  # closed, and the shell goes on
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(_LOOK_SECONDS)
                cut = self._cut(deadline) or room.cut()
                if cut is not None:
                    return cut

    def _cut(self, deadline: float) -> _Cut | None:
        if self.unwanted.is_set():
            return _Cut("errored", "was ended: nobody waits for it any more")
        if SYSTEM.monotonic() >= deadline:
            return _Cut("failed", f"ran out of time after {self.bounds.seconds:g} s")
        if self._heard.total > OUTPUT_BYTES:
            return _Cut("failed", f"was ended: it said more than {OUTPUT_BYTES // 2**20} MB")
        return None


def _signal(number: int) -> str:
    """Its name; those of real time have none but their number."""
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


@dataclass(frozen=True, slots=True)
class _Cut:
    """A check that was not let run to its end."""

    state: Literal["failed", "errored"]
    why: str


@dataclass(slots=True)
class _Room:
    """The disk that a check writes to: looked at now and then, counted only where it has become less."""

    folder: Path
    free: int
    most_mb: int
    next_look: float = 0.0

    def cut(self) -> _Cut | None:
        """Why a check is to be ended on account of the disk."""
        now = SYSTEM.monotonic()
        if now < self.next_look:
            return None
        self.next_look = now + _DISK_SECONDS
        try:
            free = shutil.disk_usage(self.folder).free
        except OSError:
            return None  # the check has taken its own folder away, which is its business
        most = self.most_mb * 2**20
        if self.free - free > most and _size(self.folder.parent) > most:
            return _Cut("failed", f"was ended: it wrote more than {self.most_mb} MB to the disk")
        if free < min(FLOOR_BYTES, self.free):
            return _Cut("errored", f"was ended: only {free // 2**20} MB are left on the disk")
        return None


def _size(folder: Path) -> int:
    """What lies below a folder, in bytes of disk."""
    total, todo = 0, [os.fspath(folder)]
    while todo:
        with suppress(OSError), os.scandir(todo.pop()) as found:  # it is being written while this is counted
            for entry in found:
                with suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
    return total
