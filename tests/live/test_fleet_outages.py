"""What many sessions share goes away under them, or is silent: one incident, one notice, no death without proof."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from fleets import ended, fleet, settled
from holdfast.fleet import processes

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.needs("tmux")

TWENTY = 20


@pytest.mark.slow
@pytest.mark.guards(
    "The end of the server that many sessions share is one incident and one notice; every session ends with that as "
    "its evidence, and comes back with its conversation.",
    against="People get a notice for each of their sessions, sessions end without a reason, or start over when they "
    "are restored.",
    breaks=("fleet-tells-of-every-session", "fleet-reaps-what-was-restored", "fleet-restores-from-scratch"),
)
def test_the_end_of_the_tmux_server_is_one_incident_and_all_come_back(tmp_path: Path) -> None:
    with fleet(tmp_path, "tmux", HOLDFAST_FLEET_MAX_SESSIONS="32") as subject:
        ids = [subject.spawn(f"task {n}") for n in range(TWENTY)]
        before = subject.until_all(ids, settled)
        os.kill(subject.handle(ids[0]).server.pid, signal.SIGKILL)
        lost = subject.until_all(ids, lambda row: row["state"] == "terminated")
        # At once, while what they left behind is still being looked for.
        assert subject.post("/api/v1/sessions/restore")["sessions"] == ids  # in the order in which they came
        for row in lost.values():
            assert (row["state"], row["reason"], row["status"]) == ("terminated", "runtime_lost", "errored")
            assert row["evidence"]["witnesses"]["runtime"]["verdict"] == "dead"
        assert [(each["runtime"], each["cause"], each["sessions"]) for each in subject.incidents()] == [
            ("tmux", "lost", TWENTY)
        ]
        back = subject.until_all(ids, settled)
        for each in ids:
            assert back[each]["launch"] == 2
            assert back[each]["agent_session_id"] == before[each]["agent_session_id"]
            begun = [(line["source"], line["conversation"]) for line in subject.journal(each, "start")]
            assert begun == [(source, before[each]["agent_session_id"]) for source in ("startup", "resume")]
            (told,) = subject.journal(each, "notice")
            assert "You were interrupted" in told["text"]
            assert "runtime_lost" in told["text"]
        subject.wait(subject.owed, lambda owed: not owed)
        assert {row["launch"] for row in subject.until_all(ids, settled).values()} == {2}
        assert len(subject.places()) == TWENTY
        assert [each["kind"] for each in subject.notices()] == ["runtime-lost"]
        (incident,) = subject.wait(subject.incidents, lambda found: all(each["ended_at"] for each in found))
        assert incident["ended_at"]
        assert subject.notices()[0]["resolved_at"]


@pytest.mark.slow
@pytest.mark.guards(
    "A runtime that does not answer ends nobody: after some patience it is one incident, and is over when it answers.",
    against="An outage of the runtime is read as the death of all its sessions, or nobody is told of it, or it never "
    "ends.",
    breaks=("fleet-silence-is-a-loss", "fleet-outages-never-end"),
)
def test_a_tmux_server_that_is_stopped_ends_nobody_and_is_one_incident(tmp_path: Path) -> None:
    with fleet(tmp_path, "tmux", HOLDFAST_FLEET_SWEEP_SECONDS="0.5") as subject:
        ids = [subject.spawn(f"task {n}") for n in range(3)]
        before = subject.until_all(ids, settled)
        server = subject.handle(ids[0]).server
        processes.tell(server, signal.SIGSTOP)
        try:
            found = subject.wait(subject.incidents, bool, seconds=90)
            assert [(each["runtime"], each["cause"], each["sessions"]) for each in found] == [
                ("tmux", "unanswering", 3)
            ]
            assert {each: _known(row) for each, row in subject.sessions().items()} == {
                each: _known(row) for each, row in before.items()
            }
        finally:
            processes.tell(server, signal.SIGCONT)
        (incident,) = subject.wait(subject.incidents, lambda rows: all(each["ended_at"] for each in rows))
        assert incident["cause"] == "unanswering"
        (notice,) = subject.notices()
        assert notice["kind"] == "runtime-unanswering"
        assert notice["resolved_at"]
        assert {each: _known(row) for each, row in subject.sessions().items()} == {
            each: _known(row) for each, row in before.items()
        }
        assert subject.rows("SELECT * FROM episodes") == []
        subject.turn(ids[0], "still there?")
        assert [line["text"] for line in subject.journal(ids[0], "message")] == ["still there?"]


def _known(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("state", "state_at", "launch", "alive_since", "status", "quarantine"))


@pytest.mark.slow
def test_a_kill_that_the_runtime_does_not_answer_is_done_when_it_answers_again(tmp_path: Path) -> None:
    with fleet(tmp_path, "tmux") as subject:
        session, other = subject.spawn(), subject.spawn()
        subject.until_all([session, other], settled)
        server = subject.handle(session).server
        processes.tell(server, signal.SIGSTOP)
        try:
            assert subject.ask(session, "kill").status == 202
            subject.until(session, lambda row: row["saga"] == "kill")
        finally:
            processes.tell(server, signal.SIGCONT)
        row = subject.until(session, ended)
        assert (row["state"], row["reason"]) == ("terminated", "manually_killed")
        assert settled(subject.session(other))
        assert len(subject.places()) == 1
