"""What a kind declares is checked when it is made, with the numbers in the error; a registry names what it lacks."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from holdfast.core.propagation.job import Job
from holdfast.core.propagation.kinds import DRAIN_SECONDS, RESCUE_SECONDS, STOP_SECONDS, Kind, Registry, Timeouts
from holdfast.core.propagation.outcome import Done, Outcome
from holdfast.core.propagation.schedule import INTERACTIVE, STANDARD

NAMES = [field.name for field in fields(Timeouts)]


class Note(msgspec.Struct):
    """Nothing."""


def kind(name: str = "test.note", **declared: Any) -> Kind[Note]:
    return Kind(**{"name": name, "doc": "A note.", "payload": Note, "schedule": STANDARD, **declared})


async def handler(job: Job[Note]) -> Outcome:
    return Done()


def test_the_timeouts_grow_from_a_call_to_the_stop_of_the_daemon() -> None:
    assert NAMES == ["call", "item", "lease", "rescue", "drain", "stop"]
    usual = [getattr(Timeouts(), name) for name in NAMES]
    assert usual == sorted(set(usual))
    assert usual[3:] == [RESCUE_SECONDS, DRAIN_SECONDS, STOP_SECONDS]


@pytest.mark.parametrize("at", range(len(NAMES) - 1), ids=NAMES[:-1])
@pytest.mark.parametrize("off", [0, 1])
@pytest.mark.guards(
    "Timeouts that do not grow from the inner to the outer are refused when they are declared, with their numbers.",
    against="A drain shorter than what it waits for: nothing ever finishes.",
    breaks=("kinds-take-any-timeouts",),
)
def test_timeouts_out_of_order_are_refused_with_their_numbers(at: int, off: int) -> None:
    usual = {name: 10.0 * (n + 1) for n, name in enumerate(NAMES)}
    inner, outer = NAMES[at], NAMES[at + 1]
    usual[inner] = usual[outer] + off
    with pytest.raises(ValueError, match="timeouts must grow") as caught:
        Timeouts(**usual)
    told = str(caught.value)
    assert f"{inner} ({usual[inner]:g} s) is not below {outer} ({usual[outer]:g} s)" in told
    assert all(f"{name} {seconds:g} s" in told for name, seconds in usual.items())


@pytest.mark.parametrize("call", [0, -1, float("nan")])
def test_no_time_at_all_is_refused(call: float) -> None:
    with pytest.raises(ValueError, match="timeouts must grow, call"):
        Timeouts(call=call)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no domain": ({"name": "note"}, "its name is not <domain>.<effect>"),
    "capitals": ({"name": "test.Note"}, "its name is not <domain>.<effect>"),
    "line feed": ({"name": "test.note\n"}, "its name is not <domain>.<effect>"),
    "no doc": ({"doc": " "}, "it has no doc line"),
    "no room": ({"max_attempts": 12}, "12 attempts do not fit the schedule 'standard', which has room for 1 to 11"),
    "no attempt": ({"max_attempts": -1}, "-1 attempts do not fit"),
    "one start": ({"max_starts": 1}, "max_starts is 1 and must be 2 at least"),
    "no room at all": ({"concurrency": 0}, "concurrency and batch must be 1 at least"),
    "empty batches": ({"batch": 0}, "concurrency and batch must be 1 at least"),
    "lanes in batches": ({"batch": 2, "lane": lambda note: "a"}, "in order cannot be done in batches"),
    "two lanes": ({"unique": "pending", "lane": lambda note: "a"}, "it cannot have others"),
    "keys in batches": ({"batch": 2, "unique": "pending"}, "in order cannot be done in batches"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_kind_that_could_not_be_kept_is_refused_by_its_name(case: str) -> None:
    declared, message = WRONG[case]
    with pytest.raises(ValueError, match=message) as caught:
        kind(**declared)
    assert str(caught.value).startswith(f"the kind {declared.get('name', 'test.note')!r}: ")


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"no doc line; 99 attempts do not fit .*; max_starts is 0"):
        kind(doc="", max_attempts=99, max_starts=0)


def test_a_kind_has_as_many_attempts_as_its_schedule_unless_told() -> None:
    assert (kind().max_attempts, kind().horizon) == (11, timedelta(hours=55, minutes=51))
    assert kind(schedule=INTERACTIVE).max_attempts == 6
    few = kind(max_attempts=3)
    assert (few.max_attempts, few.horizon) == (3, timedelta(minutes=6))


def test_rows_have_lanes_by_a_rule_or_by_keys_that_are_unique_while_pending() -> None:
    assert not kind().ordered
    assert not kind(unique="forever").ordered
    assert kind(unique="pending").ordered
    assert kind(lane=lambda note: "a").ordered


def test_the_registry_names_what_is_missing_twice_or_stray() -> None:
    one, two = kind("test.one"), kind("test.two")
    whole = Registry([one, two], {one: handler, two: handler})
    whole.require_whole()
    assert whole.served() == [one, two]
    partial = Registry([one, two], {two: handler})
    assert (partial.lacking, partial.served()) == (["test.one"], [two])
    with pytest.raises(ValueError, match=r"kinds without a handler: test\.one$"):
        partial.require_whole()
    with pytest.raises(ValueError, match=r"the kind 'test\.one' is registered twice"):
        Registry([one, two, kind("test.one")])
    with pytest.raises(ValueError, match=r"handlers of kinds that no pack registers: test\.two$"):
        Registry([one], {one: handler, two: handler})
