"""What is asked of the store and when: room, looks, back-off, suspects, conditions, what is held."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from holdfast.core.propagation.claims import Due
from holdfast.core.propagation.kinds import Kind
from holdfast.core.propagation.plan import Answer, Ask, Plan
from holdfast.core.propagation.schedule import STANDARD

NOW = "2026-01-02T03:04:05.000000Z"
SOON = "2026-01-02T03:04:15.000000Z"
LATER = "2026-01-02T03:05:05.000000Z"


class Note(msgspec.Struct):
    """Nothing."""


def kind(name: str = "test.note", **declared: Any) -> Kind[Note]:
    return Kind(**{"name": name, "doc": "A note.", "payload": Note, "schedule": STANDARD, "concurrency": 2, **declared})


ONE, TWO = kind("test.one"), kind("test.two")
NOTHING = Due(None, None)


def answer(
    ask: Ask, *, fresh: int = 0, suspects: int = 0, due: Due | None = NOTHING, blocked: str | None = None
) -> Answer:
    return Answer(ask, fresh, suspects, due if ask.look else None, blocked)


def asked(plan: Plan, now: str = NOW, steady: float = 0.0) -> dict[str, Ask]:
    return {ask.kind.name: ask for ask in plan.asks(now, steady)}


def settle(plan: Plan, *, due: Due = NOTHING, now: str = NOW, steady: float = 0.0) -> None:
    """Until the plan asks no more: nothing is there to be claimed."""
    for _ in range(5):
        asks = plan.asks(now, steady)
        plan.answered([answer(ask, due=due) for ask in asks], now, steady)


def test_a_plan_begins_by_looking_and_then_leaves_the_store_alone() -> None:
    plan = Plan([ONE, TWO])
    assert plan.pause(NOW, 0) == 0
    first = asked(plan)
    assert {name: (ask.limit, ask.look, ask.suspect) for name, ask in first.items()} == {
        "test.one": (2, True, True),
        "test.two": (2, True, True),
    }
    plan.answered([answer(ask) for ask in first.values()], NOW, 0)
    assert asked(plan) == {}
    assert plan.pause(NOW, 0) is None
    plan.woken()
    assert set(asked(plan)) == {"test.one", "test.two"}


def test_it_asks_again_when_the_earliest_row_is_due() -> None:
    plan = Plan([ONE, TWO])
    asks = asked(plan)
    plan.answered(
        [answer(asks["test.one"], due=Due(SOON, LATER)), answer(asks["test.two"], due=Due(LATER, None))], NOW, 0
    )
    assert plan.pause(NOW, 0) == 10
    assert asked(plan) == {}
    assert set(asked(plan, SOON, 10)) == {"test.one"}


def test_room_is_what_is_not_under_way_in_whole_batches() -> None:
    batch = kind("test.batch", concurrency=3, batch=5)
    plan = Plan([batch])
    assert asked(plan)["test.batch"].limit == 15
    plan.started(batch, suspect=False)
    plan.woken()
    assert asked(plan)["test.batch"].limit == 10
    plan.started(batch, suspect=False)
    plan.started(batch, suspect=False)
    plan.woken()
    assert asked(plan) == {}
    assert plan.pause(NOW, 0) is None  # an end will wake it
    plan.ended(batch, suspect=False)
    assert asked(plan)["test.batch"].limit == 5


@pytest.mark.guards(
    "What has come to an end is looked for again: it may have been put back, due soon.",
    against="A retry that nobody remembers, until something else wakes the runner.",
    breaks=("plan-forgets-what-was-put-back",),
)
def test_the_end_of_a_row_makes_it_look_for_what_was_put_back() -> None:
    plan = Plan([ONE, TWO])
    asks = asked(plan)
    plan.answered([answer(asks["test.one"], fresh=1), answer(asks["test.two"], due=Due(LATER, None))], NOW, 0)
    plan.started(ONE, suspect=False)
    settle(plan)  # looked while the row was under way: nothing was to be seen of it
    assert asked(plan) == {}
    plan.ended(ONE, suspect=False)
    again = asked(plan)
    assert set(again) == {"test.one"}
    assert again["test.one"].look


def test_while_claims_come_back_full_it_looks_only_now_and_then() -> None:
    plan = Plan([ONE])
    looks = []
    for _ in range(64):
        (ask,) = plan.asks(NOW, 0)
        looks.append(ask.look)
        plan.answered([answer(ask, fresh=2, due=Due(NOW, None))], NOW, 0)
        for _ in range(2):
            plan.started(ONE, suspect=False)
        for _ in range(2):
            plan.ended(ONE, suspect=False)
    assert looks[0]
    assert 2 <= sum(looks) <= 6  # seldom, but its suspects do not starve


def test_a_claim_that_comes_back_short_is_followed_by_a_look() -> None:
    plan = Plan([ONE])
    (ask,) = plan.asks(NOW, 0)
    plan.answered([answer(ask, fresh=2)], NOW, 0)
    (ask,) = plan.asks(NOW, 0)
    assert not ask.look
    plan.answered([answer(ask, fresh=1)], NOW, 0)
    (ask,) = plan.asks(NOW, 0)
    assert ask.look


def test_rows_that_somebody_else_holds_are_left_alone_for_longer_and_longer_up_to_a_bound() -> None:
    plan = Plan([ONE])
    steady, waits = 0.0, []
    for _ in range(12):
        (ask,) = plan.asks(NOW, steady)
        plan.answered([answer(ask, due=Due(NOW, None))], NOW, steady)
        assert plan.asks(NOW, steady) == []
        waits.append(round(plan.pause(NOW, steady) or 0, 6))
        steady += waits[-1]
    assert waits[0] == pytest.approx(0.001)
    assert waits == sorted(waits)
    assert waits[-1] == waits[-2] == pytest.approx(0.25)
    (ask,) = plan.asks(NOW, steady)
    plan.answered([answer(ask, fresh=1)], NOW, steady)
    (ask,) = plan.asks(NOW, steady)
    plan.answered([answer(ask, due=Due(NOW, None))], NOW, steady)
    assert plan.pause(NOW, steady) == pytest.approx(0.001)  # a claim began it anew


@pytest.mark.guards(
    "A wake-up ends the back-off: what has just been committed is asked for at once.",
    against="A new row waits for a quarter of a second because another one was locked.",
    breaks=("plan-stays-quiet-when-woken",),
)
def test_a_wake_up_ends_the_back_off() -> None:
    plan = Plan([ONE])
    for steady in (0, 1, 2, 3, 4, 5):
        (ask,) = plan.asks(NOW, steady)
        plan.answered([answer(ask, due=Due(NOW, None))], NOW, steady)
    assert plan.asks(NOW, 5) == []
    plan.woken()
    assert plan.pause(NOW, 5) == 0
    assert len(plan.asks(NOW, 5)) == 1


def test_one_suspect_is_under_way_at_a_time_whatever_its_kind() -> None:
    plan = Plan([ONE, TWO])
    asks = asked(plan)
    plan.answered([answer(asks["test.one"], suspects=1), answer(asks["test.two"], due=Due(None, LATER))], NOW, 0)
    plan.started(ONE, suspect=True)
    plan.woken()
    assert [ask.suspect for ask in plan.asks(NOW, 0)] == [False, False]
    plan.woken()
    plan.answered([answer(ask, due=Due(None, SOON)) for ask in plan.asks(NOW, 0)], NOW, 0)
    assert plan.pause(NOW, 0) is None
    assert asked(plan, LATER, 60) == {}  # its time has come, its turn has not
    plan.ended(ONE, suspect=True)
    again = asked(plan, LATER, 60)
    assert {name: ask.suspect for name, ask in again.items()} == {"test.one": True, "test.two": True}


def test_a_kind_whose_condition_is_not_met_says_why_and_is_looked_at_again() -> None:
    plan = Plan([ONE, TWO])
    asks = asked(plan)
    plan.answered([answer(asks["test.one"], blocked="the moon"), answer(asks["test.two"])], NOW, 0)
    assert dict(plan.blocked) == {"test.one": "the moon"}
    assert asked(plan) == {}
    assert plan.pause(NOW, 0) == 5
    again = asked(plan, NOW, 5)
    assert set(again) == {"test.one"}
    plan.answered([answer(again["test.one"])], NOW, 5)
    assert dict(plan.blocked) == {}
    assert plan.pause(NOW, 5) is None


def test_what_is_held_is_not_asked_for_until_it_is_released() -> None:
    upkeep = kind("test.upkeep", held_after_restore=False)
    plan = Plan([ONE, upkeep])
    plan.held = True
    assert set(asked(plan)) == {"test.upkeep"}
    plan.held = False
    assert set(asked(plan)) == {"test.one"}


def test_a_store_that_did_not_answer_is_asked_again() -> None:
    plan = Plan([ONE])
    asks = plan.asks(NOW, 0)
    assert plan.asks(NOW, 0) == []
    plan.unanswered(asks)
    assert plan.asks(NOW, 0) == asks


@pytest.mark.parametrize("came", [{"due": NOTHING}, {"due": Due(NOW, None)}, {"blocked": "the moon"}, {"fresh": 1}])
@pytest.mark.guards(
    "What wakes it while the store is asked is asked for at once, whatever the store answered.",
    against="A wake-up that arrives during the fetch is lost.",
    breaks=("plan-stays-quiet-when-woken-meanwhile",),
)
def test_what_wakes_it_while_the_store_is_asked_is_asked_for_the_next_time(came: dict[str, Any]) -> None:
    plan = Plan([ONE])
    (ask,) = plan.asks(NOW, 0)
    plan.woken()
    plan.answered([answer(ask, **came)], NOW, 0)
    (again,) = plan.asks(NOW, 0)
    assert again.look
