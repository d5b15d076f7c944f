"""Signals that come by a call: their hooks have spooled them before, and they are heard once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdfast.fleet.fleet import Fleet
from holdfast.fleet.sessions import door
from served import Served
from shops import SESSIONS, alive, project, rows, spawn


@pytest.mark.guards(
    "A signal that was posted is not heard once more from the spool; what could not be posted is.",
    against="All that an agent says is written twice: the next look reads it again and repeats its unit of work.",
    breaks=("signals-are-heard-twice",),
)
async def test_a_signal_that_was_posted_is_not_read_from_the_spool(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    await project(served)
    await spawn(served, prompt=None)
    await alive(served, "shop-1")
    fleet = served.deps.means.one(Fleet)
    path = fleet.spool.path("shop-1")
    said = [{"launch": 1, "seq": seq, "event": event, "detail": {}} for seq, event in ((10, "submit"), (11, "stop"))]

    def spooled(*signals: dict[str, Any]) -> None:
        more = {"agent": "scripted", "at": "2026-11-21T00:00:00.000000Z"}
        with path.open("a") as file:
            file.writelines(json.dumps(each | more) + "\n" for each in signals)

    spooled(*said)
    _, secret = await served.token("session:shop-1")
    for each in said:
        answer = await served.client(secret).post(f"{SESSIONS}/shop-1/signals", json=each)
        assert answer.json() == {"taken": "taken"}
    heard = []

    def hear(unit: Any, session: str, told: door.Said, source: str) -> door.Heard:
        heard.append(told.seq)
        return _hear(unit, session, told, source)

    _hear = door.hear
    monkeypatch.setattr(door, "hear", hear)
    before = await served.head()
    assert fleet.spool.pending() == ["shop-1"]
    assert await fleet.errands.drain("shop-1") == 0
    assert (heard, await served.head(), path.stat().st_size) == ([], before, 0)
    spooled({**said[0], "seq": 12})
    assert await fleet.errands.drain("shop-1") == 1
    assert heard == [12]
    sources = {row["seq"]: row["source"] for row in await rows(served, "signals")}
    assert sources == {10: "http", 11: "http", 12: "spool"}
