"""Sessions over HTTP: asked for, queued, shown, spoken to, heard, ended; refused in words, and never half made."""

from __future__ import annotations

from typing import Any

import pytest

from served import Served, git
from shops import SESSIONS, alive, project, rows, said, shown, spawn


@pytest.fixture(autouse=True)
def plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else runs on this machine, there is memory for sessions."""
    monkeypatch.setattr("holdfast.fleet.fleet.spare_memory_mb", lambda _keep: 1 << 30)


# --- start -----------------------------------------------------------------------------------------------------


async def test_a_session_is_asked_for_shown_and_on_record(served: Served) -> None:
    await project(served)
    made = await spawn(served, options={"steps": "turn:\nwork"})
    assert made.status_code == 201
    session = made.json()
    assert (session["id"], session["title"], session["branch"]) == ("shop-1", "Mend the door", "holdfast/shop-1")
    assert (session["state"], session["status"], session["is_alive"]) == ("not_started", "spawning", False)
    assert (session["launch"], session["queue_position"], session["pulls"]) == (0, None, [])
    assert (await shown(served, "shop-1")) == session
    assert (await served.boss.get(SESSIONS)).json() == {"items": [session], "next": None}
    (message,) = (await served.boss.get(f"{SESSIONS}/shop-1/messages")).json()["items"]
    assert (message["kind"], message["text"], message["state"]) == ("prompt", "Mend the door", "queued")
    acts = [row for row in await rows(served, "audit") if row["kind"] == "session.spawned"]
    assert [act["subject"] for act in acts] == ["shop-1"]
    (job,) = (await served.boss.get("/api/v1/propagations?kind=fleet.spawn")).json()["items"]
    assert job["key"] == "shop-1"


async def test_sessions_are_numbered_paged_and_narrowed_down(served: Served) -> None:
    await project(served)
    await project(served, "other")
    for name in ("shop", "other", "shop"):
        assert (await spawn(served, project=name)).status_code == 201
    first = (await served.boss.get(f"{SESSIONS}?limit=2")).json()
    rest = (await served.boss.get(f"{SESSIONS}?limit=2&cursor={first['next']}")).json()
    assert [row["id"] for row in first["items"] + rest["items"]] == ["other-1", "shop-1", "shop-2"]
    assert rest["next"] is None
    narrowed = (await served.boss.get(f"{SESSIONS}?project=shop&include=usage")).json()["items"]
    assert [(row["id"], row["usage"]) for row in narrowed] == [("shop-1", None), ("shop-2", None)]


@pytest.mark.guards(
    "A repeated request for a session is answered as the first time, whatever the first has changed.",
    against="A retry after a lost answer that is told that the branch is taken, by the very session it asked for.",
    breaks=("spawn-refuses-what-it-did",),
)
async def test_a_repeated_request_is_answered_though_its_branch_is_there_now(served: Served) -> None:
    await project(served)
    headers = {"idempotency-key": "once"}
    body = {"project": "shop", "branch": "feature/door"}
    first = await served.boss.post(SESSIONS, json=body, headers=headers)
    git(served.folder / "shop", "branch", "feature/door")  # as its worktree makes it
    again = await served.boss.post(SESSIONS, json=body, headers=headers)
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    status, words = said(await served.boss.post(SESSIONS, json=body))
    assert (status, "feature/door" in words) == (409, True)


@pytest.mark.parametrize(
    ("more", "status", "words"),
    [
        ({"project": "shed"}, 404, "holdfast project ls"),
        ({"agent": "script"}, 422, "'scripted'"),
        ({"agent": "command", "options": {"command": "/no/such/program"}}, 409, "not installed"),
        ({"branch": "taken"}, 409, "taken"),
        ({"branch": "../../etc"}, 422, "branch"),
        ({"branch": "-x"}, 422, "branch"),
        ({"branch": "a b"}, 422, "branch"),
        ({"base": "no-such-base"}, 422, "no-such-base"),
        ({"prompt": ""}, 422, "prompt"),
        ({"options": {"": 1}}, 422, "options"),
        ({"options": {"model": {"deep": 1}}}, 422, "options"),
        ({"title": "\u202e"}, 422, "title"),
        ({"kind": "boss"}, 422, "boss"),
        ({"options": []}, 422, "options"),
        ({"project": "../shop"}, 422, "project"),
    ],
    ids=lambda given: str(given)[:40],
)
async def test_what_cannot_be_started_is_refused_and_leaves_nothing(
    more: dict[str, Any], status: int, words: str, served: Served
) -> None:
    await project(served)
    git(served.folder / "shop", "branch", "taken")
    before = await served.head()
    refused = await spawn(served, **more)
    assert refused.status_code == status, refused.text
    assert words in said(refused)[1]
    assert await served.head() == before
    assert await rows(served, "session_numbers") == []


async def test_a_prompt_that_no_body_holds_is_refused(served: Served) -> None:
    await project(served)
    refused = await spawn(served, prompt="x" * 1_100_000)
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "too_large")


@pytest.mark.guards(
    "Sessions beyond the cap wait in a queue that shows their places and why they wait.",
    against="A session that nobody can tell whether it will ever start.",
    breaks=("sessions-hide-their-places",),
)
async def test_sessions_beyond_the_cap_wait_visibly_and_in_order(served: Served) -> None:
    await project(served, max_sessions=1)
    answers = [(await spawn(served)).json() for _ in range(3)]
    assert [one["status"] for one in answers] == ["spawning", "queued", "queued"]
    assert [one["queue_position"] for one in answers] == [None, 1, 2]
    assert all("1" in one["queue_reason"] for one in answers[1:])
    assert (await served.boss.post(f"{SESSIONS}/shop-2/kill")).status_code == 202
    assert (await shown(served, "shop-3"))["queue_position"] == 1
    killed = await shown(served, "shop-2")
    assert (killed["status"], killed["reason"], killed["queue_position"]) == ("killed", "manually_killed", None)


# --- end, go on, clean up --------------------------------------------------------------------------------------


async def test_what_cannot_be_asked_of_a_session_is_refused_in_words(served: Served) -> None:
    await project(served, max_sessions=1)
    await spawn(served)
    await alive(served, "shop-1")
    before = await served.head()
    for act, words in (("restore", "not ended"), ("cleanup", "holdfast kill")):
        status, why = said(await served.boss.post(f"{SESSIONS}/shop-1/{act}"))
        assert (status, words in why) == (409, True), why
    for act in ("kill", "restore", "cleanup"):
        assert said(await served.boss.post(f"{SESSIONS}/shop-9/{act}"))[0] == 404
    assert await served.head() == before
    for act in ("restore", "cleanup"):
        nothing = await served.boss.post(f"{SESSIONS}/{act}")
        assert (nothing.status_code, nothing.json()) == (202, {"sessions": []})
    assert "session.restored" not in {row["kind"] for row in await rows(served, "audit")}


async def test_the_end_of_a_session_is_asked_for_once_and_is_on_record(served: Served) -> None:
    await project(served)
    await spawn(served)
    await alive(served, "shop-1")
    asked = await served.boss.post(f"{SESSIONS}/shop-1/kill")
    assert (asked.status_code, asked.json()["is_alive"]) == (202, True)
    (act,) = [row for row in await rows(served, "audit") if row["kind"] == "session.killed"]
    assert act["subject"] == "shop-1"
    (job,) = (await served.boss.get("/api/v1/propagations?kind=fleet.kill")).json()["items"]
    assert job["key"] == "shop-1"


@pytest.mark.guards(
    "A project is not forgotten while a session of it lives, waits or has a worktree.",
    against="Sessions and work that nobody can find any more.",
    breaks=("projects-forget-their-sessions",),
)
async def test_a_project_in_use_is_kept(served: Served) -> None:
    await project(served, max_sessions=1)
    await spawn(served)
    await spawn(served)
    await alive(served, "shop-1")
    status, words = said(await served.boss.delete("/api/v1/projects/shop"))
    assert (status, "shop-1, shop-2" in words, "holdfast cleanup" in words) == (409, True, True)
    assert (await served.boss.get("/api/v1/projects/shop")).status_code == 200


# --- what is said ----------------------------------------------------------------------------------------------


async def test_messages_are_taken_and_paged_in_their_order(served: Served) -> None:
    await project(served)
    await spawn(served, prompt=None)
    texts = ["first", "quotes \" ' ` $(x)", "two\nlines\ttabbed", "\N{BUG} \u00e9", "x" * 200_000]
    for text in texts:
        taken = await served.boss.post(f"{SESSIONS}/shop-1/messages", json={"text": text})
        assert (taken.status_code, taken.json()["state"]) == (202, "queued")
    found: list[Any] = []
    cursor = ""
    while cursor is not None:
        page = (await served.boss.get(f"{SESSIONS}/shop-1/messages?limit=2{cursor and '&cursor='}{cursor}")).json()
        found += page["items"]
        cursor = page["next"]
    assert [one["text"] for one in found] == texts
    assert {row["kind"] for row in await rows(served, "audit")} >= {"message.sent"}


async def test_what_has_ended_is_not_spoken_to(served: Served) -> None:
    await project(served, max_sessions=1)
    await spawn(served)
    await spawn(served)
    await served.boss.post(f"{SESSIONS}/shop-2/kill")
    status, words = said(await served.boss.post(f"{SESSIONS}/shop-2/messages", json={"text": "hello?"}))
    assert (status, "holdfast restore shop-2" in words) == (409, True)
    assert said(await served.boss.post(f"{SESSIONS}/shop-9/messages", json={"text": "hello?"}))[0] == 404


@pytest.mark.guards(
    "What becomes of a signal is told, and what is refused of it is kept and counted.",
    against="Signals that vanish without a trace, and hooks that cannot tell.",
    breaks=("signals-are-all-taken",),
)
async def test_signals_are_fenced_and_kept_also_when_they_are_refused(served: Served) -> None:
    await project(served)
    for _ in range(2):
        await spawn(served, prompt=None)
    await alive(served, "shop-1")
    _, secret = await served.token("session:shop-1")
    agent = served.client(secret)
    where = f"{SESSIONS}/shop-1/signals"
    tries = [
        ({"launch": 1, "seq": 10, "kind": "working"}, "taken"),
        ({"launch": 1, "seq": 10, "kind": "working"}, "repeated"),
        ({"launch": 1, "seq": 9, "kind": "idle"}, "stale_seq"),
        ({"launch": 0, "seq": 11, "kind": "idle"}, "stale_launch"),
        ({"launch": 2, "seq": 12, "kind": "idle"}, "unknown_launch"),
        ({"launch": 1, "seq": 13, "event": "permission", "detail": {"tool": "rm"}}, "taken"),
        ({"launch": 1, "seq": 14, "event": "no-such-event", "detail": {}}, "noted"),
    ]
    for body, taken in tries:
        answer = await agent.post(where, json=body)
        assert (answer.status_code, answer.json()) == (202, {"taken": taken}), body
    session = await shown(served, "shop-1")
    assert (session["status"], session["activity"]["state"], session["rejected"]) == ("needs_input", "blocked", 3)
    assert {row["taken"] for row in await rows(served, "signals")} >= {"taken", "stale_seq", "stale_launch"}
    other = await agent.post(f"{SESSIONS}/shop-2/signals", json=tries[0][0])
    assert other.status_code == 403
    for wrong in (
        {"launch": 1, "seq": 1},
        {"launch": 1, "seq": -1, "kind": "idle"},
        {"launch": 1, "seq": 1, "kind": "x"},
    ):
        assert (await agent.post(where, json=wrong)).status_code == 422
    lost = await served.boss.post(f"{SESSIONS}/shop-9/signals", json=tries[0][0])
    assert lost.status_code == 404
