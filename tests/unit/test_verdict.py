"""What becomes of a row after a try: every outcome, both ceilings, and the exact next time."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.instants import later, seconds
from holdfast.core.propagation.kinds import Kind
from holdfast.core.propagation.outcome import Cancel, Done, Retry, Wait
from holdfast.core.propagation.schedule import SCHEDULES, STANDARD, UNKNOWN, Schedule
from holdfast.core.propagation.verdict import (
    CRASHED,
    FAILED,
    MAX_ATTEMPTS,
    MAX_STARTS,
    STOPPED,
    UNKNOWN_KIND,
    Counts,
    Failure,
    Verdict,
    after_crash,
    after_try,
    cut_off,
    unknown,
)

NOW = "2026-01-02T03:04:05.000000Z"


class Note(msgspec.Struct):
    """Nothing."""


def kind(schedule: Schedule = STANDARD, **declared: Any) -> Kind[Note]:
    return Kind(name="test.note", doc="A note.", payload=Note, schedule=schedule, **declared)


def test_done_and_cancel_are_over_and_keep_the_counts() -> None:
    done = after_try(kind(), Counts(3, 2), Done(), NOW, 0.5)
    assert done == Verdict("done", 3, 1)
    cancelled = after_try(kind(), Counts(3, 2), Cancel("no longer"), NOW, 0.5)
    assert cancelled == Verdict("cancelled", 3, 1, "no longer")
    assert (done.over, cancelled.over) == (True, True)


def test_waiting_is_nobodys_failure() -> None:
    waits = after_try(kind(), Counts(10, 1), Wait("the window", 90), NOW, 0.5)
    assert waits == Verdict("waiting", 10, 0, "the window", None, "2026-01-02T03:05:35.000000Z")
    assert not waits.over


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.name)
@pytest.mark.parametrize("came_to", [Failure("boom"), Retry(why="boom")], ids=["failure", "retry"])
@pytest.mark.guards(
    "A row is dead at the ceiling of its kind exactly: the failure before it is tried again, with the last delay.",
    against="A last step of the schedule that is never reached, or a row that is buried one try too early or late.",
    breaks=("verdict-dies-a-failure-early", "verdict-dies-a-failure-late"),
)
def test_every_failure_is_tried_again_until_the_ceiling(schedule: Schedule, came_to: Failure | Retry) -> None:
    for most in range(1, schedule.most_attempts + 1):
        of = kind(schedule, max_attempts=most)
        for failures in range(1, most):
            again = after_try(of, Counts(failures - 1, 1), came_to, NOW, 0.5)
            due = later(NOW, seconds(schedule.delays[failures - 1]))
            assert again == Verdict("pending", failures, 0, FAILED, "boom", due)
        assert after_try(of, Counts(most - 1, 1), came_to, NOW, 0.5) == Verdict("dead", most, 0, MAX_ATTEMPTS, "boom")


@given(st.floats(0, 100_000), st.integers(0, 9), st.floats(0, 1), st.booleans())
def test_a_wait_that_was_asked_for_is_exact_whatever_schedule_and_jitter_say(
    after: float, failures: int, spread: float, jitter: bool
) -> None:
    again = after_try(kind(jitter=jitter), Counts(failures, 1), Retry(after), NOW, spread)
    assert again.next_attempt_at == later(NOW, seconds(after))
    assert (again.state, again.attempts) == ("pending", failures + 1)


def test_a_retry_without_a_word_has_no_error() -> None:
    assert after_try(kind(), Counts(0, 1), Retry(), NOW, 0.5).error is None


@given(st.integers(1, 10), st.floats(0, 1))
def test_only_kinds_that_ask_for_jitter_get_it(failures: int, spread: float) -> None:
    def next_at(**declared: Any) -> str | None:
        return after_try(kind(**declared), Counts(failures - 1, 1), Retry(), NOW, spread).next_attempt_at

    assert next_at() == later(NOW, STANDARD.delay(failures))
    assert next_at(jitter=True) == later(NOW, STANDARD.delay(failures, spread))


def test_a_start_without_an_outcome_is_made_again_at_once_then_waits_as_a_failure_does() -> None:
    assert after_crash(kind(), Counts(0, 1), NOW, 0.5) == Verdict("pending", 0, 1, CRASHED, None, NOW)
    assert after_crash(kind(), Counts(9, 1), NOW, 0.5).next_attempt_at == NOW
    assert after_crash(kind(), Counts(0, 2), NOW, 0.5).next_attempt_at == later(NOW, STANDARD.delay(1))
    assert after_crash(kind(), Counts(2, 2), NOW, 0.5).next_attempt_at == later(NOW, STANDARD.delay(3))
    assert after_crash(kind(), Counts(9, 4), NOW, 0.5).next_attempt_at == later(NOW, seconds(86_400))


def test_a_row_that_is_cut_off_by_a_stop_is_due_at_once_and_has_not_been_started() -> None:
    assert cut_off(Counts(3, 2), NOW) == Verdict("pending", 3, 1, STOPPED, None, NOW)


@given(st.integers(0, 10), st.integers(2, 9))
def test_a_row_that_kills_is_dead_at_its_ceiling_of_starts_exactly(attempts: int, most: int) -> None:
    of = kind(max_starts=most)
    for starts in range(1, most):
        again = after_crash(of, Counts(attempts, starts), NOW, 0.5)
        assert (again.state, again.attempts, again.starts) == ("pending", attempts, starts)
    assert after_crash(of, Counts(attempts, most), NOW, 0.5) == Verdict("dead", attempts, most, MAX_STARTS)


def test_a_kind_that_nobody_knows_has_a_bound_of_its_own() -> None:
    for looks in range(1, UNKNOWN.most_attempts):
        put_off = unknown(Counts(10, 1), looks, NOW)
        assert put_off == Verdict("pending", 10, 1, UNKNOWN_KIND, None, later(NOW, UNKNOWN.delay(looks)))
    assert unknown(Counts(10, 0), UNKNOWN.most_attempts, NOW) == Verdict("dead", 10, 0, UNKNOWN_KIND)


@pytest.mark.parametrize("after", [-1, -0.001, float("nan"), float("inf"), 367 * 86_400])
def test_a_wait_that_is_none_is_refused(after: float) -> None:
    for make in (lambda: Retry(after), lambda: Wait("x", after)):
        with pytest.raises(ValueError, match="is no time to wait"):
            make()
