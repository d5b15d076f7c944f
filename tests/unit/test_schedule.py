"""The tables of delays: what they add up to, what they have room for, and what they refuse."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.instants import later, parse_stamp
from holdfast.core.propagation.schedule import INTERACTIVE, PATIENT, SCHEDULES, STANDARD, UNKNOWN, Schedule

MINUTE, HOUR, DAY = 60, 3_600, 86_400
#: As they are documented.
DOCUMENTED = {
    "interactive": (0.2, 1, 2, 5, 15),
    "standard": (
        MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, 16 * HOUR, 24 * HOUR,
    ),
    "patient": (5 * MINUTE, 30 * MINUTE, 2 * HOUR, 6 * HOUR, 12 * HOUR, DAY, DAY, DAY, DAY, DAY, DAY, DAY),
    "unknown": (MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, 24 * HOUR),
}  # fmt: skip
HORIZONS = {
    "interactive": timedelta(seconds=23.2),
    "standard": timedelta(hours=55, minutes=51),
    "patient": timedelta(days=7, hours=20, minutes=35),
    "unknown": timedelta(hours=31, minutes=11),
}


def test_every_schedule_is_the_documented_one() -> None:
    assert {schedule.name: schedule.delays for schedule in SCHEDULES} == DOCUMENTED
    assert all(schedule.doc for schedule in SCHEDULES)


@pytest.mark.guards(
    "The horizon of a schedule is the sum of its delays, and for the standard one 55 h 51 m.",
    against="A documented time until a row is dead that is not the real one.",
    breaks=("schedule-leaves-out-the-last-delay", "schedule-standard-is-shorter"),
)
def test_every_horizon_is_the_documented_one() -> None:
    assert {schedule.name: schedule.horizon() for schedule in SCHEDULES} == HORIZONS
    for schedule in SCHEDULES:
        assert schedule.horizon() == sum((timedelta(seconds=delay) for delay in schedule.delays), timedelta())
        assert schedule.horizon(schedule.most_attempts) == schedule.horizon()


def test_fewer_attempts_end_sooner() -> None:
    assert STANDARD.horizon(1) == timedelta()
    assert STANDARD.horizon(3) == timedelta(minutes=6)
    assert PATIENT.horizon(2) == timedelta(minutes=5)


def test_a_schedule_has_room_for_the_first_try_and_one_after_each_delay() -> None:
    assert STANDARD.most_attempts == 11
    assert {schedule.name: schedule.most_attempts for schedule in SCHEDULES} == {
        name: len(delays) + 1 for name, delays in DOCUMENTED.items()
    }


def test_every_position_has_its_delay_and_there_are_no_others() -> None:
    for schedule in SCHEDULES:
        positions = range(1, schedule.most_attempts)
        assert [schedule.delay(failures).total_seconds() for failures in positions] == list(DOCUMENTED[schedule.name])
        for failures in (0, schedule.most_attempts, -1):
            with pytest.raises(ValueError, match=f"{schedule.name}.*no delay after failure {failures}: it has"):
                schedule.delay(failures)


@given(st.sampled_from(SCHEDULES), st.floats(0, 1), st.data())
def test_jitter_takes_a_part_of_the_delay_and_never_adds_to_it(
    schedule: Schedule, spread: float, data: st.DataObject
) -> None:
    failures = data.draw(st.integers(1, len(schedule.delays)))
    whole = schedule.delay(failures)
    assert timedelta() <= schedule.delay(failures, spread) <= whole
    assert (schedule.delay(failures, 0), schedule.delay(failures, 1)) == (timedelta(), whole)


@pytest.mark.parametrize("delays", [(), (1, 0), (-1,), (1, float("nan")), (float("inf"),)])
def test_a_table_that_nobody_could_follow_is_refused_by_its_name(delays: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="the schedule 'odd' needs delays, each of them more than 0 s"):
        Schedule("odd", "Odd.", delays)


@given(st.floats(0, 366 * DAY))
def test_later_is_exact_to_the_microsecond(seconds: float) -> None:
    since = "2026-01-02T03:04:05.999999Z"
    wait = timedelta(seconds=seconds)
    assert parse_stamp(later(since, wait)) - parse_stamp(since) == wait


def test_the_names_are_told_apart() -> None:
    assert list(SCHEDULES) == [INTERACTIVE, STANDARD, PATIENT, UNKNOWN]
    assert len({schedule.name for schedule in SCHEDULES}) == len(SCHEDULES)
