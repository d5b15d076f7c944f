"""What is known of one session, as values: the words, the facts, and what can be observed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from holdfast.fleet.agents.declare import SIGNAL_KINDS as SIGNAL_KINDS  # noqa: PLC0414 - a word of sessions too
from holdfast.fleet.agents.declare import SignalKind as SignalKind  # noqa: PLC0414

State = Literal["not_started", "working", "idle", "needs_input", "stuck", "detecting", "done", "terminated"]
#: Why a session has ended.
Reason = Literal[
    "manually_killed",
    "runtime_lost",
    "agent_process_exited",
    "probe_failure",
    "error_in_process",
    "auto_cleanup",
    "pr_merged",
]
#: Who looks at a session, each on its own.
WitnessName = Literal["runtime", "pane", "process", "heartbeat"]
Verdict = Literal["alive", "dead", "missing", "failed"]
#: Why a session is in quarantine: its witnesses disagree or tell nothing; or it says it works and nothing moves.
Cause = Literal["witnesses", "silence"]


class Activity(msgspec.Struct, frozen=True):
    """What the agent does, as far as somebody has said so."""

    state: SignalKind
    #: Who said so: `signal` (the agent's hooks), `output` (its terminal), `probe`.
    source: Literal["signal", "output", "probe"]
    at: str


class Witness(msgspec.Struct, frozen=True):
    """What one witness says, and since when it has been saying that."""

    verdict: Verdict
    since: str
    detail: str = ""


class Tally(msgspec.Struct, frozen=True):
    """What the looks of one quarantine add up to. Spans are of watching: a moved wall clock counts for nothing."""

    #: The boot-time clock in ns of the look that opened it, of the one that counted last, and of the one it closed at.
    opened: int = 0
    counted: int = 0
    closed: int = 0
    #: Looks that found nothing conclusive.
    attempts: int = 0
    evidence_hash: str = ""
    #: How many looks in a row had the same evidence.
    unchanged: int = 0
    #: Looks in a row, since the last doubtful one, that found all well.
    healthy: int = 0
    #: Seconds of it that were watched, and those of them since something last was a sign of life.
    watched: float = 0.0
    blind: float = 0.0


class Episode(Tally, frozen=True, kw_only=True):
    """One quarantine, from the first doubt to the end of it; it pages once."""

    #: Counts the quarantines of its session from 1; one that soon comes back is the same one.
    number: int
    cause: Cause
    launch: int
    started_at: str
    #: The state to go back to when it turns out well.
    before: State
    escalated_at: str | None = None
    closed_at: str | None = None
    #: What ended it, in words.
    outcome: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self.closed_at is None


class Death(msgspec.Struct, frozen=True):
    """The agent's process has been seen to be gone, and the end waits for the rest of the story."""

    #: The boot-time clock in ns of the look that saw it first, and when that was.
    seen: int
    seen_at: str
    #: Seconds watched since then.
    watched: float = 0.0
    #: Seconds watched since the newest heartbeat that is newer than the death; None while there is none.
    beat: float | None = None


class Watch(msgspec.Struct, frozen=True):
    """How far a session has been watched."""

    #: The boot-time clock in ns of the newest look that changed what is known.
    look: int = 0
    #: Seconds watched since something was heard of the agent (a signal, or new output).
    quiet: float = 0.0
    death: Death | None = None


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the present launch; all of it begins anew with the next one."""

    #: 0 until its first launch.
    launch: int = 0
    launched_at: str | None = None
    #: Since when the present launch lives; None while nothing of it does.
    alive_since: str | None = None
    #: The sequence of the newest signal taken of this launch, and when it came.
    seq: int = 0
    heard_at: str | None = None
    #: When its terminal last showed something new.
    output_at: str | None = None
    activity: Activity | None = None
    #: When the agent said that it is done, and when everything it owes was settled; None since it works again.
    done_at: str | None = None
    settled_at: str | None = None
    witnesses: Mapping[WitnessName, Witness] = msgspec.field(default_factory=dict)
    watch: Watch = Watch()


class Facts(Life, frozen=True, kw_only=True):
    """Everything that decides about one session."""

    id: str
    #: Whether its agent says what it does (`hooks`), or only its output tells (`output`).
    speaks: Literal["hooks", "output"]
    state: State
    state_at: str
    reason: Reason | None = None
    evidence: Mapping[str, Any] = msgspec.field(default_factory=dict)
    #: The newest quarantine. One that is over stays, so that it is known again when it comes back.
    episode: Episode | None = None
    #: When a person asked for its end; nothing but that is decided any more.
    kill_asked_at: str | None = None

    @property
    def quarantine(self) -> Episode | None:
        """The quarantine that is open, if one is."""
        return self.episode if self.episode is not None and self.episode.is_open else None


# --- what can be observed --------------------------------------------------------------------------------------


class Signal(msgspec.Struct, frozen=True, tag="signal"):
    """The agent says what it does."""

    launch: int
    #: The boot-time clock in ns at the start of the hook: a later one is newer, whenever it arrives.
    seq: int
    kind: SignalKind
    detail: str = ""


class Reading(msgspec.Struct, frozen=True):
    """What one witness said in one look."""

    verdict: Verdict
    detail: str = ""


class Probe(msgspec.Struct, frozen=True, tag="probe"):
    """One look at one session by every witness that could be asked."""

    launch: int
    looked_at: str
    #: The boot-time clock in ns when the look began; one that is older than what is known changes nothing.
    seq: int
    readings: Mapping[Literal["runtime", "pane", "process"], Reading]
    #: The boot of the machine now, and that of the launch: another one is a reboot.
    rebooted: bool = False
    exit_status: int | None = None
    exit_signal: int | None = None
    #: When its terminal last showed something new.
    output_at: str | None = None


class Launched(msgspec.Struct, frozen=True, tag="launched"):
    """A launch has been proved alive (spawn or restore)."""

    launch: int
    by: Literal["spawn", "restore", "adoption"]


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """A session could not be brought to its first life, and what was made for that is gone again, or named."""

    launch: int
    step: str
    error: str
    #: What of it could not be taken back.
    left: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Killed(msgspec.Struct, frozen=True, tag="killed"):
    """A kill has proved that nothing of the launch runs any more."""

    launch: int
    reason: Reason
    evidence: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Settled(msgspec.Struct, frozen=True, tag="settled"):
    """Whether everything that a session owes (checks, merge by policy) is settled: without it `done` is `idle`."""

    launch: int


Observation = Signal | Probe | Launched | Failed | Killed | Settled


# --- what is decided -------------------------------------------------------------------------------------------


class Page(msgspec.Struct, frozen=True, tag="page"):
    """A person is told, once."""

    kind: Literal["agent-stuck"]
    text: str


class Unblocked(msgspec.Struct, frozen=True, tag="unblocked"):
    """Messages that were held may be looked at again."""


class Reap(msgspec.Struct, frozen=True, tag="reap"):
    """Whatever is left of this launch is to be ended."""

    launch: int


Effect = Page | Unblocked | Reap

#: What became of an observation: taken, the same as before, of an earlier launch, older than what is known, after the
#: end, or of a launch that has never been.
Taken = Literal["taken", "repeated", "stale_launch", "stale_seq", "ended", "unknown_launch"]


class Decision(msgspec.Struct, frozen=True):
    """What an observation comes to."""

    facts: Facts
    taken: Taken
    effects: tuple[Effect, ...] = ()
