"""Kinds of propagations: what each declares, the order of its timeouts, and the registry that is walked both ways."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import msgspec

from holdfast.core.propagation.deaths import Deathwatch, tell_died
from holdfast.core.propagation.outcome import Outcome
from holdfast.core.propagation.schedule import Schedule

if TYPE_CHECKING:
    from holdfast.core.propagation.job import Job
    from holdfast.core.store.port import Reader, Unit

P = TypeVar("P", bound=msgspec.Struct)
Handler = Callable[["Job[Any]"], Awaitable[Outcome]]

_NAME = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*(-[a-z0-9_]+)*")
#: Longer keys and payloads are refused when they are enqueued.
LONGEST_KEY = 200
LARGEST_PAYLOAD = 64 * 1024

#: Seconds. A claim whose lease has run out is given back after so long at most; a stop waits so long for what is under
#: way; and a stop of the whole daemon takes no longer than that unless the settings say so.
RESCUE_SECONDS = 40.0
DRAIN_SECONDS = 50.0
STOP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long things may take, in seconds, each shorter than the next one, so that the inner one strikes first."""

    #: One call of something outside, inside a handler.
    call: float = 10.0
    #: The handler, for one row.
    item: float = 20.0
    #: The lease, from one heartbeat to its end.
    lease: float = 30.0
    rescue: float = RESCUE_SECONDS
    drain: float = DRAIN_SECONDS
    stop: float = STOP_SECONDS

    def __post_init__(self) -> None:
        """Refuse an order in which nothing would ever finish."""
        named = [(name, getattr(self, name)) for name in ("call", "item", "lease", "rescue", "drain", "stop")]
        for (inner, short), (outer, long) in pairwise(named):
            if not 0 < short < long:
                listed = " < ".join(f"{name} {seconds:g} s" for name, seconds in named)
                message = f"timeouts must grow, {inner} ({short:g} s) is not below {outer} ({long:g} s): {listed}"
                raise ValueError(message)


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold before rows of a kind are started. It is looked at in the unit that claims them."""

    name: str
    doc: str
    #: What is in the way, in words; none when nothing is.
    unmet: Callable[[Reader], str | None]


@dataclass(frozen=True, slots=True)
class Buried:
    """A row that has just died, as its kind's `buried` sees it."""

    id: int
    key: str | None
    payload: Any
    reason: str
    error: str | None


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How often, how long and how many at once."""

    #: Failures until it is dead; as many as the schedule has room for unless told.
    max_attempts: int = 0
    #: Starts without any outcome (the process died) until it is dead.
    max_starts: int = 5
    timeouts: Timeouts = field(default_factory=Timeouts)
    #: Rows, or batches, under way at once in one process.
    concurrency: int = 4
    #: More than 1 for cheap effects: so many are claimed at once, done one after the other, acknowledged together.
    batch: int = 1


@dataclass(frozen=True, kw_only=True)
class Kind(Limits, Generic[P]):
    """A kind of effect: everything the runner must know about it."""

    name: str  # <domain>.<effect>, such as fleet.spawn; the effect may be several words with hyphens
    doc: str
    payload: type[P]
    schedule: Schedule
    #: One pending row of a key (a second one is the first one); a key ever used once; or no rule.
    unique: Literal["pending", "forever", "no"] = "no"
    #: Rows for which this gives the same text are done strictly in order. Keys that are unique while pending are.
    lane: Callable[[P], str] | None = None
    #: Whether a dead row keeps those behind it waiting.
    dead_blocks: bool = False
    jitter: bool = False
    conditions: tuple[Condition, ...] = ()
    #: Whether it waits, in a restored store, for somebody to release its effects; not so for the store's own upkeep.
    held_after_restore: bool = True
    #: Facts that come with the death of a row, in the same unit of work.
    buried: Callable[[Unit, Buried], None] | None = None
    #: Facts that come with a person's taking it back, in the same unit of work.
    cancelled: Callable[[Unit, Buried], None] | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be kept."""
        if not self.max_attempts:
            object.__setattr__(self, "max_attempts", self.schedule.most_attempts)
        wrong = list(self._wrong())
        if wrong:
            message = f"the kind {self.name!r}: " + "; ".join(wrong)
            raise ValueError(message)

    def _wrong(self) -> Iterable[str]:
        if not _NAME.fullmatch(self.name):
            yield "its name is not <domain>.<effect> in lower case"
        if not self.doc.strip():
            yield "it has no doc line"
        if not 1 <= self.max_attempts <= self.schedule.most_attempts:
            yield (
                f"{self.max_attempts} attempts do not fit the schedule {self.schedule.name!r}, "
                f"which has room for 1 to {self.schedule.most_attempts}"
            )
        if self.max_starts < 2:  # noqa: PLR2004 - whoever was beside the one that kills is started alone once more
            yield f"max_starts is {self.max_starts} and must be 2 at least"
        if self.concurrency < 1 or self.batch < 1:
            yield "concurrency and batch must be 1 at least"
        if self.unique == "pending" and self.lane is not None:
            yield "keys that are unique while pending are lanes already: it cannot have others"
        if self.batch > 1 and self.ordered:
            yield "rows that are done in order cannot be done in batches"

    @property
    def ordered(self) -> bool:
        """Whether its rows have lanes."""
        return self.lane is not None or self.unique == "pending"

    @property
    def horizon(self) -> timedelta:
        """From the first failure to the last."""
        return self.schedule.horizon(self.max_attempts)


def _watched(kind: Kind[P], watches: tuple[Deathwatch, ...]) -> Kind[P]:
    """The same kind, whose deaths are told to others too, after what it says of them itself."""
    if not watches:
        return kind
    own = kind.buried

    def buried(unit: Unit, row: Buried) -> None:
        if own is not None:
            own(unit, row)
        tell_died(watches, unit, kind.name, row)

    return replace(kind, buried=buried)


class Registry:
    """The kinds that there are, the handlers that this process has for them, and who is told of deaths."""

    def __init__(
        self,
        kinds: Iterable[Kind[Any]],
        handlers: Mapping[Kind[Any], Handler] | None = None,
        watches: Iterable[Deathwatch] = (),
    ) -> None:
        self.kinds: dict[str, Kind[Any]] = {}
        self.watches = tuple(watches)
        for kind in kinds:
            if kind.name in self.kinds:
                message = f"the kind {kind.name!r} is registered twice"
                raise ValueError(message)
            self.kinds[kind.name] = _watched(kind, self.watches)
        self.handlers = {kind.name: handler for kind, handler in (handlers or {}).items()}
        stray = sorted(self.handlers.keys() - self.kinds.keys())
        if stray:
            message = f"handlers of kinds that no pack registers: {', '.join(stray)}"
            raise ValueError(message)

    @property
    def lacking(self) -> list[str]:
        """Kinds for which this process has no handler."""
        return sorted(self.kinds.keys() - self.handlers.keys())

    def require_whole(self) -> None:
        """Refuse a process that is to do everything and cannot."""
        if self.lacking:
            message = f"kinds without a handler: {', '.join(self.lacking)}"
            raise ValueError(message)

    def served(self) -> list[Kind[Any]]:
        """The kinds that this process can do."""
        return [self.kinds[name] for name in self.handlers]
