"""Windows of recurring work under any history of the clock: once each, no storm, no stall."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.core.propagation.recurring import APART_SECONDS, REMEMBERED, ahead, next_window, remembered

INTERVALS = st.sampled_from([1, 7, 60, 300, 3_600, 7_200, 21_600, 86_400]) | st.integers(1, 200_000)
DAY = 86_400.0


def spans(least: float, most: float) -> st.SearchStrategy[float]:
    """Seconds, in eighths: sums of them are exact."""
    return st.integers(int(least * 8), int(most * 8)).map(lambda eighths: eighths / 8)


MOMENTS = spans(0, 4e9)


@dataclass
class Row:
    """What the store keeps of one recurring work, and what was owed for it."""

    interval: int
    ran: list[int] = field(default_factory=list)
    owed: list[int] = field(default_factory=list)

    def look(self, now: float) -> bool:
        """One process looks by its clock."""
        window, _ = next_window(self.ran, now, self.interval)
        self.ran = remembered(self.ran, now, self.interval, window)
        if window is not None:
            self.owed.append(window)
        return window is not None


@given(interval=INTERVALS, now=MOMENTS, ran=st.lists(st.integers(0, 10), max_size=3))
def test_the_window_is_the_one_of_now_and_the_next_one_is_still_to_come(
    interval: int, now: float, ran: list[int]
) -> None:
    window, left = next_window([], now, interval)
    assert window == math.floor(now / interval)
    assert 0 < left <= interval
    assert next_window([*ran, window], now, interval) == (None, left)


@pytest.mark.guards(
    "Recurring work runs once in every window in which anybody looks, however often they do.",
    against="A timer in memory: each restart and each process runs the work once more.",
    breaks=("recurring-windows-run-again",),
)
@given(interval=INTERVALS, start=MOMENTS, steps=st.lists(st.floats(0, 3), max_size=60))
def test_every_window_that_is_looked_into_runs_once(interval: int, start: float, steps: list[float]) -> None:
    row, now, seen = Row(interval), start, set()
    for step in [0.0, *steps]:
        now += step * interval
        row.look(now)
        seen.add(math.floor(now / interval))
    assert Counter(row.owed) == Counter(seen)
    assert len(row.ran) <= REMEMBERED


@given(
    interval=INTERVALS,
    start=MOMENTS,
    apart=st.floats(0, 1),
    steps=st.lists(st.tuples(st.floats(0, 0.5), st.booleans()), max_size=80),
)
def test_two_processes_whose_clocks_differ_never_run_a_window_twice(
    interval: int, start: float, apart: float, steps: list[tuple[float, bool]]
) -> None:
    row, now = Row(interval), start
    fast = apart * ahead(interval) * interval * 0.99
    for step, by_the_fast_one in steps:
        now += step * interval
        row.look(now + fast if by_the_fast_one else now)
    assert max(Counter(row.owed).values(), default=0) <= 1


@pytest.mark.guards(
    "A clock that is put back does not keep recurring work from running.",
    against="Work that waits until the clock is again where it was: for a day, or for a year.",
    breaks=("recurring-stalls-when-put-back",),
)
@given(interval=INTERVALS, start=spans(1e9, 4e9), back=spans(0, 400 * DAY), before=st.integers(0, 40))
@example(interval=7_200, start=1.7e9, back=DAY, before=40)
@example(interval=86_400, start=1.7e9, back=30 * DAY, before=40)
@example(interval=60, start=1.7e9, back=900.0, before=40)
def test_a_clock_put_back_neither_stalls_nor_storms(interval: int, start: float, back: float, before: int) -> None:
    row = Row(interval)
    for number in range(before):
        row.look(start + number * interval)
    now = start + before * interval - back
    begun = len(row.owed)
    ran: list[int] = []
    for number in range(2 * REMEMBERED):
        ran += [number for _ in range(2) if row.look(now + number * interval)]  # the second look changes nothing
    assert len(ran) == len(set(ran)) == len(row.owed) - begun
    missed = ahead(interval) + 1  # what ran so little ahead of now may have been run by another process
    assert missed * interval <= max(2 * interval, APART_SECONDS + interval)
    assert set(range(missed, 2 * REMEMBERED)) <= set(ran), "after that, it goes on in every window"


@given(interval=INTERVALS, start=MOMENTS, forward=spans(0, 400 * DAY))
def test_a_clock_put_forward_runs_one_window_and_makes_up_for_none(interval: int, start: float, forward: float) -> None:
    row = Row(interval)
    row.look(start)
    for _ in range(5):
        row.look(start + forward)
    assert row.owed == sorted({math.floor(start / interval), math.floor((start + forward) / interval)})
