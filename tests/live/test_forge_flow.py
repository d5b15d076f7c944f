"""The life of a pull on the local forge: when it opens, what people say to it, what its merge and its end bring."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import StoreMaker
from forging import ACT, KILLS, PACKS, RESTED, Forge, check_of, commit, over
from holdfast.core.errors import Conflict, NotFound
from holdfast.core.store.port import Row
from holdfast.fleet.forges import asking
from holdfast.fleet.pulls.status import status
from holdfast.fleet.sessions import door
from repositories import git


@pytest.fixture
def engine() -> str:
    return "sqlite"


@pytest.fixture
async def forge(make_store: StoreMaker, tmp_path: Path) -> Forge:
    return Forge(await make_store(packs=PACKS), tmp_path)


async def kills(forge: Forge) -> list[str]:
    rows: list[Row] = await forge.read(lambda reader: reader.all(KILLS))
    return [row["payload"] for row in rows]


async def settled(forge: Forge, session: str) -> bool:
    facts = await forge.read(lambda reader: door.need(reader, session)[1])
    return facts.settled_at is not None


# --- it opens ----------------------------------------------------------------------------------------------------


async def test_a_pull_opens_when_the_agent_says_that_it_is_done(forge: Forge) -> None:
    await forge.project("true")
    session = await forge.session()
    head = commit(forge.tree(session), "work", work="1\n")
    async with forge.up():
        await forge.says(session, "working")
        await forge.says(session, "done")
        pull = await forge.until(over)
        assert (pull.session, pull.head, pull.title, pull.base) == (session, head, "Task 1", "main")
        assert pull.opened_by == f"session:{session}"
        assert status(pull) == "mergeable"


@pytest.mark.guards(
    "An agent that rests has a minute to go on before its branch is pulled, and one that has gone on is left alone.",
    against="A pull opens, and checks run, at every pause of an agent that is in the middle of its work.",
    breaks=("forge-opens-at-every-pause",),
)
async def test_a_pull_opens_when_the_agent_has_rested_for_a_minute(forge: Forge) -> None:
    await forge.project()
    session = await forge.session()
    commit(forge.tree(session), "work", work="1\n")
    async with forge.up():
        await forge.says(session, "working")
        await forge.says(session, "idle")
        (owed,) = await forge.owed()
        assert owed["state"] == "pending"
        await forge.hurry(session)
        await forge.owes(lambda rows: [row["state"] for row in rows] == ["waiting"])
        assert await forge.pulls(session) == ()
        await forge.says(session, "working")
        await forge.hurry(session)
        await forge.quiet()
        assert await forge.pulls(session) == ()
        await forge.says(session, "idle")
        past = "2026-01-01T00:00:00.000000Z"
        await forge.store.unit(ACT, lambda unit: unit.run(RESTED, id=session, at=past))
        await forge.hurry(session)
        assert (await forge.until(over)).head


async def test_a_person_opens_a_pull_at_any_time_and_twice_is_once(forge: Forge) -> None:
    await forge.project()
    session = await forge.session()
    commit(forge.tree(session), "work", work="1\n")
    async with forge.up():
        await forge.says(session, "working")
        for _ in range(2):
            await forge.store.unit(ACT, lambda unit: asking.open_pull(unit, door.need(unit, session)[0]))
            await forge.quiet()
        (pull,) = await forge.pulls(session)
        assert pull.opened_by == "token:test"


@pytest.mark.guards(
    "What was merged is not pulled once more, whichever way it was merged; new work is a pull of its own.",
    against="A squash leaves the branch ahead of its base for ever, and every pause opens the same pull again.",
    breaks=("forge-pulls-what-was-merged",),
)
async def test_what_was_squashed_is_not_pulled_again_and_new_work_is(forge: Forge) -> None:
    await forge.project("true")
    async with forge.up():
        await forge.opened()
        await forge.says("web-1", "working")
        await forge.merge(how="squash")
        await forge.until(lambda pull: pull.state == "merged")
        await forge.says("web-1", "done")
        await forge.quiet()
        assert len(await forge.pulls("web-1")) == 1
        await forge.says("web-1", "working")
        commit(forge.tree("web-1"), "more", more="1\n")
        await forge.says("web-1", "done")
        assert (await forge.until(over, 2)).state == "open"


# --- people ------------------------------------------------------------------------------------------------------


async def test_what_people_say_stands_with_its_pull(forge: Forge) -> None:
    await forge.project()
    async with forge.up():
        await forge.opened()
        said = await forge.ask(lambda unit, pull: asking.comment(unit, pull, "ann", "why?", path="work1", line=1))
        await forge.ask(lambda unit, pull: asking.comment(unit, pull, "bob", "indeed", thread=said.thread))
        await forge.ask(lambda unit, pull: asking.review(unit, pull, "ann", "request_changes", "mend it"))
        pull = await forge.pull()
        assert status(pull) == "changes_requested"
        assert [(each.author, each.path, each.state) for each in pull.comments] == [
            ("ann", "work1", "open"), ("bob", None, "open"), ("ann", None, "open"),
        ]  # fmt: skip
        with pytest.raises(Conflict, match="Changes are requested"):
            await forge.merge()
        await forge.ask(lambda unit, pull: asking.resolve_thread(unit, pull, said.thread))
        await forge.ask(lambda unit, pull: asking.review(unit, pull, "ann", "approve", ""))
        pull = await forge.pull()
        assert (pull.review, {each.state for each in pull.comments}) == ("approved", {"resolved"})
        with pytest.raises(NotFound, match="no thread"):
            await forge.ask(lambda unit, pull: asking.resolve_thread(unit, pull, "nothing"))


async def test_a_closed_pull_ends_its_checks_and_is_no_merge(forge: Forge) -> None:
    await forge.project("sleep 600")
    session = await forge.session()
    commit(forge.tree(session), "work", work="1\n")
    async with forge.up():
        await forge.says(session, "done")
        await forge.until(lambda pull: [each.state for each in pull.head_checks] == ["running"])
        await forge.ask(lambda unit, pull: asking.close(unit, pull, "ann"))
        await forge.quiet()
        pull = await forge.pull()
        assert (pull.state, pull.reason) == ("closed", "It was closed by ann.")
        assert await kills(forge) == []
        with pytest.raises(Conflict, match="is closed"):
            await forge.merge()


# --- merges ------------------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "A merge that is asked for while checks run waits for them, and does not happen when they fail.",
    against="What is merged was never checked.",
    breaks=("forge-merges-unchecked",),
)
@pytest.mark.parametrize(("ends", "state"), [("exit 0", "merged"), ("exit 1", "open")])
async def test_a_merge_waits_for_the_checks(forge: Forge, tmp_path: Path, ends: str, state: str) -> None:
    gate = tmp_path / "gate"
    await forge.project(f"until test -e {gate}; do sleep 0.05; done; {ends}")
    session = await forge.session()
    commit(forge.tree(session), "work", work="1\n")
    async with forge.up():
        await forge.says(session, "done")
        await forge.until(lambda pull: [each.state for each in pull.head_checks] == ["running"])
        await forge.merge()
        await forge.owes(lambda rows: ("fleet.merge", "waiting") in [(row["kind"], row["state"]) for row in rows])
        gate.touch()
        pull = await forge.until(lambda pull: pull.wanted is None)
        assert pull.state == state
        assert (pull.refused is None) == (state == "merged")


@pytest.mark.guards(
    "What was checked against another base than the one it would land on is checked again first, and lands only then.",
    against="Two pulls that are each well, and break each other, land one after the other, and nobody is told.",
    breaks=("forge-lands-on-an-unchecked-base",),
)
async def test_of_two_pulls_that_break_each_other_one_lands(forge: Forge) -> None:
    await forge.project("test ! -e two || ! git cat-file -e $HOLDFAST_BASE:one")
    async with forge.up():
        first = await forge.opened(one="1\n")
        second = await forge.opened(2, two="2\n")
        assert (check_of(first).state, check_of(second).state) == ("passed", "passed")
        await forge.merge()
        await forge.merge(2)
        await forge.until(lambda pull: pull.state == "merged")
        left = await forge.until(lambda pull: pull.wanted is None, number=2)
    assert (left.state, check_of(left).state) == ("open", "failed")
    assert "failed" in str(left.refused)
    assert git(forge.repo, "ls-tree", "--name-only", "main").split().count("two") == 0


async def test_a_check_that_takes_its_own_folder_away_comes_to_its_end(forge: Forge) -> None:
    await forge.project('rm -rf "$PWD"; read line < /dev/null; exit 1', "true")
    async with forge.up():
        pull = await forge.opened()
    assert {check.name: check.state for check in pull.head_checks}["true"] in {"passed", "failed", "errored"}
    assert all(check.finished_at is not None for check in pull.head_checks)


async def test_a_merge_of_what_failed_is_refused_at_once(forge: Forge) -> None:
    await forge.project("exit 1")
    async with forge.up():
        pull = await forge.opened()
        assert check_of(pull).state == "failed"
        with pytest.raises(Conflict, match="failed: exit 1"):
            await forge.merge()


@pytest.mark.guards(
    "What a person was refused stays with the pull until they ask again, also when the base moves meanwhile.",
    against="A merge is refused, and a moment later nothing tells why it did not happen.",
    breaks=("forge-forgets-what-it-refused",),
)
async def test_a_refused_merge_says_why_on_its_pull_until_it_is_asked_again(forge: Forge) -> None:
    await forge.project()
    async with forge.up():
        await forge.opened()
        (forge.repo / "readme.md").write_text("not committed\n")
        await forge.merge()
        pull = await forge.until(lambda pull: pull.refused)
        assert (pull.state, pull.wanted) == ("open", None)
        assert "git -C" in (pull.refused or "")
        git(forge.repo, "checkout", "-q", "--", "readme.md")
        git(forge.repo, "commit", "-q", "--allow-empty", "-m", "elsewhere")
        moved = await forge.until(lambda now: now.base_commit != pull.base_commit)
        assert moved.refused == pull.refused
        await forge.merge()
        assert (await forge.until(lambda pull: pull.state == "merged")).refused is None


@pytest.mark.guards(
    "By policy a pull is merged when its agent is done, its checks are well and nobody asks for changes; no sooner.",
    against="A policy merges what is half done, fails, or is under review.",
    breaks=("forge-policy-merges-anything",),
)
async def test_by_policy_a_pull_is_merged_when_nothing_is_open(forge: Forge) -> None:
    await forge.project("test -f good", merge_by="policy", merge_how="squash")
    async with forge.up():
        pull = await forge.opened()
        assert (pull.wanted, check_of(pull).state) == (None, "failed")
        await forge.says("web-1", "working")
        await forge.ask(lambda unit, pull: asking.review(unit, pull, "ann", "request_changes", "no"))
        head = commit(forge.tree("web-1"), "good", good="1\n")
        await forge.until(lambda pull: pull.head == head and over(pull))
        await forge.says("web-1", "done")
        await forge.quiet()
        assert (await forge.pull()).wanted is None
        await forge.ask(lambda unit, pull: asking.review(unit, pull, "ann", "approve", ""))
        merged = await forge.until(lambda pull: pull.state == "merged")
        assert git(forge.repo, "log", "--format=%s", "-1") == "Task 1 (web.1)"
        assert merged.merge_commit == git(forge.repo, "rev-parse", "main")


# --- what follows ------------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "A session whose pulls are all merged is ended for that, once, when its agent rests; one merged of several, one "
    "closed, or an agent at work ends nothing.",
    against="One merged pull of several ends the session, or a closed one counts for a merge.",
    breaks=("forge-ends-sessions-too-soon",),
)
async def test_a_session_ends_when_all_its_pulls_are_merged_and_its_agent_rests(forge: Forge) -> None:
    await forge.project()
    async with forge.up():
        await forge.opened()
        await forge.says("web-1", "working")
        await forge.merge()
        await forge.until(lambda pull: pull.state == "merged")
        await forge.quiet()
        assert await kills(forge) == []
        commit(forge.tree("web-1"), "more", more="1\n")
        await forge.says("web-1", "done")
        await forge.until(over, 2)
        await forge.quiet()
        assert await kills(forge) == []
        await forge.ask(lambda unit, pull: asking.close(unit, pull, "ann"), 2)
        await forge.quiet()
        assert await kills(forge) == []
        await forge.says("web-1", "working")
        commit(forge.tree("web-1"), "yet more", yet="1\n")
        await forge.says("web-1", "done")
        await forge.until(over, 3)
        await forge.merge(3)
        await forge.until(lambda pull: pull.state == "merged", 3)
        await forge.quiet()
        assert await kills(forge) == []


async def test_a_session_whose_only_pull_is_merged_by_hand_ends(forge: Forge) -> None:
    await forge.project()
    async with forge.up():
        await forge.opened()
        git(forge.repo, "merge", "-q", "--no-edit", "holdfast/web-1")
        await forge.until(lambda pull: pull.state == "merged")
        await forge.quiet()
        (payload,) = await kills(forge)
        assert '"reason":"pr_merged"' in payload


@pytest.mark.parametrize(
    ("check", "is_settled"), [("true", True), ("false", False), (None, True)], ids=["well", "failed", "without"]
)
async def test_a_session_is_settled_when_it_owes_nothing(forge: Forge, check: str | None, is_settled: bool) -> None:
    await forge.project(*([check] if check else []))
    async with forge.up():
        await forge.opened()
        await forge.quiet()
        assert await settled(forge, "web-1") == is_settled


async def test_a_session_that_did_nothing_is_settled_when_it_is_done(forge: Forge) -> None:
    await forge.project()
    session = await forge.session()
    async with forge.up():
        await forge.says(session, "done")
        await forge.quiet()
        assert await settled(forge, session)
        assert await forge.pulls(session) == ()


# --- idle --------------------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "Pulls of which nothing moves cost no git at all, and one whose base moves is looked at at once.",
    against="Every pull is asked for by a process of git's, every few seconds, for ever.",
    breaks=("forge-asks-git-at-every-look",),
)
async def test_nothing_is_asked_of_git_while_nothing_moves(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    from holdfast.fleet.forges.local import refs

    asked: list[int] = []
    read: Callable[..., dict[str, str]] = refs.read

    def counted(repo: Path, branches: set[str]) -> dict[str, str]:
        asked.append(1)
        return read(repo, branches)

    await forge.project()
    async with forge.up(forge_seconds=0.1) as life:
        await forge.opened()
        await forge.quiet()
        watch, rows = life.watch, list(await forge.read(lambda reader: reader.all(_open())))
        for _ in range(20):
            watch._moved(rows)
            if watch._repositories[str(forge.repo)]._seen is not None:
                break
            await _tick()
        monkeypatch.setattr(refs, "read", counted)
        for _ in range(50):
            assert watch._moved(rows) == []
        assert asked == []
        base = commit(forge.repo, "meanwhile", other="1\n")
        assert (await forge.until(lambda pull: pull.base_commit == base)).fit == "clean"


def _open() -> object:
    from holdfast.core.store.sql import query

    return query(
        "open",
        sqlite="SELECT p.*, s.repository FROM pulls p JOIN sessions s ON s.id = p.session WHERE p.state = 'open'",
    )


async def _tick() -> None:
    from holdfast.core.clock import SYSTEM

    await SYSTEM.sleep(0.05)
