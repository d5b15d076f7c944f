"""Reactions over a real store, on both engines: owed with the fact, told once, taken back, over, so again."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from holdfast.core import faults
from holdfast.core.errors import StoreFull
from holdfast.core.propagation import redrive
from holdfast.core.store.sql import query
from holdfast.fleet.pulls import door as pulls
from holdfast.fleet.reactions import door, handling
from holdfast.fleet.reactions.kinds import KINDS
from manual_clock import ManualClock
from messaging import ACT, PACKS, SESSION
from reacting import MESSAGES, NUDGES, TOLD, Place, check, comment, seen

if TYPE_CHECKING:
    from conftest import StoreMaker
    from holdfast.core.propagation.job import Job
    from holdfast.core.propagation.outcome import Outcome
    from holdfast.core.store.port import Unit
    from holdfast.fleet.pulls.facts import Observation

OWED = query("owed", sqlite="SELECT kind, state, attempts FROM propagations WHERE kind LIKE 'reaction.%' ORDER BY id")

KINDS_BY_NAME = {kind.name: kind for kind in KINDS.values()}
DEAD = query("dead", sqlite="SELECT id FROM propagations WHERE state = 'dead'")


@pytest.fixture
async def place(make_store: StoreMaker, clock: ManualClock) -> Place:
    place = Place(await make_store(packs=PACKS, clock=clock), clock)
    await place.begin()
    return place


# --- once ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 20, 200])
@pytest.mark.guards(
    "The same observation, taken as often as anybody likes and with the agent moving meanwhile, owes one nudge.",
    against="One failing commit polled twenty times gives twenty nudges.",
    breaks=("reaction-owes-what-was-told",),
)
async def test_the_same_observation_owes_one_nudge(place: Place, times: int) -> None:
    for number in range(times):
        await place.see(seen(check()))
        await place.settle()
        if number % 10 == 0:
            await place.deliver()
            await place.hear("working" if number % 20 else "idle")
    assert await place.nudges() == [("ci-failed", "sent")]
    assert len(await place.messages()) == 1


NOISE = (
    "\x1b[31mFAILED\x1b[0m tests/test_roof.py in {seconds:.2f}s\n",
    "2026-11-21T{hour:02d}:{minute:02d}:07.{micros:06d}Z worker {pid} began, pid={pid}\n",
    "  File '/tmp/tmp{micros:x}q/roof.py', line 12\n",
    "object at 0x{micros:012x} took {minute}m{pid}s, run #{pid}\n",
    "E assert leaks == 0\n",
)


def noisy(chance: random.Random) -> str:
    """The log of a failure, as no two runs of it write it."""
    told = {
        "seconds": chance.random() * 90,
        "hour": chance.randrange(24),
        "minute": chance.randrange(60),
        "micros": chance.randrange(10**6),
        "pid": chance.randrange(60),
    }
    return "".join(NOISE).format(**told)


@pytest.mark.parametrize("failing", [2, 5])
@pytest.mark.guards(
    "Over an hour of polls of a pull that fails, passes and fails again, with logs that differ in every run and with "
    "restarts, the agent is told of three failing commits of a check at most, and a person of the fourth, once.",
    against="A re-run of the same failure wakes the agent again; or the budget is forgotten by a restart, or never "
    "spent, and nobody is told that the agent does not get further.",
    breaks=("reaction-cap-is-one-more", "reaction-signs-noise", "reaction-escalates-each"),
)
async def test_an_hour_over_a_pull_that_swings_spends_the_budget_once(
    make_store: StoreMaker, clock: ManualClock, failing: int
) -> None:
    store = await make_store(packs=PACKS, clock=clock)
    at = make_store.place_of(store)
    place = Place(store, clock)
    await place.begin()
    chance = random.Random(failing)
    for minute in range(60):
        commit = f"c{1 + minute * failing // 60}"
        fails = minute % 3 != 2
        polls = [_poll(chance, commit, fails, run=1 + minute) for _ in range(60)]
        await place.store.unit(ACT, partial(_take, polls=polls))
        clock.advance(60)
        await place.settle()
        await place.deliver()
        if minute % 20 == 10:
            await place.store.close()
            place = Place(await make_store(at=at, packs=PACKS, clock=clock), clock)
    counts = Counter(reaction for reaction, _ in await place.nudges())
    assert counts["ci-failed"] == len(await place.messages()) == min(failing, 3)
    assert counts["escalated"] == len(await place.notices("escalated")) == (failing > 3)


def _poll(chance: random.Random, commit: str, fails: bool, run: int) -> Observation:
    state: Any = "failed" if fails else "passed"
    log = {"tail": noisy(chance), "step": "make test"} if fails else {}
    return seen(check(state=state, commit=commit, runs=run, **log), head=commit)


def _take(unit: Unit, polls: list[Observation]) -> None:
    for poll in polls:
        pulls.observe(unit, poll)


async def test_the_same_failure_of_another_commit_is_another_nudge_and_a_rerun_of_it_is_none(place: Place) -> None:
    for commit in ("c1", "c2"):
        for run in (1, 2, 3):
            await place.see(seen(check(commit=commit, runs=run, tail=f"broken after {run}.5s"), head=commit))
            await place.settle()
            await place.deliver()
            await place.see(seen(check(commit=commit, runs=run, state="running"), head=commit))
    assert await place.nudges() == [("ci-failed", "sent")] * 2


# --- sends that fail -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["reaction.started", "reaction.told"])
@pytest.mark.guards(
    "A send that fails is tried again, and is told and counted once.",
    against="A signature recorded before the send loses the nudge when the send fails.",
    breaks=("reaction-records-before-it-tells",),
)
async def test_a_send_that_fails_is_tried_again_and_counted_once(place: Place, point: str) -> None:
    await place.see(seen(check()))
    with faults.armed(point, faults.raising(RuntimeError("no"))):
        async with place.telling():
            await place.until(lambda reader: any(row["attempts"] == 1 for row in reader.all(OWED)))
            assert await place.messages() == []
            await place.passing(lambda reader: reader.all(MESSAGES))
    assert await place.nudges() == [("ci-failed", "sent")]
    assert len(await place.messages()) == 1


async def test_a_fact_that_does_not_commit_owes_nothing(place: Place) -> None:
    with faults.armed(door.OWED, faults.raising(StoreFull("full"))), pytest.raises(StoreFull):
        await place.see(seen(check()))
    assert await place.nudges() == []
    await place.see(seen(check()))
    assert await place.nudges() == [("ci-failed", "owed")]


@pytest.mark.guards(
    "What was to tell of a reaction and died is told to a person, and told after all when it is redriven.",
    against="A nudge that could not be told is lost, and nobody knows.",
    breaks=("reaction-dies-in-silence",),
)
async def test_what_dies_is_a_dead_letter_of_its_session(place: Place) -> None:
    await place.see(seen(check()))

    async def broken(job: Job[Any]) -> Outcome:
        message = f"cannot do {job.id}"
        raise RuntimeError(message)

    async with place.telling(ci_failed=broken):
        await place.passing(lambda reader: any(row["kind"] == "dead-letter" for row in reader.all(TOLD)))
    assert ("ci-failed", "dead") in await place.nudges()
    assert ("dead-letter", "told") in await place.nudges()
    (row,) = [row for row in await place.rows(TOLD) if row["subject"] == f"session:{SESSION}"]
    assert "ci-failed" in row["text"]
    assert "holdfast jobs redrive" in row["text"]
    (dead,) = [row["id"] for row in await place.rows(DEAD)]
    await place.store.unit(ACT, lambda unit: redrive.redrive(unit, KINDS_BY_NAME, dead))
    await place.settle()
    assert ("ci-failed", "sent") in await place.nudges()
    assert ("dead-letter", "over") in await place.nudges()


# --- each alone, in order --------------------------------------------------------------------------------------


@pytest.mark.guards(
    "A check that failed, changes that are requested and a conflict, all at once, are three messages, in this order, "
    "each once, whichever is tried first.",
    against="An early return lets CI hide the review feedback; or the agent gets the conflict before the failure.",
    breaks=("reaction-any-order",),
)
async def test_three_at_once_are_three_messages_in_the_declared_order(place: Place) -> None:
    looked = asyncio.Event()
    tells = handling.Tells(place.store, place.clock)

    async def late(job: Job[Any]) -> Outcome:
        await looked.wait()
        return await tells(job)

    async def early(job: Job[Any]) -> Outcome:
        outcome = await tells(job)
        looked.set()
        return outcome

    asked = comment(kind="changes_requested", path=None, line=None)
    observation = seen(
        check(), review="changes_requested", fit="conflict", conflicts=("roof.py",), comments=(asked, comment("r2"))
    )
    await place.see(observation, 3)
    await place.settle(ci_failed=late, merge_conflicts=early)
    await place.see(observation, 3)
    await place.settle()
    assert [text.split(" ")[0:3] for text in await place.messages()] == [
        ["CI", "failed", "on"],
        ["There", "is", "review"],
        ["Your", "pull", "app.1"],
    ]
    review = (await place.messages())[1]
    assert "changes requested, by ada, thread t1" in review
    assert "roof.py:7, by ada, thread t1" in review
    assert Counter(await place.nudges()) == Counter(
        {("ci-failed", "sent"): 1, ("review-comments", "sent"): 1, ("merge-conflicts", "sent"): 1}
    )


async def test_one_that_fails_keeps_none_of_the_others(place: Place) -> None:
    async def broken(job: Job[Any]) -> Outcome:
        message = f"cannot do {job.id}"
        raise RuntimeError(message)

    await place.see(seen(check(), fit="conflict", conflicts=("a",), comments=(comment(),)))
    async with place.telling(ci_failed=broken):
        await place.passing(lambda reader: len(reader.all(MESSAGES)) == 2)
    assert [text.split(" ")[0] for text in await place.messages()] == ["There", "Your"]


async def test_ci_failed_carries_all_failed_checks_with_their_steps_and_the_ends_of_their_logs(place: Place) -> None:
    long = "".join(f"line {number} of the log\n" for number in range(2_000))
    await place.see(seen(check(), check("lint", tail=long, step="ruff", exit_status=3), check("docs", "passed")))
    await place.settle()
    (text,) = await place.messages()
    assert "unit of c1 is broken" in text
    assert "--- lint (ruff, exit status 3) ---" in text
    assert "line 1999 of the log" in text
    assert "characters before this are left out" in text
    assert "docs" not in text


async def test_ci_failed_waits_for_the_last_check_and_no_longer_than_ten_minutes(place: Place) -> None:
    await place.see(seen(check(), check("slow", "running"), expected=("unit", "slow")))
    await place.settle()
    assert await place.messages() == []
    place.clock.advance(599)
    await place.settle()
    assert await place.messages() == []
    place.clock.advance(2)
    await place.settle()
    await place.deliver()
    assert len(await place.messages()) == 1
    await place.see(seen(check(), check("slow", "passed"), expected=("unit", "slow")))
    await place.settle()
    assert len(await place.messages()) == 1, "all of it is told"
    await place.see(seen(check(), check("slow", runs=2), expected=("unit", "slow")))
    await place.settle()
    assert len(await place.messages()) == 2, "another check has failed since"


# --- taken back ------------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "A message that still waits when what it is about is over is taken back, and is not recorded as delivered.",
    against="An agent that was busy is sent after a failure which it has mended long ago.",
    breaks=("reaction-lets-stale-messages-go",),
)
async def test_a_message_that_waits_is_taken_back_when_it_is_over(place: Place) -> None:
    await place.see(seen(check()))
    await place.settle()
    await place.see(seen(check(state="passed", runs=2)))
    assert [row["state"] for row in await place.rows(MESSAGES)] == ["suppressed"]
    assert ("ci-failed", "suppressed") in await place.nudges()
    await place.see(seen(check(runs=3)))
    await place.settle()
    assert [row["state"] for row in await place.rows(MESSAGES)] == ["suppressed", "queued"]
    assert ("ci-failed", "sent") in await place.nudges()


async def test_what_is_over_before_it_is_told_is_never_told(place: Place) -> None:
    await place.see(seen(check()))
    await place.see(seen(check(state="passed", runs=2)))
    assert ("ci-failed", "suppressed") in await place.nudges()
    await place.settle()
    assert await place.messages() == []


async def test_a_base_that_goes_on_moving_is_one_conflict(place: Place) -> None:
    for number in range(20):
        await place.see(seen(fit="conflict", conflicts=("a.py", "b.py"), base_commit=f"b{number}"))
        await place.settle()
        await place.deliver()
        await place.see(seen(fit="unknown", base_commit=f"b{number}x"))
    assert await place.nudges() == [("merge-conflicts", "sent")]


async def test_review_comments_are_told_once_each_and_never_those_of_the_agent_itself(place: Place) -> None:
    own = comment("r9", author="session:app-1")
    await place.see(seen(comments=(comment(), own)))
    await place.settle()
    await place.deliver()
    await place.see(seen(comments=(comment(), own, comment("r2", "And this."), comment("r3", "ok", kind="approval"))))
    await place.settle()
    await place.deliver()
    await place.see(seen(comments=(comment(state="resolved"), own)))
    texts = await place.messages()
    assert len(texts) == 2
    assert "Please rename this." in texts[0]
    assert "And this." in texts[1]
    assert "Please rename this." not in texts[1]


# --- nobody there ----------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "What is for an agent whose session has ended is told to a person instead, once, and is not recorded as delivered.",
    against="The nudge waits for ever for an agent that is gone, and nobody mends the pull.",
    breaks=("reaction-tells-the-dead",),
)
async def test_what_is_for_an_agent_that_is_gone_is_told_to_a_person(place: Place) -> None:
    await place.end()
    await place.settle()
    await place.see(seen(check(), fit="conflict", conflicts=("a",)))
    await place.settle()
    await place.see(seen(check(), check("lint"), fit="conflict", conflicts=("a",)))
    await place.settle()
    assert await place.messages() == []
    found = Counter(await place.nudges())
    assert found["ci-failed", "suppressed"] == 2
    assert found["merge-conflicts", "suppressed"] == 1
    assert [kind for kind, _ in await place.notices("escalated")] == ["escalated"] * 2
    reasons = {row["reason"] for row in await place.rows(NUDGES) if row["state"] == "suppressed"}
    assert "its session has ended, so there is no agent to tell" in reasons


async def test_what_was_owed_when_the_session_ended_goes_to_a_person(place: Place) -> None:
    await place.see(seen(check()))
    await place.end()
    await place.settle()
    assert await place.messages() == []
    assert sorted(await place.notices()) == [("agent-exited", True), ("escalated", True)]


# --- settings --------------------------------------------------------------------------------------------------


async def test_a_project_changes_the_text_the_cap_the_target_and_turns_kinds_off(place: Place) -> None:
    await place.set(
        ci_failed={"text": "Oh no, {pull}!", "cap": 1}, merge_conflicts={"to": "person"}, review_comments={"off": True}
    )
    await place.see(seen(check(), fit="conflict", conflicts=("a",), comments=(comment(),)))
    await place.settle()
    await place.deliver()
    await place.see(seen(check(commit="c2"), head="c2", fit="conflict", conflicts=("a",), comments=(comment(),)))
    await place.settle()
    (text,) = await place.messages()
    assert text.startswith("Oh no, app.1!\n")
    assert sorted(await place.notices()) == [("escalated", True), ("merge-conflicts", False), ("merge-conflicts", True)]
    assert not [each for each in await place.nudges() if each[0] == "review-comments"]


async def test_what_is_turned_off_after_it_was_owed_is_not_told(place: Place) -> None:
    await place.see(seen(check()))
    await place.set(ci_failed={"off": True})
    await place.settle()
    assert await place.messages() == []
    assert await place.nudges() == [("ci-failed", "suppressed")]
    await place.set()
    await place.store.unit(ACT, lambda unit: door.react(unit, SESSION))
    await place.settle()
    assert await place.nudges() == [("ci-failed", "sent")]
