"""Propagations over HTTP: what is told of them, what people do with them, what is on record, what is measured."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, get_args

import pytest

import owed
from holdfast.core.clock import SYSTEM
from holdfast.core.errors import Unavailable
from holdfast.core.health.checks import check_effects
from holdfast.core.health.metrics import FAMILIES, Family, Readings, exposition
from holdfast.core.propagation import redrive
from holdfast.core.propagation.kinds import Condition, Kind, Registry
from holdfast.core.propagation.outcome import Done
from holdfast.core.propagation.queue import TOPIC
from holdfast.core.propagation.runner import Runner
from holdfast.core.propagation.schedule import SCHEDULES
from holdfast.core.propagation.view import State
from holdfast.core.store.sql import query
from holdfast.core.web.deps import Propagating
from owed import LOOSE, OTHER, SINGLE, Note
from served import Served, serving

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StoreMaker
    from holdfast.core.propagation.job import Job
    from holdfast.core.propagation.outcome import Outcome
    from holdfast.core.store.port import Reader

BASE = "/api/v1/propagations"
HOLD = query("hold", sqlite="INSERT INTO store_meta (name, value) VALUES ('effects_held_at', 'now')")
ROB = query("rob", sqlite="UPDATE propagations SET claim = 'run_another.1' WHERE claim IS NOT NULL")
_SAMPLE = re.compile(r"^(?P<name>[a-z_]+)(?:\{(?P<labels>[^}]*)\})? (?P<number>[0-9.e+-]+)$")


@pytest.fixture
def here(served: Served) -> Served:
    """The application, which knows the kinds of these tests."""
    served.deps.propagations = Propagating(Registry(owed.KINDS.values()))
    return served


def tomorrow() -> Any:
    return SYSTEM.now() + timedelta(days=1)


async def acts(served: Served) -> list[tuple[str, str, dict[str, Any]]]:
    """What is on record of propagations and effects, newest first."""
    items = (await served.boss.get("/api/v1/audit")).json()["items"]
    mine = [act for act in items if act["kind"].startswith(("propagation.", "effects."))]
    return [(act["kind"], act["subject"], act["detail"]) for act in mine]


async def samples(served: Served) -> dict[tuple[str, str], float]:
    """What is measured, by name and labels."""
    answer = await served.boss.get("/metrics")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    found = [match for line in lines if (match := _SAMPLE.match(line)) is not None]
    assert len(found) == len(lines)
    return {(match["name"], match["labels"] or ""): float(match["number"]) for match in found}


# --- reads -----------------------------------------------------------------------------------------------------


async def test_a_list_comes_in_pages_that_join_and_takes_filters(here: Served) -> None:
    made = [await owed.in_every_state(here.store, kind, tomorrow()) for kind in (LOOSE, OTHER)]
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await here.boss.get(BASE, params={"limit": "5", **cursor})).json()
        found += page["items"]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert [row["id"] for row in found] == sorted((row for each in made for row in each.values()), reverse=True)
    for state in get_args(State):
        rows = (await here.boss.get(BASE, params={"state": state, "kind": OTHER.name})).json()["items"]
        assert [(row["id"], row["state"], row["kind"]) for row in rows] == [(made[1][state], state, OTHER.name)]


@pytest.mark.parametrize("wrong", ["state=gone", "state=", "kind=", "kind=No+Kind", f"kind={'x' * 300}", "cursor=x"])
async def test_a_filter_that_cannot_be_is_refused(wrong: str, here: Served) -> None:
    answer = await here.boss.get(f"{BASE}?{wrong}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "malformed")


@pytest.mark.guards(
    "A propagation is shown whole, without the secrets that its payload holds.",
    against="A token that reads everything and so learns every password that an effect needs.",
    breaks=("view-shows-secrets",),
)
async def test_one_is_shown_whole_without_its_secrets(here: Served) -> None:
    row_id = await owed.owe(here.store, LOOSE, Note("hello", password="open sesame"), key="k")
    answer = await here.boss.get(f"{BASE}/{row_id}")
    shown = answer.json()
    assert shown["payload"] == {"text": "hello", "lane": "", "password": "[redacted]"}
    assert "sesame" not in answer.text
    assert (shown["schedule"], shown["max_attempts"], shown["max_starts"]) == ("interactive", 2, 5)
    assert (shown["state"], shown["key"], shown["held_by"]) == ("pending", "k", None)


async def test_one_of_a_kind_that_is_not_known_here_is_shown_all_the_same(served: Served) -> None:
    row_id = await owed.owe(served.store, LOOSE)
    shown = (await served.boss.get(f"{BASE}/{row_id}")).json()
    assert (shown["kind"], shown["schedule"], shown["max_attempts"]) == (LOOSE.name, None, None)


@pytest.mark.parametrize("wrong", ["0", "77", "x", "-1", "1.5", "9" * 19, "%D9%A1"])
async def test_a_number_that_nothing_has_is_not_found(wrong: str, here: Served) -> None:
    for method, path in (("GET", ""), ("POST", "/redrive"), ("POST", "/cancel")):
        answer = await here.boss.request(method, f"{BASE}/{wrong}{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), path
        assert "holdfast jobs ls" in answer.json()["error"]["message"]


async def test_every_schedule_and_every_kind_is_told_with_its_horizon(here: Served) -> None:
    tables = (await here.boss.get(f"{BASE}/schedules")).json()["items"]
    assert [(table["name"], tuple(table["delays"])) for table in tables] == [(s.name, s.delays) for s in SCHEDULES]
    assert [table["horizon"] for table in tables if table["name"] == "standard"] == ["55 h 51 m"]
    kinds = {kind["name"]: kind for kind in (await here.boss.get(f"{BASE}/kinds")).json()["items"]}
    assert set(kinds) == set(owed.KINDS)
    single = kinds[SINGLE.name]
    assert (single["horizon"], single["max_attempts"], single["rules"]["unique"]) == ("55 h 51 m", 11, "pending")
    assert (single["doc"], single["rules"]["ordered"]) == (SINGLE.doc, True)
    assert (single["served"], single["blocked"]) == (False, None)
    assert kinds[LOOSE.name]["horizon"] == "0.2 s"


async def test_a_kind_whose_condition_is_not_met_says_what_is_in_the_way(served: Served) -> None:
    def moon(_reader: Reader) -> str | None:
        return "the moon is not full"

    async def never(_job: Job[Any]) -> Outcome:
        raise AssertionError

    condition = Condition("full moon", "The moon is full.", moon)
    kind = Kind(name="test.moon", doc="Howls.", payload=Note, schedule=LOOSE.schedule, conditions=(condition,))
    registry = Registry([kind], {kind: never})
    runner = Runner(served.store, registry, SYSTEM)
    served.deps.propagations = Propagating(registry, runner)
    await owed.owe(served.store, kind)
    await runner.start()
    try:
        async with asyncio.timeout(20):
            while not runner.blocked:  # each commit lets its loop go on
                await served.store.unit(owed.ACT, lambda unit: unit.announce(TOPIC))
        (shown,) = (await served.boss.get(f"{BASE}/kinds")).json()["items"]
    finally:
        await runner.stop()
    assert (shown["blocked"], shown["served"], shown["gauge"]["pending"]) == ("the moon is not full", True, 1)
    assert shown["rules"]["conditions"] == [{"name": "full moon", "doc": "The moon is full."}]


# --- writes ----------------------------------------------------------------------------------------------------


async def test_a_dead_one_is_redriven_once_and_that_is_on_record(here: Served) -> None:
    row_id = await owed.dead(here.store, LOOSE, key="k")
    headers = {"idempotency-key": "once"}
    first = await here.boss.post(f"{BASE}/{row_id}/redrive", headers=headers)
    assert (first.status_code, first.json()["state"], first.json()["attempts"]) == (200, "pending", 0)
    again = await here.boss.post(f"{BASE}/{row_id}/redrive", headers=headers)
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
    refused = await here.boss.post(f"{BASE}/{row_id}/redrive")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
    assert await acts(here) == [("propagation.redriven", str(row_id), {"kind": LOOSE.name, "key": "k"})]


async def test_one_that_is_owed_is_cancelled_and_that_is_on_record(here: Served) -> None:
    row_id = await owed.owe(here.store, LOOSE)
    answer = await here.boss.post(f"{BASE}/{row_id}/cancel")
    assert (answer.status_code, answer.json()["state"], answer.json()["reason"]) == (200, "cancelled", "by_hand")
    leased = await owed.owe(here.store, LOOSE)
    await owed.lease(here.store, LOOSE, leased)
    refused = await here.boss.post(f"{BASE}/{leased}/cancel")
    error = refused.json()["error"]
    assert (refused.status_code, error["details"]["state"]) == (409, "leased")
    assert error["details"]["lease_until"] in error["message"]
    assert await acts(here) == [("propagation.cancelled", str(row_id), {"kind": LOOSE.name, "key": None})]


async def test_the_dead_of_a_kind_are_redriven_in_bounded_steps(here: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redrive, "CHUNK", 2)
    ids = [await owed.dead(here.store, LOOSE) for _ in range(3)]
    twin = await owed.dead(here.store, SINGLE, key="k")
    await owed.owe(here.store, SINGLE, key="k")
    first = (await here.boss.post(f"{BASE}/redrive", json={"kind": None})).json()
    assert (first["redriven"], first["refused"], first["next"]) == (2, [], str(ids[1]))
    second = (await here.boss.post(f"{BASE}/redrive", json={"kind": None, "cursor": first["next"]})).json()
    assert (second["redriven"], [each["id"] for each in second["refused"]], second["next"]) == (1, [twin], None)
    assert await acts(here) == [
        ("propagation.redriven", "every kind", {"rows": 1}),
        ("propagation.redriven", "every kind", {"rows": 2}),
    ]


async def test_a_redrive_of_what_is_not_dead_is_on_no_record(here: Served) -> None:
    before = await here.head()
    wanted = {"kind": OTHER.name, "reason": "max_starts", "before": "2026-01-01T00:00:00Z"}
    assert (await here.boss.post(f"{BASE}/redrive", json=wanted)).json() == {"redriven": 0, "refused": [], "next": None}
    unknown = await here.boss.post(f"{BASE}/redrive", json={"kind": "test.lose"})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "not_found")
    assert LOOSE.name in unknown.json()["error"]["message"]
    for body in ({}, {"kind": "x"}, {"kind": None, "before": "yesterday"}, {"kind": None, "cursor": "x"}):
        assert (await here.boss.post(f"{BASE}/redrive", json=body)).status_code == 422, body
    assert await here.head() == before


async def test_before_is_compared_to_the_moment_of_death_whatever_its_digits(here: Served) -> None:
    row_id = await owed.dead(here.store, LOOSE)
    died = (await owed.row_of(here.store, row_id))["decided_at"]
    second = died[:19]
    early = await here.boss.post(f"{BASE}/redrive", json={"kind": LOOSE.name, "before": f"{second}Z"})
    assert early.json()["redriven"] == 0
    later = f"{(SYSTEM.now() + timedelta(seconds=2)):%Y-%m-%dT%H:%M:%S}"
    late = await here.boss.post(f"{BASE}/redrive", json={"kind": LOOSE.name, "before": f"{later}.5Z"})
    assert late.json()["redriven"] == 1


# --- effects that are held -------------------------------------------------------------------------------------


async def test_held_effects_show_in_readiness_until_they_are_released(make_store: StoreMaker, tmp_path: Path) -> None:
    from holdfast.app import packs

    first = await make_store(packs=packs())
    await first.unit(owed.ACT, lambda unit: unit.run(HOLD))
    await first.close()
    place = make_store.place_of(first)

    async def reopened(**config: Any) -> Any:
        return await make_store(at=place, **config)

    async with serving(reopened, tmp_path) as served:  # type: ignore[arg-type]
        report = (await served.client().get("/readyz")).json()
        (check,) = [check for check in report["checks"] if check["name"] == "effects"]
        assert (report["overall"], check["status"], check["critical"]) == ("degraded", "failed", False)
        assert "holdfast jobs release" in check["last_error"]
        assert (await samples(served))["holdfast_effects_held", ""] == 1
        with pytest.raises(Unavailable):
            await check_effects(served.store)
        answers = [(await served.boss.post(f"{BASE}/release")).json() for _ in range(2)]
        assert answers == [{"released": True}, {"released": False}]
        assert await acts(served) == [("effects.released", served.store.uuid, {})]
        await check_effects(served.store)
        assert (await samples(served))["holdfast_effects_held", ""] == 0


@pytest.mark.guards(
    "A release that another process has committed is noticed by this one.",
    against="A process that holds effects for ever because somebody else released them.",
    breaks=("release-is-not-noticed",),
)
async def test_a_release_by_another_process_is_noticed(make_store: StoreMaker) -> None:
    first = await make_store(packs=owed.PACKS)
    await first.unit(owed.ACT, lambda unit: unit.run(HOLD))
    await first.close()
    store = await make_store(at=make_store.place_of(first), packs=owed.PACKS)
    await store.unit(owed.ACT, redrive.release)  # as another one does: nothing tells this one's memory
    assert store.effects_held
    await check_effects(store)
    assert not store.effects_held


# --- metrics ---------------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "Every registered kind has its gauges, at zero too, and what is dead is told.",
    against="An alert that never fires because its number is not there before the first time.",
    breaks=("metrics-tell-only-what-is-there",),
)
async def test_every_kind_is_measured_at_zero_too(here: Served) -> None:
    empty = await samples(here)
    for kind in owed.KINDS:
        for state in ("pending", "leased", "waiting", "dead"):
            assert empty["holdfast_propagations", f'kind="{kind}",state="{state}"'] == 0
        assert empty["holdfast_propagation_oldest_due_seconds", f'kind="{kind}"'] == 0
    await owed.in_every_state(here.store, LOOSE, tomorrow())
    full = await samples(here)
    for state in ("pending", "leased", "waiting", "dead"):
        assert full["holdfast_propagations", f'kind="{LOOSE.name}",state="{state}"'] == 1
    assert full["holdfast_propagation_oldest_due_seconds", f'kind="{LOOSE.name}"'] > 0
    assert full["holdfast_changes_oldest", ""] == 1


async def test_a_process_that_does_propagations_measures_what_came_too_late(here: Served) -> None:
    assert ("holdfast_propagations_late_total", "") not in await samples(here)

    async def robbed(_job: Job[Any]) -> Outcome:
        await here.store.unit(owed.ACT, lambda unit: unit.run(ROB))
        return Done()

    registry = Registry([LOOSE], {LOOSE: robbed})
    runner = Runner(here.store, registry, SYSTEM)
    here.deps.propagations = Propagating(registry, runner)
    await owed.owe(here.store, LOOSE)
    await runner.start()
    try:
        async with asyncio.timeout(20):
            while not runner.late:
                await here.store.unit(owed.ACT, lambda unit: unit.announce(TOPIC))
        found = await samples(here)
    finally:
        await runner.stop()
    assert found["holdfast_propagations_late_total", ""] == 1
    assert found["holdfast_propagations_under_way", ""] == 0


def test_the_text_form_escapes_what_would_break_it_and_names_every_family() -> None:
    readings = Readings(
        propagations=(), late=0, under_way=0, effects_held=False, position=5, oldest=1, subscribers=0, overflows=0
    )
    text = exposition(readings).decode()
    for family in FAMILIES:
        assert f"# HELP {family.name} " in text
        assert f"# TYPE {family.name} {family.form}\n" in text
        assert family.form == "counter" or not family.name.endswith("_total")
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    odd = Family("odd", "a\\b\nc", "gauge", ("of",), lambda _: [(('q"\\\n',), 1.5)])
    assert exposition(readings, (odd,)) == b'# HELP odd a\\\\b\\nc\n# TYPE odd gauge\nodd{of="q\\"\\\\\\n"} 1.5\n'
