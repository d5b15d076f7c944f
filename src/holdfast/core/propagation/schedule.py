"""The named tables of delays between tries, what each adds up to, and when a row is tried next. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

_MINUTE = 60.0
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR

#: Seconds to wait for a store that cannot answer just now, from one failure to the next; the last one goes on.
_STORE_PAUSES = (0.01, 0.05, 0.2, 1.0, 5.0)
#: The longest of them.
LONGEST_STORE_PAUSE = _STORE_PAUSES[-1]


def store_pause(failures: int) -> float:
    """Seconds to wait for the store after it has failed so many times in a row, the first time being 1."""
    return _STORE_PAUSES[min(failures, len(_STORE_PAUSES)) - 1]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long to wait after each failure: after the first one `delays[0]`, and so on, then it is dead."""

    name: str
    doc: str
    #: In seconds.
    delays: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse a table that nobody could follow."""
        if not self.delays or not all(0 < delay < float("inf") for delay in self.delays):
            message = f"the schedule {self.name!r} needs delays, each of them more than 0 s: {self.delays}"
            raise ValueError(message)

    @property
    def most_attempts(self) -> int:
        """The first try and one after each delay; the failure of this one is the last."""
        return len(self.delays) + 1

    def delay(self, failures: int, spread: float = 1.0) -> timedelta:
        """How long to wait after so many failures; `spread`, from 0 to 1, takes a part of it (full jitter)."""
        if not 1 <= failures <= len(self.delays):
            message = f"the schedule {self.name!r} has no delay after failure {failures}: it has {len(self.delays)}"
            raise ValueError(message)
        return timedelta(seconds=self.delays[failures - 1] * spread)

    def horizon(self, attempts: int | None = None) -> timedelta:
        """From the first failure to the last one of so many attempts (all of them unless told), without jitter."""
        delays = self.delays if attempts is None else self.delays[: attempts - 1]
        return timedelta(seconds=sum(delays))


INTERACTIVE = Schedule("interactive", "Somebody waits for it: dead within half a minute.", (0.2, 1, 2, 5, 15))
STANDARD = Schedule(
    "standard",
    "Outlives an outage of a weekend.",
    (
        1 * _MINUTE,
        5 * _MINUTE,
        15 * _MINUTE,
        30 * _MINUTE,
        1 * _HOUR,
        2 * _HOUR,
        4 * _HOUR,
        8 * _HOUR,
        16 * _HOUR,
        24 * _HOUR,
    ),
)
PATIENT = Schedule(
    "patient",
    "Outlives an outage of a week; soon calm, so that whoever is down is left in peace.",
    (5 * _MINUTE, 30 * _MINUTE, 2 * _HOUR, 6 * _HOUR, 12 * _HOUR, *(1 * _DAY,) * 7),
)
UNKNOWN = Schedule(
    "unknown",
    "For rows of a kind that no process knows: time to start one that does.",
    (1 * _MINUTE, 10 * _MINUTE, 1 * _HOUR, 6 * _HOUR, 24 * _HOUR),
)

#: Every table there is.
SCHEDULES: tuple[Schedule, ...] = (INTERACTIVE, STANDARD, PATIENT, UNKNOWN)
