"""What the routes of the core tell: health, status, pages of changes, acts and lists."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from served import Served


async def settled(served: Served) -> None:
    """Wait until the feed has what is committed."""
    newest = await served.head()
    async with asyncio.timeout(20):
        while served.deps.feed.position < newest:
            await served.deps.feed.advanced(served.deps.feed.position)


async def test_alive_ready_and_the_matrix_are_told(served: Served) -> None:
    anybody = served.client()
    assert (await anybody.get("/healthz")).json() == {"status": "ok"}
    ready = await anybody.get("/readyz")
    assert ready.status_code == 200
    body = ready.json()
    assert set(body) == {"overall", "service", "roles", "version", "commit_id", "checks"}
    assert body["overall"] == "ok"
    for check in body["checks"]:
        assert set(check) == {"name", "status", "critical", "latency_ms", "last_check_at", "last_ok_at"}
    matrix = (await served.boss.get("/readyz/matrix")).json()["items"]
    assert {(row["name"], row["critical"]) for row in matrix} == {(c["name"], c["critical"]) for c in body["checks"]}


async def test_the_status_names_the_store_and_its_head(served: Served) -> None:
    status = (await served.boss.get("/api/v1/status")).json()
    assert status["store"] == {"uuid": served.store.uuid, "engine": served.store.dialect, "effects_held": False}
    assert status["overall"] == "ok"


async def test_changes_come_in_pages_that_join_without_a_seam(served: Served) -> None:
    for number in range(5):
        await served.token("read", f"n{number}")
    await settled(served)
    found, after = [], "0"
    while True:
        page = (await served.boss.get("/api/v1/changes", params={"after": after, "limit": 3})).json()
        found += page["items"]
        assert page["head"] >= found[-1]["seq"]
        assert page["oldest"] == 1
        if page["next"] is None:
            break
        after = f"{served.store.uuid}:{page['next']}"
    assert [change["seq"] for change in found] == sorted({change["seq"] for change in found})
    assert {"token_created", "audit_created"} == {change["event"] for change in found}
    assert found[-1]["seq"] == await served.head()
    only = (await served.boss.get("/api/v1/changes", params={"event": "token_created", "limit": 500})).json()
    assert [c for c in found if c["event"] == "token_created"] == only["items"]


async def test_a_position_of_another_store_is_a_conflict(served: Served) -> None:
    answer = await served.boss.get("/api/v1/changes", params={"after": "0123456789abcdef:3"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")


async def test_acts_are_on_record_with_who_what_and_why(served: Served) -> None:
    token_id, secret = await served.token("admin", "second")
    made = await served.client(secret).post("/api/v1/tokens", json={"name": "third", "scope": "read"})
    acts = (await served.boss.get("/api/v1/audit")).json()["items"]
    assert acts[0] | {"seq": 0, "at": ""} == {
        "seq": 0,
        "kind": "token.created",
        "subject": made.json()["id"],
        "detail": {"name": "third", "scope": "read"},
        "actor": f"token:{token_id}",
        "cause": made.headers["x-request-id"],
        "at": "",
    }
    mine = (await served.boss.get("/api/v1/audit", params={"actor": f"token:{token_id}"})).json()["items"]
    assert mine == acts[:1]
    first = (await served.boss.get("/api/v1/audit", params={"limit": 1})).json()
    rest = (await served.boss.get("/api/v1/audit", params={"cursor": first["next"]})).json()
    assert first["items"] + rest["items"] == acts


async def test_an_agent_acts_under_the_name_of_its_session(served: Served) -> None:
    _, secret = await served.token("session:s1")
    answer = await served.client(secret).post("/test/sessions/s1/notes")
    assert answer.json() == {"session": "s1"}
    act = (await served.boss.get("/api/v1/audit", params={"limit": 1})).json()["items"][0]
    assert (act["actor"], act["kind"]) == ("session:s1", "session.noted")


async def test_a_list_comes_in_pages_that_join_without_a_seam(served: Served) -> None:
    ids = [(await served.token("read", f"n{number}"))[0] for number in range(7)]
    found: list[str] = []
    cursor = None
    while True:
        page = (
            await served.boss.get("/api/v1/tokens", params={"limit": 3} | ({"cursor": cursor} if cursor else {}))
        ).json()
        assert set(page) == {"items", "next"}
        found += [row["id"] for row in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert set(found) >= set(ids)
    assert found == sorted(set(found))
