"""What people see of propagations: pages without a seam, one with all that is known, gauges that leave nothing out."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, get_args

import pytest

import owed
from holdfast.core.errors import NotFound
from holdfast.core.propagation import view
from holdfast.core.propagation.schedule import SCHEDULES
from holdfast.core.propagation.view import Gauge, State, spoken
from manual_clock import ManualClock
from owed import KINDS, LANED, LOOSE, OTHER, Note

if TYPE_CHECKING:
    from conftest import StoreMaker
    from holdfast.core.store.port import Store

STATES = get_args(State)
LAST = (1 << 63) - 1


@pytest.fixture
async def store(make_store: StoreMaker, clock: ManualClock) -> Store:
    """An open store with the tables of propagations, whose time the test moves."""
    return await make_store(packs=owed.PACKS, clock=clock)


async def page(store: Store, *, before: int = LAST, limit: int = 500, **filters: Any) -> list[dict[str, Any]]:
    return await store.read(lambda reader: view.page(reader, before=before, limit=limit, **filters))


async def gauges(store: Store, clock: ManualClock) -> dict[str, Gauge]:
    found = await store.read(lambda reader: view.gauges(reader, KINDS, clock.stamp()))
    return {gauge.kind: gauge for gauge in found}


async def test_pages_over_the_queue_and_the_ledger_join_without_a_seam(store: Store, clock: ManualClock) -> None:
    made = [await owed.in_every_state(store, kind, clock.now() + timedelta(days=1)) for kind in (LOOSE, OTHER)]
    found: list[dict[str, Any]] = []
    while rows := await page(store, before=found[-1]["id"] if found else LAST, limit=5):
        found += rows
    ids = [row["id"] for row in found]
    assert ids == sorted(ids, reverse=True)
    assert {row["id"]: row["state"] for row in found} == {of: state for each in made for state, of in each.items()}


@pytest.mark.guards(
    "A list by state or kind shows every row that is so and no other; leased is told from pending.",
    against="A person who looks for what is stuck and is shown what is not.",
    breaks=("view-leased-is-pending",),
)
async def test_a_list_by_state_and_kind_shows_what_is_so_and_nothing_else(store: Store, clock: ManualClock) -> None:
    tomorrow = clock.now() + timedelta(days=1)
    made = {kind.name: await owed.in_every_state(store, kind, tomorrow) for kind in (LOOSE, OTHER)}
    assert {state for each in made.values() for state in each} == set(STATES)
    for state in STATES:
        of_state = await page(store, state=state)
        assert {(row["kind"], row["id"], row["state"]) for row in of_state} == {
            (kind, each[state], state) for kind, each in made.items()
        }
        both = await page(store, state=state, kind=OTHER.name)
        assert [row["id"] for row in both] == [made[OTHER.name][state]]
    of_kind = await page(store, kind=LOOSE.name)
    assert {row["id"] for row in of_kind} == set(made[LOOSE.name].values())


async def test_one_is_shown_with_all_that_is_known_and_without_its_secrets(store: Store) -> None:
    secret = "hft_" + "x" * 30
    row_id = await owed.owe(store, LOOSE, Note(f"call with {secret}", password="open sesame"), key="a key")
    claimed = await owed.lease(store, LOOSE, row_id)
    shown = await store.read(lambda reader: view.whole(reader, row_id))
    assert shown["payload"] == {"text": "call with [redacted]", "lane": "", "password": "[redacted]"}
    assert (shown["state"], shown["held_by"], shown["key"]) == ("leased", owed.OWNER, "a key")
    assert shown["lease_until"] is not None
    await owed.settle(store, claimed)
    over = await store.read(lambda reader: view.whole(reader, row_id))
    assert set(over) == set(shown)
    assert (over["state"], over["held_by"], over["payload"]) == ("done", None, shown["payload"])


async def test_what_is_not_there_is_said_to_be_not_there(store: Store) -> None:
    with pytest.raises(NotFound, match="'77'"):
        await store.read(lambda reader: view.whole(reader, 77))


@pytest.mark.guards(
    "Every kind has a gauge of its own, and every row of the queue is counted in it, the dead above all.",
    against="An alert on the dead that never fires because nobody counts them.",
    breaks=("view-dead-is-not-counted",),
)
async def test_every_kind_has_a_gauge_and_every_row_is_counted_in_it(store: Store, clock: ManualClock) -> None:
    empty = await gauges(store, clock)
    assert empty == {name: Gauge(name, 0, 0, 0, 0, 0.0) for name in KINDS}
    tomorrow = clock.now() + timedelta(days=1)
    for _ in range(3):
        await owed.in_every_state(store, LOOSE, tomorrow)
    await owed.dead(store, OTHER)
    full = await gauges(store, clock)
    assert full[LOOSE.name] == Gauge(LOOSE.name, pending=3, leased=3, waiting=3, dead=3, oldest_due_seconds=0.0)
    assert full[OTHER.name] == Gauge(OTHER.name, pending=0, leased=0, waiting=0, dead=1, oldest_due_seconds=0.0)


async def test_a_kind_that_nobody_registered_has_a_gauge_as_soon_as_it_has_a_row(store: Store) -> None:
    await owed.dead(store, LOOSE)
    (found,) = await store.read(lambda reader: view.gauges(reader, (), "9999"))
    assert (found.kind, found.dead) == (LOOSE.name, 1)


@pytest.mark.guards(
    "The oldest due age is that of a row that could be started and is not.",
    against="An alert for what is under way, scheduled for later, behind another, or dead.",
    breaks=("view-age-of-what-is-not-due",),
)
async def test_the_oldest_due_age_is_that_of_what_could_be_started_and_is_not(store: Store, clock: ManualClock) -> None:
    await owed.in_every_state(store, OTHER, clock.now() + timedelta(days=1))
    await owed.owe(store, LOOSE, at=clock.now() + timedelta(seconds=100))
    first = await owed.owe(store, LANED, Note(lane="a"))
    await owed.owe(store, LANED, Note(lane="a"))
    await owed.lease(store, LANED, first)
    clock.advance(90)
    ages = {name: gauge.oldest_due_seconds for name, gauge in (await gauges(store, clock)).items()}
    assert ages == {**dict.fromkeys(KINDS, 0.0), OTHER.name: 90.0}
    clock.advance(30)
    ages = {name: gauge.oldest_due_seconds for name, gauge in (await gauges(store, clock)).items()}
    assert (ages[LOOSE.name], ages[LANED.name], ages[OTHER.name]) == (20.0, 0.0, 120.0)


def test_every_schedule_is_shown_with_its_horizon_in_words() -> None:
    shown = {table.name: table for table in view.schedules()}
    assert list(shown) == [table.name for table in SCHEDULES]
    assert (shown["standard"].horizon, shown["standard"].horizon_seconds) == ("55 h 51 m", 201_060.0)
    assert (shown["interactive"].horizon, shown["interactive"].attempts) == ("23.2 s", 6)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (0.2, "0.2 s"), (60, "1 m"), (3_661, "1 h 1 m 1 s"), (86_400, "24 h")]
)
def test_a_span_is_said_in_hours_minutes_and_seconds(seconds: float, words: str) -> None:
    assert spoken(seconds) == words
