"""What people are told of sessions and pulls, on both engines: once, until it is over, and what is too much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from holdfast.core.store.sql import query
from holdfast.fleet.messages import rows as messages
from holdfast.fleet.pulls.facts import Observation
from holdfast.fleet.reactions import door as reactions
from holdfast.fleet.sessions import door as sessions
from holdfast.fleet.sessions.facts import Killed, Probe, Reading
from manual_clock import ManualClock
from messaging import ACT, PACKS, PROJECT, SESSION
from reacting import NUDGES, TOLD, Place, check, comment, seen

if TYPE_CHECKING:
    from conftest import StoreMaker
    from holdfast.core.store.port import Unit

KEYS = query("keys", sqlite="SELECT key FROM propagations WHERE kind LIKE 'reaction.%'")


async def begun(make_store: StoreMaker, clock: ManualClock, name: str = "command") -> Place:
    place = Place(await make_store(packs=PACKS, clock=clock), clock)
    await place.begin(name)
    return place


@pytest.fixture
async def place(make_store: StoreMaker, clock: ManualClock) -> Place:
    return await begun(make_store, clock)


def green(commit: str = "c1", **more: Any) -> Any:
    return seen(check("unit", "passed", commit), head=commit, **more)


# --- pulls -----------------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "Approved with checks pending is silence; then green is one notice; then a failing commit resolves it, and green "
    "of the same commit again opens it without telling anybody twice.",
    against="'Approved and green' fires while CI is still pending, or stands there after it broke.",
    breaks=("reaction-green-while-pending", "reaction-notices-stay"),
)
async def test_approved_and_green_is_told_when_it_is_so_and_is_over_when_it_is_not(place: Place) -> None:
    await place.see(seen(check(state="running"), review="approved"))
    await place.settle()
    assert await place.notices() == []
    await place.see(green(review="approved"), 20)
    await place.settle()
    assert await place.notices() == [("approved-and-green", True)]
    (row,) = await place.rows(TOLD)
    assert "holdfast pulls merge app.1" in row["text"]
    assert "it is approved" in row["text"]
    await place.see(seen(check(commit="c2"), head="c2", review="approved"))
    await place.settle()
    assert await place.notices() == [("approved-and-green", False)]
    await place.see(green(review="approved"))
    await place.settle()
    assert await place.notices() == [("approved-and-green", True)]
    await place.see(green("c3", review="approved"))
    await place.settle()
    assert await place.notices() == [("approved-and-green", False), ("approved-and-green", True)]


@pytest.mark.parametrize(
    "unfit",
    [
        {"stage": "draft"},
        {"review": "required"},
        {"review": "changes_requested"},
        {"fit": "conflict", "conflicts": ("a",)},
        {"state": "closed"},
        {"expected": ("unit", "lint")},
    ],
)
async def test_what_is_not_ready_is_not_called_so(place: Place, unfit: dict[str, Any]) -> None:
    await place.see(green(**unfit))
    await place.settle()
    assert await place.notices("approved-and-green") == []


async def test_a_pull_without_checks_says_so(place: Place) -> None:
    await place.see(seen(expected=()))
    await place.settle()
    (row,) = await place.rows(TOLD)
    assert row["kind"] == "approved-and-green"
    assert "no checks are configured" in row["text"]


async def test_whether_there_are_checks_must_be_known(place: Place) -> None:
    await place.see(seen(expected=None))
    await place.settle()
    assert await place.notices() == []


async def test_nobody_is_asked_for_a_merge_that_comes_by_itself(place: Place) -> None:
    await place.set(merge_by="policy")
    await place.see(green())
    await place.settle()
    assert await place.notices() == []


async def test_a_closed_pull_is_no_merged_one_and_reopening_it_is_the_end_of_that(place: Place) -> None:
    await place.see(green(state="closed"), 3)
    await place.settle()
    assert await place.notices() == [("pr-closed", True)]
    await place.see(green(stage="draft"))
    await place.settle()
    assert await place.notices() == [("pr-closed", False)]
    await place.see(green(state="merged", merge_commit="m1"), 3)
    await place.settle()
    assert await place.notices() == [("pr-closed", False), ("pr-merged", True)]


async def test_a_failed_fetch_tells_nothing(place: Place) -> None:
    await place.see(green())
    await place.settle()
    before = await place.rows(TOLD)
    await place.see(Observation(pull="app.1", fetched=False))
    await place.settle()
    assert await place.rows(TOLD) == before


@pytest.mark.guards(
    "What goes beyond its cap is told to a person once, and not at all after that.",
    against="A pull that is commented on all day fills the agent's prompt; or it falls silent and nobody knows.",
    breaks=("reaction-spends-in-silence",),
)
async def test_what_is_beyond_its_cap_is_told_once(place: Place) -> None:
    await place.set(review_comments={"cap": 2})
    said: tuple[Any, ...] = ()
    for number in range(5):
        said = (*said, comment(f"r{number}", f"point {number}"))
        await place.see(seen(comments=said))
        await place.settle()
        await place.deliver()
    assert len(await place.messages()) == 2
    assert await place.notices() == [("budget-spent", True)]
    await place.see(seen(comments=tuple(each for each in said[:2])))
    await place.settle()
    assert await place.notices() == [("budget-spent", False)]


# --- sessions --------------------------------------------------------------------------------------------------


async def silent(place: Place, looks: int) -> None:
    """Look at a session that nothing can be told of."""
    for _ in range(looks):
        place.boot += 10 * 10**9
        place.clock.advance(10)
        no = Reading("failed")
        probe = Probe(1, place.clock.stamp(), place.boot, {"runtime": no, "pane": no, "process": no})

        def look(unit: Unit, probe: Probe = probe) -> None:
            sessions.observe(unit, SESSION, probe)
            reactions.react(unit, SESSION)

        await place.store.unit(ACT, look)
        await place.settle()


@pytest.mark.guards(
    "An episode of doubt is told of once, however long it is looked at, and is over when the agent is heard.",
    against="Twelve failed probes give four urgent pages.",
    breaks=("reaction-pages-at-every-look",),
)
async def test_agent_stuck_is_told_once_an_episode(place: Place) -> None:
    place.boot = 10**12
    await place.hear("working")
    await silent(place, 12)
    assert await place.notices() == [("agent-stuck", True)]
    (row,) = await place.rows(TOLD)
    assert f"holdfast explain {SESSION}" in row["text"]
    await place.hear("working")
    assert await place.notices() == [("agent-stuck", False)]
    await silent(place, 12)
    assert await place.notices() == [("agent-stuck", True)]


async def test_agent_needs_input_is_told_and_is_over_when_it_goes_on(place: Place) -> None:
    await place.hear("waiting_input")
    await place.hear("blocked")
    await place.settle()
    assert await place.notices() == [("agent-needs-input", True)]
    await place.hear("working")
    assert await place.notices() == [("agent-needs-input", False)]
    place.clock.advance(5)
    await place.hear("blocked")
    await place.settle()
    assert await place.notices() == [("agent-needs-input", False), ("agent-needs-input", True)]
    assert "asks for a permission" in (await place.rows(TOLD))[1]["text"]


async def test_agent_exited_is_told_of_what_ended_by_itself(place: Place) -> None:
    await place.end(exit_status=3)
    await place.settle()
    assert await place.notices() == [("agent-exited", True)]
    assert "exit status 3" in (await place.rows(TOLD))[0]["text"]


@pytest.mark.parametrize(
    "ending",
    [
        Killed(1, "manually_killed"),
        Killed(1, "pr_merged"),
        Probe(1, "", 2_000, {"runtime": Reading("dead")}, rebooted=True),
        Probe(1, "", 2_000, {"runtime": Reading("dead"), "process": Reading("dead")}),
    ],
)
async def test_what_a_person_ended_or_an_outage_that_is_told_as_one_is_no_exit(place: Place, ending: Any) -> None:
    await place.store.unit(ACT, lambda unit: sessions.observe(unit, SESSION, ending))
    await place.settle()
    assert await place.notices() == []


async def test_no_signal_is_told_ninety_seconds_after_a_launch_that_was_not_heard_of(
    make_store: StoreMaker, clock: ManualClock
) -> None:
    place = await begun(make_store, clock, "claude-code")
    clock.advance(89)
    await place.settle()
    assert await place.notices() == []
    clock.advance(2)
    await place.settle()
    assert await place.notices() == [("no-signal", True)]
    await place.hear("idle")
    assert await place.notices() == [("no-signal", False)]


async def test_no_signal_is_not_owed_any_more_when_the_agent_is_heard(
    make_store: StoreMaker, clock: ManualClock
) -> None:
    place = await begun(make_store, clock, "claude-code")
    await place.hear("idle")
    (row,) = [row for row in await place.rows(NUDGES) if row["reaction"] == "no-signal"]
    assert row["state"] == "suppressed"
    clock.advance(200)
    assert not await place.owed()


async def test_delivery_unknown_is_told_and_is_over_when_it_is_known(place: Place) -> None:
    def unknown(unit: Unit) -> int:
        number = messages.add(unit, SESSION, PROJECT, kind="message", text="did you get this", by="token:test")
        messages.move(unit, number, "queued", "typed", None)
        messages.move(unit, number, "typed", "unknown", "nobody knows")
        return number

    number = await place.store.unit(ACT, unknown)
    await place.settle()
    assert await place.notices() == [("delivery-unknown", True)]
    (row,) = await place.rows(TOLD)
    assert "did you get this" in row["text"]
    assert "nobody knows" in row["text"]
    await place.store.unit(ACT, lambda unit: messages.move(unit, number, "unknown", "confirmed", "late"))
    assert await place.notices() == [("delivery-unknown", False)]


async def test_a_message_that_its_agent_never_takes_is_tried_thrice_and_escalated(place: Place) -> None:
    await place.see(seen(check()))
    for _ in range(6):
        await place.settle()
        found = [row for row in await place.rows(NUDGES) if row["message_state"] == "queued"]

        def fails(unit: Unit, found: list[Any] = found) -> None:
            for row in found:
                messages.move(unit, row["message"], "queued", "failed", "it cannot be typed")

        await place.store.unit(ACT, fails)
    assert len(await place.messages()) == 3
    assert await place.notices() == [("escalated", True)]


async def test_every_nudge_that_is_owed_has_its_effect(place: Place) -> None:
    """Whatever the facts do, nothing is owed that nobody is about to tell."""
    for observation in (seen(check()), green(), seen(check(runs=2)), seen(fit="conflict", conflicts=("a",)), green()):
        await place.see(observation)
        owed = [row for row in await place.rows(NUDGES) if row["state"] == "owed"]
        live = {row["key"] for row in await place.rows(KEYS)}
        assert {f"{row['id']}:{row['rounds']}" for row in owed} <= live
