"""What agents say at the wrong moment: too early, too late, out of this world. It is kept and counted."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from fleets import Fleet, fleet, settled
from holdfast.core.instants import parse_stamp, stamp
from holdfast.core.store.lock import hold_data
from holdfast.core.store.opening import StoreConfig, open_store
from holdfast.fleet.sessions import views
from holdfast.fleet.sessions.status import UNHEARD
from holdfast.fleet.signals import hook

if TYPE_CHECKING:
    from pathlib import Path

RUNTIME = "process"


def _say(subject: Fleet, session: str, launch: int, seq: int, kind: str) -> str:
    body = {"launch": launch, "seq": seq, "kind": kind}
    return str(subject.post(f"/api/v1/sessions/{session}/signals", body)["taken"])


def _kept(subject: Fleet, session: str, taken: str) -> list[tuple[Any, ...]]:
    rows = subject.rows("SELECT launch, kind FROM signals WHERE session = ? AND taken = ?", session, taken)
    return [(row["launch"], row["kind"]) for row in rows]


@pytest.mark.slow
@pytest.mark.guards(
    "A signal of an earlier launch, or from the future of the boot clock, is kept, counted and not acted on, by "
    "whatever way it comes.",
    against="A late hook of the last launch changes the present one, or one clock that is ahead makes a session deaf.",
    breaks=("fleet-hears-earlier-launches", "fleet-hears-the-future"),
)
def test_signals_of_earlier_launches_and_of_the_future_are_refused_and_counted(tmp_path: Path) -> None:
    with fleet(tmp_path, RUNTIME, HOLDFAST_FLEET_SWEEP_SECONDS="0.5") as subject:
        session = subject.spawn(steps="resume:\nlate permission\nwork\nevery:\nwork")
        assert subject.until(session, settled)["rejected"] == 0
        subject.ask(session, "kill")
        subject.until(session, lambda row: row["state"] == "terminated" and row["saga"] is None)
        assert _say(subject, session, 1, hook.now(), "working") == "ended"
        subject.ask(session, "restore")
        row = subject.until(session, lambda row: settled(row) and row["rejected"] >= 2)
        assert (row["state"], row["launch"]) == ("idle", 2)
        assert _kept(subject, session, "stale_launch") == [(1, "blocked")]

        known = subject.session(session)
        hour = 3600 * 10**9
        assert _say(subject, session, 1, hook.now(), "exited") == "stale_launch"
        assert _say(subject, session, 2, hook.now() + hour, "blocked") == "ahead"
        assert _say(subject, session, 7, hook.now(), "blocked") == "unknown_launch"
        assert _say(subject, session, 2, 1, "blocked") == "stale_seq"
        spooled = {"launch": 2, "seq": hook.now() + 2 * hour, "event": "permission", "detail": {"tool": "x"}}
        with (subject.daemon.data / "spool" / f"{session}.jsonl").open("a") as spool:
            spool.write("this is no signal\n")
            spool.write(json.dumps({**spooled, "agent": "scripted", "at": "2026-11-21T00:00:00.000000Z"}) + "\n")
        row = subject.until(session, lambda row: row["rejected"] >= known["rejected"] + 5)
        assert row["rejected"] == known["rejected"] + 5
        assert {**row, "rejected": 0} == {**known, "rejected": 0}
        assert _kept(subject, session, "ahead") == [(2, "blocked"), (2, "blocked")]
        assert _say(subject, session, 2, hook.now(), "waiting_input") == "taken"  # it is not deaf
        assert subject.session(session)["status"] == "needs_input"
        assert subject.session(session)["rejected"] == row["rejected"]


@pytest.mark.slow
@pytest.mark.guards(
    "What an agent says before anybody knows that it lives is heard as soon as that is known.",
    against="An agent that asks in its first moments is shown as starting, then as silent, and nobody answers it.",
    breaks=("fleet-forgets-early-signals",),
)
def test_what_is_said_before_the_launch_is_known_is_heard_when_it_is(tmp_path: Path) -> None:
    with fleet(tmp_path, RUNTIME) as subject:
        subject.daemon.stop()
        # It stops when the agent runs and no row says so: what the agent says then comes before its launch is known.
        subject.begin(HOLDFAST_FAULTS="launch.started=stop")
        assert subject.daemon.ready()
        told = tmp_path / "told"
        os.mkfifo(told)
        session = subject.spawn(steps=f"turn:\nlate ask 1\ntouch {told}\nhang")
        assert os.WIFSTOPPED(os.waitpid(subject.daemon.running.pid, os.WUNTRACED)[1])
        assert told.read_bytes() == b""  # it has asked by now
        subject.daemon.kill()
        subject.up()
        row = subject.until(session, lambda row: row["is_alive"] and row["status"] == "needs_input")
        assert row["launch"] == 1
        assert len(subject.journal(session, "start")) == 1
        assert [kind for _, kind in _kept(subject, session, "unknown_launch") if kind is not None] == []
        path = f"/api/v1/sessions/{session}/messages"
        (prompt,) = subject.wait(lambda: subject.get(path)["items"], lambda found: found[0]["state"] == "confirmed")
        assert prompt["launch"] == 1


@pytest.mark.slow
@pytest.mark.guards(
    "An agent with hooks of which nothing was heard for 90 seconds reads `no_signal`: nobody knows that it is idle.",
    against="A broken hook reads as a confident idle, or as starting for ever.",
    breaks=("fleet-silence-is-spawning",),
)
async def test_an_agent_that_is_never_heard_of_reads_no_signal(tmp_path: Path) -> None:
    with fleet(tmp_path, RUNTIME) as subject:
        mute = subject.spawn(steps="silent")
        heard = subject.spawn()
        subject.until(mute, lambda row: row["is_alive"] and row["saga"] is None)
        subject.until(heard, settled)
        assert subject.session(mute)["status"] == "spawning"
        launched = parse_stamp(subject.launch(mute)["alive_at"])
        subject.daemon.stop()
        for beyond, status in ((-1, "spawning"), (1, "no_signal")):
            now = stamp(launched + timedelta(seconds=UNHEARD + beyond))
            assert await _statuses(subject, now) == {mute: status, heard: "idle"}


async def _statuses(subject: Fleet, now: str) -> dict[str, str]:
    """What is shown at another time than this."""
    from holdfast.app import packs

    with hold_data(subject.daemon.data) as lock:
        store = await open_store(StoreConfig(data=subject.daemon.data, packs=packs()), lock)
        try:
            rows = await store.read(lambda reader: views.sessions(reader, "", 10, None, now))
        finally:
            await store.close()
    return {row["id"]: row["status"] for row in rows}
