"""Sessions over HTTP, looked at: what happened, why they are shown as they are, output, kept work, agents."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest

from holdfast.core.store.sql import query
from holdfast.fleet.fleet import Fleet
from holdfast.fleet.sessions import door
from served import Served
from shops import ACT, SESSIONS, alive, project, said, spawn


@pytest.fixture(autouse=True)
def plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else runs on this machine, there is memory for sessions."""
    monkeypatch.setattr("holdfast.fleet.fleet.spare_memory_mb", lambda _keep: 1 << 30)


# --- how it looks ----------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "The pages of a timeline hold everything once, also where much happened in one moment.",
    against="A page that begins behind all that shares its last moment, or with it again.",
    breaks=("timeline-skips-a-moment",),
)
async def test_a_timeline_is_the_same_in_pages_of_any_size(served: Served) -> None:
    await project(served)
    await spawn(served)
    await alive(served, "shop-1")

    def all_at_once(unit: Any) -> None:
        for seq in range(20, 32):
            kind: Any = "working" if seq % 2 else "idle"
            door.hear(unit, "shop-1", door.Said(1, seq, kind, None, f"step {seq}"), "http")

    await served.store.unit(ACT, all_at_once)
    whole = (await served.boss.get(f"{SESSIONS}/shop-1/timeline")).json()
    assert whole["next"] is None
    assert [one["at"] for one in whole["items"]] == sorted((one["at"] for one in whole["items"]), reverse=True)
    assert {one["source"] for one in whole["items"]} >= {"change", "signal", "message"}
    for size in (1, 3, 7):
        found: list[Any] = []
        cursor = ""
        while cursor is not None:
            page = (await served.boss.get(f"{SESSIONS}/shop-1/timeline?limit={size}{cursor}")).json()
            assert len(page["items"]) <= size
            found += page["items"]
            cursor = page["next"] and f"&cursor={page['next']}"
        assert found == whole["items"]
    for wrong in ("after-x", "after-1-2", "after-1-2--3", "after-99999999999999999999999-1-1"):
        assert (await served.boss.get(f"{SESSIONS}/shop-1/timeline?cursor={wrong}")).status_code == 400


async def test_a_status_is_explained_with_its_sources_and_ages(served: Served) -> None:
    await project(served)
    await spawn(served)
    await alive(served, "shop-1")
    await served.boss.post(f"{SESSIONS}/shop-1/signals", json={"launch": 1, "seq": 5, "kind": "working"})
    explained = (await served.boss.get(f"{SESSIONS}/shop-1/explain")).json()
    assert (explained["status"], explained["axis"], explained["quarantine"]) == ("working", "activity", None)
    assert explained["asked"][-1]["status"] == "working"
    (activity,) = [one for one in explained["known"] if one["what"] == "activity working"]
    assert (activity["source"], activity["age"] >= 0) == ("said by a signal", True)
    assert any("said by a signal" in line for line in explained["lines"])


async def test_recorded_output_is_read_by_offsets_that_stay(served: Served) -> None:
    await project(served)
    await spawn(served)
    empty = (await served.boss.get(f"{SESSIONS}/shop-1/output")).json()
    assert (empty["data"], empty["next"]) == ("", 0)
    recording = served.deps.means.one(Fleet).recording("shop-1")
    prefix = recording.begin()
    prefix.with_name(prefix.name + ".000000000").write_bytes(b"hello \x1b[1m\xff world")

    async def read(words: str) -> tuple[bytes, int]:
        found = (await served.boss.get(f"{SESSIONS}/shop-1/output{words}")).json()
        return b64decode(found["data"]), found["next"]

    assert await read("?after=0&bytes=6") == (b"hello ", 6)
    assert await read("?after=6") == (b"\x1b[1m\xff world", 17)
    assert await read("?bytes=5") == (b"world", 17)
    assert await read("?after=17") == (b"", 17)


async def test_what_does_not_live_has_no_terminal_and_no_worktree(served: Served) -> None:
    await project(served)
    await spawn(served)
    for look in ("screen", "attach", "diff"):
        status, words = said(await served.boss.get(f"{SESSIONS}/shop-1/{look}"))
        assert (status, "shop-1" in words, "holdfast" in words) == (409, True, True)
        assert said(await served.boss.get(f"{SESSIONS}/shop-9/{look}"))[0] == 404


# --- kept work and agents --------------------------------------------------------------------------------------

KEEP = query(
    "keep",
    sqlite="INSERT INTO kept_work (ref, session, project, repository, branch, commit_id, head, files, bytes, kept_at) "
    "VALUES (:ref, :session, 'shop', '/nowhere', NULL, 'c', 'h', 1, 2, :at)",
)


async def test_kept_work_is_paged_and_what_is_not_kept_is_not_put_back(served: Served) -> None:
    def keep(unit: Any) -> None:
        for session, number in (("shop-1", 1), ("shop-1", 2), ("shop-2", 1)):
            unit.run(KEEP, ref=f"refs/holdfast/kept/{session}/{number}", session=session, at=unit.at)

    await served.store.unit(ACT, keep)
    found: list[str] = []
    cursor = ""
    while cursor is not None:
        page = (await served.boss.get(f"/api/v1/kept?limit=1{cursor}")).json()
        found += [row["ref"].removeprefix("refs/holdfast/kept/") for row in page["items"]]
        cursor = page["next"] and f"&cursor={page['next']}"
    assert found == ["shop-1/1", "shop-1/2", "shop-2/1"]
    assert len((await served.boss.get("/api/v1/kept?session=shop-1")).json()["items"]) == 2
    assert (await served.boss.get("/api/v1/kept?project=other")).json() == {"items": [], "next": None}
    tries: tuple[tuple[dict[str, str], int], ...] = (
        ({"ref": "refs/holdfast/kept/shop-9/1"}, 404),
        ({"ref": "refs/heads/main"}, 422),
        ({"ref": "refs/holdfast/kept/../../heads/main"}, 422),
        ({"ref": "refs/holdfast/kept/shop-1/1", "path": "somewhere"}, 422),
    )
    before = await served.head()
    for body, status in tries:
        assert (await served.boss.post("/api/v1/kept/restore", json=body)).status_code == status, body
    assert await served.head() == before


async def test_agents_are_listed_with_how_to_get_them(served: Served) -> None:
    whole = (await served.boss.get("/api/v1/agents")).json()
    names = [one["name"] for one in whole["items"]]
    assert names == sorted(names)
    assert set(names) == {"scripted", "command", "claude-code", "codex", "gemini", "opencode"}
    assert all(one["install"] or one["path"] for one in whole["items"])
    first = (await served.boss.get("/api/v1/agents?limit=4")).json()
    rest = (await served.boss.get(f"/api/v1/agents?limit=4&cursor={first['next']}")).json()
    assert first["items"] + rest["items"] == whole["items"]
