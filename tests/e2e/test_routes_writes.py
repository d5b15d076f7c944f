"""Writes over HTTP: whole or not at all, once per Idempotency-Key, and the projects that are written."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from holdfast.core import faults
from holdfast.core.errors import HoldfastError
from holdfast.core.health.checks import Check
from holdfast.core.idempotency import KEPT_SECONDS, SQL, Keeper, Kept, Key
from holdfast.core.store.port import Act
from holdfast.core.store.sql import query
from holdfast.core.web.writes import COMMITTED
from holdfast.fleet.repository import Repository, look_at
from manual_clock import ManualClock
from served import Served, git, serving

if TYPE_CHECKING:
    from conftest import StoreMaker
    from holdfast.core.store.port import Unit

PROJECTS = "/api/v1/projects"


async def rows(served: Served, table: str) -> list[dict[str, Any]]:
    everything = query("everything", sqlite=f"SELECT * FROM {table}")
    return await served.store.read(lambda reader: reader.all(everything))


# --- idempotency -----------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "Identical writes under one Idempotency-Key are done once, also when they arrive at the same moment.",
    against="A client that retries what was slow, and now has two of it.",
    breaks=("idempotency-does-it-again",),
)
async def test_identical_writes_at_the_same_moment_are_done_once(served: Served) -> None:
    body = {"name": "once", "scope": "read"}
    headers = {"idempotency-key": "same"}
    answers = await asyncio.gather(*(served.boss.post("/api/v1/tokens", json=body, headers=headers) for _ in range(12)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert sum(row["name"] == "once" for row in await rows(served, "tokens")) == 1


@pytest.mark.guards(
    "A write whose answer was lost is answered when it is repeated under its key, not done again.",
    against="A crash between the commit and the answer that makes a retry do everything twice.",
    breaks=("idempotency-keeps-nothing",),
)
async def test_a_write_whose_answer_was_lost_is_answered_when_it_is_repeated(served: Served) -> None:
    body = {"path": str(served.repository("lost"))}
    headers = {"idempotency-key": "k1"}
    with faults.armed(COMMITTED, faults.raising(faults.FaultRaisedError("the answer is lost"))):
        lost = await served.boss.post(PROJECTS, json=body, headers=headers)
    assert lost.status_code == 500
    before = await served.head()
    again = await served.boss.post(PROJECTS, json=body, headers=headers)
    assert (again.status_code, again.json()["id"]) == (201, "lost")
    assert again.headers["idempotency-replayed"] == "true"
    assert await served.head() == before


async def test_a_key_that_comes_with_another_request_is_refused_and_changes_nothing(served: Served) -> None:
    headers = {"idempotency-key": "k1"}
    await served.boss.post("/api/v1/tokens", json={"name": "one", "scope": "read"}, headers=headers)
    before = await served.head()
    other = {"path": str(served.repository("other"))}
    for path, body in (("/api/v1/tokens", {"name": "two", "scope": "read"}), (PROJECTS, other)):
        answer = await served.boss.post(path, json=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid")
    assert await served.head() == before


async def test_a_key_belongs_to_its_token(served: Served) -> None:
    _, other = await served.token("admin")
    headers = {"idempotency-key": "k1"}
    body = {"name": "one", "scope": "read"}
    first = await served.boss.post("/api/v1/tokens", json=body, headers=headers)
    second = await served.client(other).post("/api/v1/tokens", json=body, headers=headers)
    assert first.json()["id"] != second.json()["id"]


async def test_a_write_that_was_refused_leaves_its_key_free(served: Served) -> None:
    path = served.folder / "late"
    headers = {"idempotency-key": "k1"}
    refused = await served.boss.post(PROJECTS, json={"path": str(path)}, headers=headers)
    assert refused.status_code == 422
    served.repository("late")
    assert (await served.boss.post(PROJECTS, json={"path": str(path)}, headers=headers)).status_code == 201


async def test_an_answer_without_a_body_is_repeated_too(served: Served) -> None:
    await served.boss.post(PROJECTS, json={"path": str(served.repository("gone"))})
    headers = {"idempotency-key": "k1"}
    first = await served.boss.delete(f"{PROJECTS}/gone", headers=headers)
    again = await served.boss.delete(f"{PROJECTS}/gone", headers=headers)
    assert [(answer.status_code, answer.content) for answer in (first, again)] == [(204, b"")] * 2


async def test_a_key_that_is_none_is_refused(served: Served) -> None:
    before = await served.head()
    for key in ("", "a b", "x" * 201, "\xe9"):
        answer = await served.boss.post(
            "/api/v1/tokens", json={"name": "n", "scope": "read"}, headers={"idempotency-key": key.encode("latin-1")}
        )
        assert answer.status_code == 400, key
    assert await served.head() == before


async def test_old_answers_are_forgotten_and_young_ones_are_not(make_store: StoreMaker) -> None:
    clock = ManualClock()
    store = await make_store(clock=clock)
    keeper = Keeper(clock)

    def keep(key: str) -> Any:
        def work(unit: Unit) -> Kept | None:
            found = keeper.claim(unit, Key(key, "tok", "hash"))
            if found is None:
                keeper.keep(unit, Key(key, "tok", "hash"), Kept(200, "{}"))
            return found

        return work

    act = Act("token:tok", "req")
    await store.unit(act, keep("old"))
    clock.advance(KEPT_SECONDS)
    await store.unit(act, keep("young"))
    clock.advance(1)
    await store.unit(act, keeper.forget_old)
    assert await store.unit(act, keep("young")) == Kept(200, "{}")
    assert await store.read(lambda reader: reader.one(SQL.kept, token_id="tok", key="old")) is None


def test_old_answers_are_looked_for_at_some_writes_only() -> None:
    keeper = Keeper(ManualClock())
    assert 0 < sum(keeper.due() for _ in range(1_000)) < 20


@pytest.mark.guards(
    "A write and the record of the act are one: neither is there without the other.",
    against="An audit that misses what happened in a crash, or tells of what never happened.",
    breaks=("writes-forget-the-act",),
)
async def test_a_write_and_its_record_are_one(served: Served) -> None:
    answer = await served.boss.post(PROJECTS, json={"path": str(served.repository("one"))})
    cause = answer.headers["x-request-id"]
    mine = [row for row in await rows(served, "change_log") if row["cause"] == cause]
    assert [row["event"] for row in mine] == ["project_created", "audit_created"]
    assert len({(row["actor"], row["at"]) for row in mine}) == 1
    clash = await served.boss.post(PROJECTS, json={"path": str(served.folder / "one")})
    assert clash.status_code == 409
    assert clash.headers["x-request-id"] not in {row["cause"] for row in await rows(served, "change_log")}


# --- projects --------------------------------------------------------------------------------------------------


async def test_a_project_is_added_shown_changed_and_removed(served: Served) -> None:
    path = served.repository("My Repo_1")
    added = await served.boss.post(PROJECTS, json={"path": str(path), "checks": ["make check"]})
    assert added.status_code == 201
    project = added.json()
    assert project | {"created_at": ""} == {
        "id": "my-repo-1",
        "path": str(path),
        "agent": None,
        "forge": "local",
        "checks": ["make check"],
        "max_sessions": 4,
        "created_at": "",
        "base": None,
        "setup": [],
        "copy": [],
        "link": [],
        "options": {},
        "checks_how": "in_order",
        "merge_by": "person",
        "merge_how": "merge",
        "reactions": {},
    }
    assert (await served.boss.get(f"{PROJECTS}/my-repo-1")).json() == project
    assert (await served.boss.get(PROJECTS)).json() == {"items": [project], "next": None}
    change = {"agent": "codex", "max_sessions": 2, "checks": []}
    changed = await served.boss.patch(f"{PROJECTS}/my-repo-1", json=change)
    assert changed.json() == project | change
    assert (await served.boss.patch(f"{PROJECTS}/my-repo-1", json={"agent": None})).json()["agent"] is None
    assert (await served.boss.delete(f"{PROJECTS}/my-repo-1")).status_code == 204
    assert (await served.boss.get(f"{PROJECTS}/my-repo-1")).status_code == 404
    events = [row["event"] for row in await rows(served, "change_log") if row["scope"] == "my-repo-1"]
    assert events == ["project_created", "project_updated", "project_updated", "project_removed"]


async def test_a_change_to_what_is_there_already_changes_nothing(served: Served) -> None:
    await served.boss.post(PROJECTS, json={"path": str(served.repository("one"))})
    before = await served.head()
    for body in ({}, {"forge": "local", "agent": None, "checks": [], "max_sessions": 4}):
        assert (await served.boss.patch(f"{PROJECTS}/one", json=body)).status_code == 200
    assert await served.head() == before


async def test_a_folder_that_agents_cannot_work_in_is_refused_and_changes_nothing(served: Served) -> None:
    bare = served.repository("bare", bare=True)
    empty = served.repository("empty", commit=False)
    whole = served.repository("whole")
    plain = served.folder / "plain"
    plain.mkdir()
    file = served.folder / "file"
    file.touch()
    loop = served.folder / "loop"
    loop.symlink_to(loop)
    before = await served.head()
    for path, why in (
        (bare, "bare"),
        (empty, "no commit"),
        (plain, "not a git repository"),
        (file, "not a folder"),
        (loop, "not a folder"),
        (whole / ".git", "work tree"),
        ("relative/path", "absolute"),
        ("/" + "x" * 3_000, "not a folder"),
        (served.folder / "nothing", "not a folder"),
    ):
        answer = await served.boss.post(PROJECTS, json={"path": str(path)})
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid"), path
        assert why in answer.json()["error"]["message"], path
    assert await served.head() == before


async def test_values_that_cannot_be_are_refused_and_change_nothing(served: Served) -> None:
    path = str(served.repository("one"))
    await served.boss.post(PROJECTS, json={"path": path})
    other = str(served.repository("two"))
    before = await served.head()
    wrong: tuple[dict[str, Any], ...] = (
        {"id": "Upper"},
        {"id": "-x"},
        {"id": "x" * 41},
        {"id": "a\n"},
        {"id": ""},
        {"agent": "../x"},
        {"forge": "gitlab"},
        {"checks": "make"},
        {"checks": [""]},
        {"checks": ["a\nb"]},
        {"checks": ["x"] * 21},
        {"max_sessions": 0},
        {"max_sessions": 1_001},
        {"max_sessions": 1.5},
        {"max_sessions": "4"},
        {"max_sessions": 10**30},
    )
    for body in wrong:
        answer = await served.boss.post(PROJECTS, json={"path": other} | body)
        assert answer.status_code == 422, body
        if "id" not in body:
            assert (await served.boss.patch(f"{PROJECTS}/one", json=body)).status_code == 422, body
    for body in ({"id": "two"}, {"path": other}, {"created_at": "x"}):
        assert (await served.boss.patch(f"{PROJECTS}/one", json=body)).status_code == 422, body
    assert await served.head() == before


async def test_a_repository_and_an_id_are_registered_once(served: Served) -> None:
    path = served.repository("one")
    inside = path / "sub"
    inside.mkdir()
    link = served.folder / "link"
    link.symlink_to(path)
    assert (await served.boss.post(PROJECTS, json={"path": str(inside)})).json()["path"] == str(path)
    before = await served.head()
    for same in (path, inside, link, f"{path}/../one/"):
        answer = await served.boss.post(PROJECTS, json={"path": str(same), "id": "other"})
        assert answer.status_code == 409
        assert answer.json()["error"]["details"] == {"project": "one"}
    taken = await served.boss.post(PROJECTS, json={"path": str(served.repository("two")), "id": "one"})
    assert taken.status_code == 409
    assert await served.head() == before


async def test_the_same_repository_added_at_the_same_moment_is_added_once(served: Served) -> None:
    path = str(served.repository("one"))
    answers = await asyncio.gather(*(served.boss.post(PROJECTS, json={"path": path}) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    assert len(await rows(served, "projects")) == 1


def test_a_project_id_is_made_from_any_folder_name() -> None:
    for name, made in (("Repo", "repo"), ("a_b.c", "a-b-c"), ("--x--", "x"), ("日本", ""), ("x" * 60, "x" * 40)):
        assert Repository(f"/home/{name}").id == made


def test_what_is_set_for_another_git_does_not_mislead_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        git(tmp_path / name, "init", "--quiet")
        git(tmp_path / name, "commit", "--quiet", "--allow-empty", "--message", "Begin")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "two" / ".git"))
    assert look_at(str(tmp_path / "one")).path == str(tmp_path / "one")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HoldfastError, match="git is not installed"):
        look_at(str(tmp_path / "one"))


# --- readiness -------------------------------------------------------------------------------------------------


class Patient:
    """A check that does as it is told."""

    def __init__(self, name: str, *, critical: bool) -> None:
        self.error: Exception | None = None
        self.runs = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.check = Check(name, "A check of the tests.", critical, self.run)

    async def run(self) -> None:
        """Count, wait, fail."""
        self.runs += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error


@pytest.mark.guards(
    "A critical check that fails makes the daemon not ready; any other makes it degraded.",
    against="Slow or broken extras that take healthy daemons out of service, or a broken store that does not.",
    breaks=("readiness-takes-all-as-critical",),
)
async def test_a_critical_failure_is_503_and_any_other_is_degraded(make_store: StoreMaker, tmp_path: Path) -> None:
    clock = ManualClock()
    vital, extra = Patient("vital", critical=True), Patient("extra", critical=False)
    async with serving(make_store, tmp_path, clock=clock, checks=(vital.check, extra.check)) as served:
        ask = served.client()

        async def ready() -> tuple[int, str, dict[str, Any]]:
            clock.advance(6)
            answer = await ask.get("/readyz")
            body = answer.json()
            return answer.status_code, body["overall"], {check["name"]: check for check in body["checks"]}

        assert (await ready())[:2] == (200, "ok")
        extra.error = HoldfastError("the extra has no password=hunter2 for you")
        status, overall, checks = await ready()
        assert (status, overall, checks["extra"]["status"]) == (200, "degraded", "failed")
        assert checks["extra"]["last_error"] == "the extra has no password=[redacted] for you"
        assert checks["extra"]["last_ok_at"] < checks["extra"]["last_check_at"]
        vital.error = OSError("the disk is gone")
        assert (await ready())[:2] == (503, "failed")
        vital.error = extra.error = None
        assert (await ready())[:2] == (200, "ok")


@pytest.mark.guards(
    "Readiness is answered from memory: checks run once for many who ask, and none when nobody asks.",
    against="Probes that pile up behind a slow check, and a daemon that is never idle.",
    breaks=("readiness-checks-for-everybody",),
)
async def test_checks_run_once_for_many_and_not_at_all_for_nobody(make_store: StoreMaker, tmp_path: Path) -> None:
    clock = ManualClock()
    slow = Patient("slow", critical=False)
    async with serving(make_store, tmp_path, clock=clock, checks=(slow.check,)) as served:
        ask = served.client()
        assert slow.runs == 1
        await asyncio.gather(*(ask.get("/readyz") for _ in range(5)))
        assert slow.runs == 1
        clock.advance(3_600)
        assert slow.runs == 1
        slow.gate.clear()
        answers = await asyncio.gather(*(ask.get("/readyz") for _ in range(5)))
        assert [answer.json()["overall"] for answer in answers] == ["ok"] * 5
        assert slow.runs == 2
        slow.gate.set()
