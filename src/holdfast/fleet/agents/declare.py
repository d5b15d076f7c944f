"""What an agent is to Holdfast: how it is started and resumed, how it is spoken to, and how its signals read. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

#: What an agent can say of itself; the words of the API.
SignalKind = Literal["working", "idle", "waiting_input", "blocked", "done", "exited"]
SIGNAL_KINDS: tuple[SignalKind, ...] = ("working", "idle", "waiting_input", "blocked", "done", "exited")


@dataclass(frozen=True, slots=True)
class Start:
    """One launch, as an agent is told of it."""

    session: str
    launch: int
    workspace: Path
    #: A folder of this session alone, outside the worktree, for settings files and the like; it is there.
    home: Path
    #: What it is asked to do; None on a resumption.
    prompt: str | None
    #: The conversation to go on with; None for a new one.
    resume: str | None
    #: An id for a new conversation, for agents that let one choose it: the same in every try of this launch.
    fresh: str
    #: Said to a resumed agent first: that it was interrupted, and what has changed meanwhile.
    notice: str | None
    #: The command that a hook of the agent runs, to which its own name and the event's are added.
    hook: tuple[str, ...]
    #: What the project or the caller set for this agent: `command`, `model`, `arguments`, ...
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be run."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    #: Files to write first, by absolute path below `home` or the worktree's `.holdfast/`; mode 0600.
    files: Mapping[Path, bytes] = field(default_factory=dict)
    #: The conversation's id, where it is known before the start.
    conversation: str | None = None
    #: What is to be typed once it is ready: the prompt or the notice, where the command line does not carry it.
    typed: str | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """What one event of an agent says."""

    #: What it does now; None where the event says nothing of that.
    kind: SignalKind | None = None
    #: The conversation's id, where the event tells it.
    conversation: str | None = None
    #: The text that was submitted to it, where the event is about that: evidence for a message.
    submitted: str | None = None
    #: In words, for people: which tool it wants to use, what it asks.
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Input:
    """How its terminal takes text. Patterns are looked for in the lines of the screen."""

    #: The input box is there and empty or holds text; nothing is typed before it is.
    ready: re.Pattern[str] | None = None
    #: A dialog is open: whatever is typed would answer it.
    dialog: re.Pattern[str] | None = None
    #: What the box shows in place of a long text that was pasted, such as `[Pasted text #1 +20 lines]`.
    pasted: re.Pattern[str] | None = None
    #: Seconds between a paste and Enter: sooner, the agent takes Enter for a part of the paste.
    settle: float = 0.0
    #: Whether it takes messages at all while it works (it queues them itself).
    while_working: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Agent:
    """One agent. `verified` is only what `make test-agents` has driven by its real binary."""

    name: str
    doc: str
    standing: Literal["verified", "declared"]
    #: What must be on the PATH; None where the options name the program.
    binary: str | None
    #: How to get it, for people whose machine lacks it.
    install: str
    plan: Callable[[Start], Plan]
    #: Whether it can go on with a conversation.
    resumes: bool
    #: How what it says is known: by its hooks, or from its output alone (then `working` means that output flows).
    speaks: Literal["hooks", "output"]
    #: Reads one event of its hooks: its name, and the payload as the agent gave it.
    read: Callable[[str, Mapping[str, Any]], Heard] = lambda _event, _payload: Heard()
    #: The events whose hooks are installed; every one of them is read to something.
    events: tuple[str, ...] = ()
    input: Input = field(default_factory=Input)
