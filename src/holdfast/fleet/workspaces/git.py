"""Runs git: in one clean environment, with bytes in and out, within a time, ended with all its children."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from holdfast.core.errors import Unavailable
from holdfast.core.redact import plain, redact
from holdfast.fleet.workspaces import errand

#: What is asked of git for every command.
#: - The person's hooks were written for the person's commands: one that prompts, pushes or fails would do so at every
#:   spawn and every clean-up (`worktree add` runs post-checkout, every ref we write runs reference-transaction). What a
#:   new worktree needs is said by the project's setup commands. Agents' own commands run hooks as always.
#: - No monitor of files and no untracked cache: they answer from memory, and a capture must look.
#: - No collection of garbage on our account, and no prompt.
_CONFIG = (
    "-c", "core.hooksPath=/dev/null",
    "-c", "core.fsmonitor=false",
    "-c", "core.untrackedCache=false",
    "-c", "gc.auto=0",
    "-c", "maintenance.auto=false",
    "-c", "advice.detachedHead=false",
)  # fmt: skip
#: For what must survive a power cut once it is told of: git leaves loose objects and refs to the kernel by itself.
DURABLE = ("-c", "core.fsync=all", "-c", "core.fsyncMethod=fsync", "-c", "core.logAllRefUpdates=false")
SECONDS = 60.0
#: For commands that read or write a whole tree.
TREE_SECONDS = 1800.0
_LONGEST_SAID = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended."""

    status: int
    out: bytes
    said: str  # its complaint, without secrets and control characters

    @property
    def text(self) -> str:
        """What it printed, without the last line feed; bytes that are no UTF-8 survive as in paths."""
        return os.fsdecode(self.out).removesuffix("\n")


@dataclass(frozen=True, slots=True)
class Git:
    """Git at one folder. With `git_dir` nothing is looked for: the folder's own `.git`, if any, is not believed."""

    folder: Path
    git_dir: Path | None = None
    index: Path | None = None
    seconds: float = SECONDS

    def ask(self, *words: str | bytes, stdin: bytes = b"", config: tuple[str, ...] = ()) -> Answer:
        """Run it and say how it ended."""
        with self._started(words, config) as (process, complaints):
            out, _ = process.communicate(stdin)
            return Answer(process.returncode, out, _said(complaints))

    def run(self, *words: str | bytes, stdin: bytes = b"", config: tuple[str, ...] = ()) -> bytes:
        """Run it and return what it printed; raise where it failed."""
        answer = self.ask(*words, stdin=stdin, config=config)
        if answer.status:
            raise failed(words, self.folder, answer.said)
        return answer.out

    @contextmanager
    def talk(self, *words: str | bytes, config: tuple[str, ...] = ()) -> Iterator[Talk]:
        """Run it with both ends of its pipes in hand; it must have ended well when the block ends."""
        with self._started(words, config) as (process, complaints):
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                yield Talk(process.stdin, process.stdout)
                process.stdin.close()
            except BrokenPipeError:
                raise failed(words, self.folder, _said(complaints)) from None
            if process.wait():
                raise failed(words, self.folder, _said(complaints))

    @contextmanager
    def hear(self, *words: str | bytes) -> Iterator[IO[bytes]]:
        """Run it and read what it prints, no further than wanted; what is left of it then is ended."""
        with self._started(words, ()) as (process, complaints):
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            yield process.stdout
            if process.stdout.read(1) == b"" and process.wait():
                raise failed(words, self.folder, _said(complaints))

    @contextmanager
    def _started(
        self, words: tuple[str | bytes, ...], config: tuple[str, ...]
    ) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
        late = threading.Event()
        with tempfile.TemporaryFile() as complaints:  # a file, because a pipe that nobody empties stops its writer
            try:
                with errand.starting() as marks:
                    process = subprocess.Popen(  # noqa: S603 - fixed words, and paths are arguments of their own
                        ["git", "-C", self.folder, *_CONFIG, *config, *words],  # noqa: S607 - the one the person uses
                        env=environment({**self._names(), **marks}),
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=complaints,
                        process_group=0,
                    )
            except FileNotFoundError:
                message = "git is not installed, so nothing can be done with repositories. See: holdfast doctor"
                raise Unavailable(message) from None
            except (ValueError, OSError) as error:
                message = f"git could not be run in {str(self.folder)!r}: {type(error).__name__}. Check the path."
                raise Unavailable(message) from None

            def end() -> None:
                late.set()
                _kill(process)

            watch = threading.Timer(self.seconds, end)
            watch.daemon = True
            watch.start()
            try:
                yield process, complaints
            finally:
                watch.cancel()
                _end(process)
                if late.is_set():
                    message = f"git {_word(words)} in {str(self.folder)!r} took longer than {self.seconds:.0f} s."
                    raise Unavailable(f"{message} It was ended. Check the disk, then try again.")

    def _names(self) -> dict[str, str]:
        names: dict[str, str] = {}
        if self.git_dir is not None:
            names |= {"GIT_DIR": str(self.git_dir), "GIT_WORK_TREE": str(self.folder)}
        if self.index is not None:
            names["GIT_INDEX_FILE"] = str(self.index)
        return names


@dataclass(frozen=True, slots=True)
class Talk:
    """A running command: what it is told, and what it answers."""

    tell: IO[bytes]
    hear: IO[bytes]


def environment(names: Mapping[str, str]) -> dict[str, str]:
    """What git is told of the world.

    What was set for a git that called us (a hook, an alias) must not point this one at another repository, and our own
    secrets are nothing for the filters that git runs. Whose it is comes on top of this: see `errand.py`.
    """
    env = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "HOLDFAST_"))}
    return env | {
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",  # an object is what its name says, not what somebody put in its place
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_EDITOR": ":",
        "LC_ALL": "C",
        **names,
    }


def failed(words: tuple[str | bytes, ...], folder: Path, said: str) -> Unavailable:
    """What a command that failed means for the one who asked."""
    message = f"git {_word(words)} failed in {str(folder)!r}: {said or 'it said nothing'}. Mend that, then try again."
    return Unavailable(message)


def _word(words: tuple[str | bytes, ...]) -> str:
    word = words[0]
    return word if isinstance(word, str) else os.fsdecode(word)


def _said(complaints: IO[bytes]) -> str:
    complaints.seek(0)
    lines = [line for line in complaints.read(64 * 1024).decode("utf-8", "replace").splitlines() if line.strip()]
    # What counts comes first in git's words, except that progress and advice may come before it.
    told = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[0] if lines else "")
    return redact(plain(told.strip()), limit=_LONGEST_SAID)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _end(process: subprocess.Popen[bytes]) -> None:
    _kill(process)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):  # what was still to be written to one that is gone
                pipe.close()
