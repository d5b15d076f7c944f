"""Caps: who waits for a place, where in the queue and why; who is let in when one is free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fleets import Fleet, ended, fleet, repository, settled

if TYPE_CHECKING:
    from pathlib import Path

#: One runtime is enough here: what is asked of it is the same.
RUNTIME = "process"


def _places(subject: Fleet) -> dict[str, int | None]:
    return {each: row["queue_position"] for each, row in subject.sessions().items()}


def _cap(subject: Fleet, project: str, most: int) -> None:
    answer = subject.daemon.ask("PATCH", f"/api/v1/projects/{project}", {"max_sessions": most})
    assert answer.status == 200, answer


@pytest.mark.slow
@pytest.mark.guards(
    "Beyond the cap of its project a session waits with its place and the reason in sight, and starts in its turn when "
    "a place is free; one that is killed in the queue never starts, and gives its turn on.",
    against="More agents than allowed run at once, those who wait are forgotten, or one that was called off starts.",
    breaks=("fleet-caps-count-nobody", "fleet-looks-at-the-queue-once"),
)
def test_the_queue_of_a_project_is_seen_and_served_in_order(tmp_path: Path) -> None:
    with fleet(tmp_path, RUNTIME) as subject:
        _cap(subject, "demo", 2)
        one, two, three, four, five = (subject.spawn(f"task {n}") for n in range(5))
        subject.until_all([one, two], settled)
        assert _places(subject) == {one: None, two: None, three: 1, four: 2, five: 3}
        row = subject.session(four)
        assert (row["status"], row["state"], row["is_alive"]) == ("queued", "not_started", False)
        assert row["queue_reason"] == "project 'demo' runs 2 of its 2 sessions"

        asked = subject.ask(three, "kill")
        assert (asked.status, asked.body["state"], asked.body["reason"]) == (202, "terminated", "manually_killed")
        assert asked.body["evidence"]["while"] == "queued"
        assert _places(subject) == {one: None, two: None, three: None, four: 1, five: 2}
        subject.ask(one, "kill")
        subject.until(four, settled)
        assert _places(subject)[five] == 1
        assert subject.launch(four)["number"] == 1
        assert subject.rows("SELECT * FROM launches WHERE session = ?", three) == []
        assert subject.ask(three, "restore").status == 409  # there is nothing to go on with

        _cap(subject, "demo", 3)
        subject.spawn("one more")
        subject.until(five, settled)
        assert len(subject.places()) == 3


@pytest.mark.slow
def test_a_full_project_is_passed_by_others_until_the_daemon_is_full_too(tmp_path: Path) -> None:
    with fleet(tmp_path, RUNTIME, HOLDFAST_FLEET_MAX_SESSIONS="2") as subject:
        other = repository(tmp_path / "other")
        subject.post("/api/v1/projects", {"path": str(other), "id": "other", "agent": "scripted"})
        _cap(subject, "demo", 1)
        demo = [subject.spawn(), subject.spawn()]
        others = [subject.spawn(project="other"), subject.spawn(project="other")]
        subject.until_all([demo[0], others[0]], settled)
        assert _places(subject) == {demo[0]: None, demo[1]: 1, others[0]: None, others[1]: 2}
        assert "of its 1 sessions" in subject.session(demo[1])["queue_reason"]
        assert subject.session(others[1])["queue_reason"] == "2 of 2 sessions run"
        subject.ask(demo[0], "kill")
        subject.until(demo[1], settled)
        assert _places(subject)[others[1]] == 1


@pytest.mark.slow
@pytest.mark.guards(
    "While there is too little memory a session waits, says so, and starts by itself once there is enough.",
    against="A machine without memory is given one more agent, or the queue is looked at only when somebody asks.",
    breaks=("fleet-looks-at-the-queue-once",),
)
def test_a_session_waits_for_memory_and_starts_by_itself(tmp_path: Path) -> None:
    with fleet(tmp_path, RUNTIME, HOLDFAST_FLEET_MIN_FREE_MEMORY_MB="10000000") as subject:
        session = subject.spawn()
        row = subject.session(session)
        assert (row["status"], row["queue_position"]) == ("queued", 1)
        assert "too little free memory" in row["queue_reason"]
        assert subject.processes() == []
        subject.daemon.stop()
        subject.up()
        subject.until(session, settled)


@pytest.mark.slow
@pytest.mark.guards(
    "A restored session takes a place as any other: beyond the caps it waits in the queue, and can be called off.",
    against="Restoring everything at once passes the caps by, or a restore that was called off comes alive later.",
    breaks=("fleet-restores-past-the-queue",),
)
def test_restores_wait_for_places_too(tmp_path: Path) -> None:
    with fleet(tmp_path, RUNTIME) as subject:
        ids = [subject.spawn(f"task {n}") for n in range(3)]
        subject.until_all(ids, settled)
        for each in ids:
            subject.ask(each, "kill")
        before = subject.until_all(ids, ended)
        _cap(subject, "demo", 1)
        for each in ids:
            assert subject.ask(each, "restore").status == 202
        subject.until(ids[0], settled)
        assert _places(subject) == {ids[0]: None, ids[1]: 1, ids[2]: 2}
        assert subject.session(ids[1])["state"] == "terminated"
        assert subject.ask(ids[1], "restore").status == 409
        assert subject.ask(ids[1], "cleanup").status == 409

        assert subject.ask(ids[1], "kill").status == 202
        assert _places(subject) == {ids[0]: None, ids[1]: None, ids[2]: 1}
        assert _told(subject.session(ids[1])) == _told(before[ids[1]])
        subject.ask(ids[0], "kill")
        assert subject.until(ids[2], settled)["launch"] == 2
        assert len(subject.places()) == 1
        assert subject.ask(ids[1], "cleanup").status == 202


def _told(row: dict[str, Any]) -> dict[str, Any]:
    return {name: what for name, what in row.items() if name != "saga"}
