"""What one process may claim next, and when to ask again: room for each kind, and when its rows are due. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.core.instants import parse_stamp

if TYPE_CHECKING:
    from holdfast.core.propagation.claims import Due
    from holdfast.core.propagation.kinds import Kind

#: While a kind's claims come back full, its next times are asked for only so often: its suspects must not starve.
_LOOK_EVERY = 16
#: Seconds to leave a kind alone whose due rows somebody else holds: doubled from the first to the last.
_FIRST_QUIET, _LONGEST_QUIET = 0.001, 0.25
#: Seconds to leave a kind alone whose condition is not met.
_BLOCKED_QUIET = 5.0


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of the store for one kind."""

    kind: Kind[Any]
    limit: int
    #: Whether to find out when its rows are due, before claiming those that are.
    look: bool
    #: Whether a row may be among them of which an earlier start came to no outcome.
    suspect: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it."""

    ask: Ask
    fresh: int
    suspects: int
    due: Due | None
    blocked: str | None


@dataclass(slots=True)
class _Slot:
    kind: Kind[Any]
    running: int = 0
    look: bool = True
    full: bool = False
    turns: int = 0
    fresh: str | None = None
    suspect: str | None = None
    quiet_until: float = float("-inf")
    quiet: float = 0.0
    blocked: str | None = None

    @property
    def free(self) -> int:
        return self.kind.concurrency - self.running

    def rest(self, steady: float, length: float) -> None:
        """Look again after a while; at once if something woke it since it asked."""
        if not self.look:
            self.look, self.quiet_until = True, steady + length


class Plan:
    """The room that is left, and what is known of what is due."""

    def __init__(self, kinds: Iterable[Kind[Any]]) -> None:
        self._slots = {kind.name: _Slot(kind) for kind in kinds}
        self._suspects = 0
        #: Whether effects wait to be released.
        self.held = False

    @property
    def blocked(self) -> Mapping[str, str]:
        """Kinds whose conditions are not met, and why."""
        return {name: slot.blocked for name, slot in self._slots.items() if slot.blocked is not None}

    def woken(self) -> None:
        """Anything may have become due."""
        for slot in self._slots.values():
            slot.look, slot.quiet_until = True, float("-inf")

    def asks(self, now: str, steady: float) -> list[Ask]:
        """What to ask now; what wakes the plan from here on is asked for the next time."""
        found = []
        for slot in self._slots.values():
            if slot.free <= 0 or slot.quiet_until > steady or self._is_held(slot):
                continue
            if (
                slot.look
                or slot.full
                or reached(slot.fresh, now)
                or (not self._suspects and reached(slot.suspect, now))
            ):
                slot.turns += 1
                look = slot.look or not slot.full or slot.turns % _LOOK_EVERY == 0
                slot.look = False
                found.append(Ask(slot.kind, slot.free * slot.kind.batch, look, suspect=not self._suspects))
        return found

    def answered(self, answers: Sequence[Answer], now: str, steady: float) -> None:
        """Learn from what came back."""
        for answer in answers:
            slot = self._slots[answer.ask.kind.name]
            slot.blocked = answer.blocked
            if answer.blocked is not None:
                self.refuse(answer.ask.kind.name, answer.blocked, steady)
                continue
            room = answer.ask.limit - answer.suspects * answer.ask.kind.batch
            slot.full = 0 < room <= answer.fresh
            if answer.due is not None:
                slot.fresh, slot.suspect = answer.due.fresh, answer.due.suspect
            if answer.fresh or answer.suspects:
                slot.quiet = 0.0
                # What was due is ours: the next time is not known yet, unless more than we have room for is due.
                slot.fresh = slot.suspect = None
                slot.look = slot.look or not slot.full
            elif answer.due is not None and self._was_due(answer.due, now):
                slot.quiet = min(max(2 * slot.quiet, _FIRST_QUIET), _LONGEST_QUIET)
                slot.rest(steady, slot.quiet)
            elif answer.due is None:
                slot.look = True

    def unanswered(self, asks: Iterable[Ask]) -> None:
        """The store did not answer: ask again."""
        for ask in asks:
            self._slots[ask.kind.name].look = True

    def refuse(self, kind: str, why: str, steady: float) -> None:
        """A kind cannot be started just now."""
        slot = self._slots[kind]
        slot.blocked = why
        slot.full, slot.fresh, slot.suspect = False, None, None
        slot.rest(steady, _BLOCKED_QUIET)

    def started(self, kind: Kind[Any], *, suspect: bool) -> None:
        """A row or batch is under way."""
        self._slots[kind.name].running += 1
        self._suspects += suspect

    def ended(self, kind: Kind[Any], *, suspect: bool) -> None:
        """There is room again. What has ended may be due again; if it was a suspect, another may be due."""
        slot = self._slots[kind.name]
        slot.running -= 1
        slot.look = slot.look or not slot.full  # while claims come back full, a look comes soon enough
        if suspect:
            self._suspects -= 1
            for slot in self._slots.values():
                slot.look = True

    def pause(self, now: str, steady: float) -> float | None:
        """Seconds until there is something to ask; none if only a wake-up can tell."""
        waits = [wait for slot in self._slots.values() if (wait := self._wait(slot, now, steady)) is not None]
        return min(waits, default=None)

    def _wait(self, slot: _Slot, now: str, steady: float) -> float | None:
        if slot.free <= 0 or self._is_held(slot):
            return None
        quiet = max(0.0, slot.quiet_until - steady)
        if slot.look or slot.full:
            return quiet
        due = [at for at in (slot.fresh, None if self._suspects else slot.suspect) if at is not None]
        if not due:
            return None
        return max(quiet, (parse_stamp(min(due)) - parse_stamp(now)).total_seconds(), 0.0)

    def _was_due(self, due: Due, now: str) -> bool:
        return reached(due.fresh, now) or (not self._suspects and reached(due.suspect, now))

    def _is_held(self, slot: _Slot) -> bool:
        return self.held and slot.kind.held_after_restore


def reached(at: str | None, now: str) -> bool:
    """Whether the time has come."""
    return at is not None and at <= now
