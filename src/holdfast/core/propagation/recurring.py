"""Recurring work: owes an effect once in every window of time, by however many processes, across restarts.

A window is a stretch of the wall clock, numbered from the epoch. Only the one that it is now is ever owed: those that
passed while nobody ran are not made up for. Whether it was owed already stands in the row of `recurring`, which is
looked at and written in the unit of work that owes it; two processes that do so at once cross, and one runs again.

The effect's key is `<name>:<window>`: every window has an effect of its own, however long the last one takes. A kind
that is unique while pending has the key `<name>` instead, and with it the queue's own rule: an effect that still waits
stands for the new window too, and behind one that is under way there waits one more, never two.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.core import logs
from holdfast.core.errors import DuplicateRow, HoldfastError, StoreClosed, StoreInDoubt
from holdfast.core.lifecycle import spawn
from holdfast.core.propagation.queue import enqueue
from holdfast.core.propagation.schedule import LONGEST_STORE_PAUSE
from holdfast.core.store.port import Act
from holdfast.core.store.sql import load

if TYPE_CHECKING:
    from holdfast.core.clock import Clock
    from holdfast.core.propagation.kinds import Kind
    from holdfast.core.store.port import Store, Unit

SQL = load("holdfast.core.propagation", "recurring.sql")

#: So many windows are remembered, those that ran last.
REMEMBERED = 16
#: Two processes' clocks may be so many seconds apart: a whole window at least, and no more windows than are remembered.
APART_SECONDS = 300
#: The longest sleep, in seconds: the wall clock may be moved, or the machine suspended.
LONGEST_SLEEP = 60.0
_ACT = Act("daemon", "recurring work")
_NAME = re.compile(r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$")
_LONGEST_NAME = 150

_log = logs.get("propagation")
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Recurring:
    """An effect that is owed once in every window."""

    name: str
    doc: str
    interval_seconds: int
    kind: Kind[Any]
    payload: msgspec.Struct

    def __post_init__(self) -> None:
        """Refuse what could not be kept."""
        wrong = list(self._wrong())
        if wrong:
            message = f"the recurring work {self.name!r}: " + "; ".join(wrong)
            raise ValueError(message)

    def _wrong(self) -> Iterable[str]:
        if not _NAME.match(self.name) or len(self.name) > _LONGEST_NAME:
            yield f"its name is not made of words in lower case, with dots between, of {_LONGEST_NAME} letters at most"
        if not self.doc.strip():
            yield "it has no doc line"
        if self.interval_seconds < 1:
            yield f"its interval is {self.interval_seconds} s and must be 1 s at least"
        if self.kind.unique == "forever":
            yield f"{self.kind.name} keeps its keys for ever, and there would be no end of them"
        if type(self.payload) is not self.kind.payload:
            yield f"{self.kind.name} takes a {self.kind.payload.__name__}, not a {type(self.payload).__name__}"

    def key(self, window: int) -> str:
        """The key of a window's effect."""
        return self.name if self.kind.unique == "pending" else f"{self.name}:{window}"


# --- the windows, pure -----------------------------------------------------------------------------------------


def window_at(now: float, interval: int) -> int:
    """The number of the window in which this moment lies."""
    return int(now // interval)


def next_window(ran: Sequence[int], now: float, interval: int) -> tuple[int | None, float]:
    """The window to run, none if the one that it is now has run; and the seconds until the next one begins."""
    window = window_at(now, interval)
    return None if window in ran else window, (window + 1) * interval - now


def ahead(interval: int) -> int:
    """How many windows another process may be ahead of us.

    What ran further ahead ran by a clock that has been put back since; it is forgotten, and these windows come again.
    """
    return max(1, min(REMEMBERED - 1, APART_SECONDS // interval))


def remembered(ran: Sequence[int], now: float, interval: int, window: int | None) -> list[int]:
    """The windows to remember after this one (if any) has run; the last one that ran stands last."""
    limit = window_at(now, interval) + ahead(interval)
    kept = [each for each in ran if each <= limit]
    if window is not None:
        kept.append(window)
    return kept[-REMEMBERED:]


# --- the service -----------------------------------------------------------------------------------------------


class Recurrences:
    """Owes what recurs. Remembers the windows it has settled, so that it asks the store only when one has begun."""

    name = "recurring work"

    def __init__(self, store: Store, recurring: Iterable[Recurring], clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._recurring = tuple(recurring)
        self._settled: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None
        names = [each.name for each in self._recurring]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            message = f"recurring work that is registered twice: {', '.join(twice)}"
            raise ValueError(message)

    async def start(self) -> None:
        """Owe what this window lacks, and go on."""
        if self._task is None:
            self._task = spawn(self._run(), name="recurring work", forever=True)

    async def stop(self) -> None:
        """End; a unit that is under way is finished by the store."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            pause = LONGEST_STORE_PAUSE  # for a store that cannot answer
            try:
                pause = await self.keep_up()
            except StoreClosed:
                await asyncio.Event().wait()  # the daemon is on its way down and will cancel us
            except HoldfastError as error:
                if not (error.retryable or isinstance(error, DuplicateRow | StoreInDoubt)):  # in doubt: the row tells
                    raise
                _log.warning("recurring work cannot be owed just now", error=error.message)
            await self._clock.sleep(pause)

    async def keep_up(self) -> float:
        """Owe what has not been owed in the window that it is now; the seconds until it is to be asked again."""
        ends = []
        for each in self._recurring:
            now = self._clock.now().timestamp()
            window = window_at(now, each.interval_seconds)
            ends.append((window + 1) * each.interval_seconds)
            if self._settled.get(each.name) == window or self._is_held(each):
                continue
            await self._store.unit(_ACT, partial(settle, recurring=each, now=now))
            self._settled[each.name] = window
        now = self._clock.now().timestamp()
        return min(LONGEST_SLEEP, *(max(0.0, end - now) for end in ends)) if ends else LONGEST_SLEEP

    def _is_held(self, recurring: Recurring) -> bool:
        """In a restored store what is held is not owed either: it would pile up, and all of it start on the release."""
        return self._store.effects_held and recurring.kind.held_after_restore


def settle(unit: Unit, recurring: Recurring, now: float) -> None:
    """Owe the effect of the window that it is now, unless that was done; and note that it is."""
    row = unit.one(SQL.windows, name=recurring.name)
    ran: list[int] = [] if row is None else msgspec.json.decode(row["windows"])
    window, _ = next_window(ran, now, recurring.interval_seconds)
    if window is not None:
        enqueue(unit, recurring.kind, recurring.payload, key=recurring.key(window))
    kept = remembered(ran, now, recurring.interval_seconds, window)
    if kept != ran:
        unit.run(SQL.note, name=recurring.name, windows=_encode(kept).decode(), at=unit.at)
