"""Who of the queue may start: in order, under every cap, with memory to spare."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.fleet.sessions.admission import spare_memory_mb
from holdfast.fleet.sessions.decide_admission import EXPECTED_MB, Queued, Room, admitted, why_not

MUCH = 1 << 20
PROJECTS = ("shop", "site", "tool")


def _queue(*projects: str) -> list[Queued]:
    return [Queued(f"{project}-{number}", project) for number, project in enumerate(projects, start=1)]


def test_all_start_where_there_is_room_in_the_order_in_which_they_came() -> None:
    queue = _queue("shop", "site", "shop")
    assert admitted(queue, Room(16, {"shop": 2, "site": 2}, {}, MUCH)) == ["shop-1", "site-2", "shop-3"]


@pytest.mark.guards(
    "A session whose project is full waits, and those of other projects pass it; nobody passes one who may start.",
    against="One full project keeps all others waiting, or the queue is not served in order.",
    breaks=("fleet-a-full-project-blocks-all",),
)
def test_a_project_that_is_full_lets_others_pass_and_keeps_its_own_order() -> None:
    queue = _queue("shop", "site", "shop", "site")
    room = Room(16, {"shop": 1, "site": 16}, {"shop": 1}, MUCH)
    assert admitted(queue, room) == ["site-2", "site-4"]
    assert why_not(queue[0], room) == "project 'shop' runs 1 of its 1 sessions"


def test_what_runs_on_other_hosts_counts_for_its_project_and_not_for_this_daemon() -> None:
    room = Room(2, {"shop": 5, "site": 2}, {"shop": 1, "site": 2}, MUCH, elsewhere=2)
    assert admitted(_queue("shop", "site", "shop"), room) == ["shop-1"]
    assert why_not(Queued("site-3", "site"), room) == "project 'site' runs 2 of its 2 sessions"


def test_a_full_daemon_lets_nobody_in() -> None:
    room = Room(2, {"shop": 5, "site": 5}, {"shop": 1, "site": 1}, MUCH)
    assert admitted(_queue("shop", "site"), room) == []
    assert why_not(Queued("shop-3", "shop"), room) == "2 of 2 sessions run"


@pytest.mark.guards(
    "As many start at once as there is memory for, each taken to need its share; below the floor nobody does.",
    against="A burst of sessions is let in on the memory that was free before the first of them, and the machine dies.",
    breaks=("fleet-memory-is-not-shared-out",),
)
def test_memory_is_shared_out_among_those_who_are_let_in_at_once() -> None:
    queue = _queue("shop", "shop", "shop", "shop")
    caps = {"shop": 10}
    assert admitted(queue, Room(16, caps, {}, 2 * EXPECTED_MB)) == ["shop-1", "shop-2"]
    assert admitted(queue, Room(16, caps, {}, -1)) == []
    assert "too little free memory" in str(why_not(queue[0], Room(16, caps, {}, -1)))


def test_the_first_one_starts_above_the_floor_however_little_is_there_beyond_it() -> None:
    queue = _queue("shop", "shop")
    assert admitted(queue, Room(16, {"shop": 10}, {}, 0)) == ["shop-1"]
    assert admitted(queue, Room(16, {"shop": 10}, {"shop": 1}, EXPECTED_MB - 1)) == []


def test_a_session_of_an_unknown_project_is_bounded_by_the_daemon_alone() -> None:
    assert admitted(_queue("gone"), Room(1, {}, {}, MUCH)) == ["gone-1"]


def test_memory_beyond_the_floor_is_what_the_system_says_less_the_floor() -> None:
    free, less = spare_memory_mb(0), spare_memory_mb(10_000_000)
    assert free > 0
    assert less < 0
    assert abs((free - less) - 10_000_000) < 4_096  # it is measured twice


@given(
    projects=st.lists(st.sampled_from(PROJECTS), max_size=12),
    caps=st.fixed_dictionaries({name: st.integers(1, 4) for name in PROJECTS}),
    running=st.fixed_dictionaries({name: st.integers(0, 4) for name in PROJECTS}),
    total=st.integers(1, 12),
    memory=st.integers(-EXPECTED_MB, 8 * EXPECTED_MB),
)
def test_no_cap_is_passed_and_nobody_waits_without_a_reason(
    projects: list[str], caps: dict[str, int], running: dict[str, int], total: int, memory: int
) -> None:
    queue, room = _queue(*projects), Room(total, caps, running, memory)
    chosen = admitted(queue, room)
    assert chosen == [each.id for each in queue if each.id in chosen]  # in order, each once
    after = {name: running[name] + sum(each.project == name and each.id in chosen for each in queue) for name in caps}
    grown = [name for name in caps if after[name] > running[name]]
    assert all(after[name] <= caps[name] for name in grown)
    assert not chosen or sum(after.values()) <= total
    left = memory - EXPECTED_MB * len(chosen)
    assert not chosen or memory >= 0
    assert len(chosen) <= 1 or left >= 0
    now = Room(total, caps, after, left)
    for each in queue:
        if each.id not in chosen:
            assert why_not(each, now) is not None
