"""What becomes of a row after a try: a pure decision over its counts, its kind and what the try came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, assert_never

from holdfast.core.instants import later, seconds
from holdfast.core.propagation.kinds import Kind
from holdfast.core.propagation.outcome import Cancel, Done, Outcome, Retry, Wait
from holdfast.core.propagation.schedule import UNKNOWN

#: Typed reasons of a dead row.
MAX_ATTEMPTS, MAX_STARTS, UNKNOWN_KIND = "max_attempts", "max_starts", "unknown_kind"
#: Typed reasons of a row that is tried again, and of one that a newer one has replaced.
FAILED, CRASHED, STOPPED, SUPERSEDED = "failed", "crashed", "stopped", "superseded"


@dataclass(frozen=True, slots=True)
class Failure:
    """The try ended in an exception, or ran past its time; told without secrets."""

    error: str


@dataclass(frozen=True, slots=True)
class Counts:
    """What a row has been through when it was started: failures, and starts without an outcome, this one among them."""

    attempts: int
    starts: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The row from now on."""

    state: Literal["pending", "waiting", "dead", "done", "cancelled"]
    attempts: int
    starts: int
    reason: str | None = None
    error: str | None = None
    #: When it is tried or looked at again; none for what is over.
    next_attempt_at: str | None = None
    #: Its kind's facts were refused, and it dies without them.
    bare: bool = False

    @property
    def over(self) -> bool:
        """Whether it leaves for the ledger."""
        return self.state in {"done", "cancelled"}


def after_try(kind: Kind[Any], counts: Counts, came_to: Outcome | Failure, now: str, spread: float) -> Verdict:
    """What a try that came to an end means. `spread` is a fraction that full jitter takes of the delay."""
    attempts, starts = counts.attempts, counts.starts - 1  # this start has come to an outcome
    match came_to:
        case Done():
            return Verdict("done", attempts, starts)
        case Cancel():
            return Verdict("cancelled", attempts, starts, came_to.reason)
        case Wait():
            return Verdict("waiting", attempts, starts, came_to.reason, None, later(now, seconds(came_to.after)))
        case Retry() | Failure():
            failures = attempts + 1
            error = (came_to.why or None) if isinstance(came_to, Retry) else came_to.error
            if failures >= kind.max_attempts:
                return Verdict("dead", failures, starts, MAX_ATTEMPTS, error)
            asked = came_to.after if isinstance(came_to, Retry) else None
            delay = seconds(asked) if asked is not None else kind.schedule.delay(failures, _part(kind, spread))
            return Verdict("pending", failures, starts, FAILED, error, later(now, delay))
        case _:
            assert_never(came_to)


def after_crash(kind: Kind[Any], counts: Counts, now: str, spread: float) -> Verdict:
    """What a start means whose process is gone: again at once, then as after a failure; or it is buried."""
    attempts, starts = counts.attempts, counts.starts
    if starts >= kind.max_starts:
        return Verdict("dead", attempts, starts, MAX_STARTS)
    step = min(attempts + starts - 1, len(kind.schedule.delays))
    next_at = now if starts <= 1 else later(now, kind.schedule.delay(step, _part(kind, spread)))
    return Verdict("pending", attempts, starts, CRASHED, None, next_at)


def unknown(counts: Counts, looks: int, now: str) -> Verdict:
    """What it means that a row is due and no living process knows its kind, this many times by now: no try of it."""
    if looks >= UNKNOWN.most_attempts:
        return Verdict("dead", counts.attempts, counts.starts, UNKNOWN_KIND)
    next_at = later(now, UNKNOWN.delay(looks))
    return Verdict("pending", counts.attempts, counts.starts, UNKNOWN_KIND, None, next_at)


def cut_off(counts: Counts, now: str) -> Verdict:
    """What it means that the process stops in good order before a row came to an outcome, or to its try."""
    return Verdict("pending", counts.attempts, counts.starts - 1, STOPPED, None, now)


def _part(kind: Kind[Any], spread: float) -> float:
    return spread if kind.jitter else 1.0
