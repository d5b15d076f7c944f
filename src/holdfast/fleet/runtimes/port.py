"""The port of runtimes: a place where an agent's process lives, with a terminal, and outlives the daemon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from holdfast.core.errors import HoldfastError
from holdfast.fleet.processes import Identity

#: What a look at one thing came to. `failed` is a look that told nothing; it is never read as a death.
Verdict = Literal["alive", "dead", "missing", "failed"]
Key = Literal["enter", "escape", "interrupt"]

#: The terminal that an agent gets: wide enough that its interface does not fold, and one size in every runtime.
COLUMNS, ROWS = 200, 50


class RuntimeFailed(HoldfastError):
    """A runtime could not do what was asked of it, or did not answer; trying again may help."""

    code = "runtime"
    http_status = 503
    retryable = True


class NotThere(HoldfastError):
    """The runtime answers, and knows nothing of what was asked for: its pane is gone."""

    code = "runtime_gone"
    http_status = 409


@dataclass(frozen=True, slots=True)
class Place:
    """What to run, where; its name is derived from the session and launch, so that it can be found again."""

    name: str
    cwd: Path
    argv: tuple[str, ...]
    #: All of the environment that is ours to give; what holds a secret never stands on a command line.
    env: Mapping[str, str] = field(repr=False)
    #: Where its output is recorded; a folder of this session alone.
    record: Path


class Handle(msgspec.Struct, frozen=True):
    """Something that was started, named for good: kept as JSON in the row of the launch."""

    runtime: str
    name: str
    #: The agent's own process: what was asked for in `argv`, not a shell around it.
    process: Identity
    #: The process that the terminal hangs on: the tmux server, or the session's holder.
    server: Identity
    #: The runtime's own name for the place within the server, such as `%3`.
    pane: str = ""


@dataclass(frozen=True, slots=True)
class Pane:
    """One place, as the runtime sees it. The exit status is None while it is unknown, which is not 0."""

    name: str
    verdict: Verdict
    exit_status: int | None = None
    exit_signal: int | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """One look at everything that a runtime has, in one question."""

    #: Whether the shared server answers: `dead` only when it is proved gone; `missing` when none was ever started.
    server: Verdict
    detail: str = ""
    panes: Mapping[str, Pane] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Screen:
    """What the terminal shows now, and where its cursor stands, both from 0."""

    lines: tuple[str, ...]
    row: int
    column: int


class Runtime(Protocol):
    """What every runtime does. Everything is idempotent, bounded in time, and raises `RuntimeFailed` or `NotThere`."""

    @property
    def name(self) -> str:
        """Its name in rows and settings."""
        ...

    def available(self) -> str | None:
        """What is missing on this machine, in words with the remedy; None when it can be used."""
        ...

    async def launch(self, place: Place) -> Handle:
        """Start the agent; what runs under this name already is found instead of started twice.

        The folder and the program are checked first: `Invalid` names what is missing, and nothing was started.
        """
        ...

    async def find(self, name: str) -> Handle | None:
        """What was launched under this name and is still known to the runtime, dead or alive."""
        ...

    async def look(self) -> Look:
        """Every place of ours, in one question that costs no fork."""
        ...

    async def paste(self, handle: Handle, text: str) -> None:
        """Put text into the terminal as a person's paste does, in chunks; presses no key."""
        ...

    async def press(self, handle: Handle, key: Key) -> None:
        """Press one key."""
        ...

    async def screen(self, handle: Handle) -> Screen:
        """What the terminal shows."""
        ...

    async def reads_lines(self, handle: Handle) -> bool:
        """Whether the terminal gathers what is typed into lines now, and so keeps `line_mode.LINE` bytes of each.

        Where that cannot be told, it counts as not.
        """
        ...

    async def forget(self, name: str) -> None:
        """Take away the place (pane, window, holder) under this name; processes are ended by `processes.end` before.

        What is not there is forgotten already.
        """
        ...

    def attach(self, handle: Handle) -> Sequence[str]:
        """The command by which a person joins it from a terminal of theirs."""
        ...

    async def close(self) -> None:
        """Let go of connections; everything that runs goes on."""
        ...
