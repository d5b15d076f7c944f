"""Runs a project's set-up commands in a fresh workspace: in order, recorded within bounds, ended as a group."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from holdfast.core import faults
from holdfast.core.clock import SYSTEM, Clock
from holdfast.core.redact import plain, redact
from holdfast.fleet.workspaces import errand
from holdfast.fleet.workspaces.place import disk

#: How much of the commands' words is recorded, and how much of their end is told with a failure.
LOG_BYTES = 1024 * 1024
TAIL_BYTES = 4 * 1024
_CHUNK = 64 * 1024
#: How often a command is asked whether it has ended while it says nothing.
_LOOK_SECONDS = 0.05

DONE = faults.point("workspace.command-done", "a set-up command has ended, the next has not begun")


@dataclass(frozen=True, slots=True)
class Ready:
    """All commands ended well."""

    commands: int


@dataclass(frozen=True, slots=True)
class Failure:
    """The first command that did not."""

    command: str
    status: int | None  # none where it ran out of time; negative for a signal
    tail: str

    @property
    def words(self) -> str:
        """What happened, in a line."""
        how = "ran out of time" if self.status is None else f"ended with status {self.status}"
        return f"The set-up command {redact(plain(self.command), limit=200)!r} {how}."


@dataclass(slots=True)
class _Record:
    """The log file up to its bound, and the end of all that was said."""

    file: IO[bytes]
    written: int = 0
    tail: bytes = b""
    cut: bool = False

    def take(self, said: bytes) -> None:
        room = max(0, LOG_BYTES - self.written)
        self.file.write(said[:room])
        self.written += min(room, len(said))
        self.tail = (self.tail + said)[-TAIL_BYTES:]
        if len(said) > room and not self.cut:
            self.cut = True
            self.file.write(b"\n[holdfast: the rest was not recorded]\n")
        self.file.flush()


@dataclass(slots=True)
class Setup:
    """One run of the commands."""

    path: Path
    env: Mapping[str, str]
    deadline: float
    clock: Clock = field(default=SYSTEM)

    def run(self, command: str, record: _Record) -> Failure | None:
        """Run one command to its end; whatever it leaves behind in its group is ended with it."""
        record.tail = b""
        with disk(str(self.path)), errand.starting():  # the marks of its launch are in its environment already
            process = subprocess.Popen(  # noqa: S603 - the project's own words, which its owner wrote for a shell
                ["/bin/sh", "-c", command],
                cwd=self.path,
                env=dict(self.env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        try:
            status = self._until_ended(process, process.stdout, record)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()
        if status == 0:
            return None
        return Failure(command, status, redact(plain(record.tail.decode("utf-8", "replace"))))

    def _until_ended(self, process: subprocess.Popen[bytes], pipe: IO[bytes], record: _Record) -> int | None:
        # It has ended when the shell has, not when the pipe closes: a child left behind may hold that for ever.
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while True:
                ended = process.poll()
                said = pipe.read(_CHUNK) if ended is not None or selector.select(_LOOK_SECONDS) else None
                if said:
                    record.take(said)
                elif ended is not None:
                    return ended
                elif said == b"":  # closed, and the shell goes on
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(_LOOK_SECONDS)
                if self.clock.monotonic() >= self.deadline:
                    return ended


def setup(
    path: Path, commands: Sequence[str], env: Mapping[str, str], log_path: Path, timeout_seconds: float
) -> Ready | Failure:
    """Run the commands in order in the workspace until one fails; all of them together get this much time."""
    run = Setup(path, env, SYSTEM.monotonic() + timeout_seconds)
    with disk(str(log_path)):
        log_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = log_path.open("wb")
    with file:
        record = _Record(file)
        for command in commands:
            record.take(f"$ {command}\n".encode("utf-8", "surrogateescape"))
            failure = run.run(command, record)
            if failure is not None:
                return failure
            DONE()
    return Ready(len(commands))
