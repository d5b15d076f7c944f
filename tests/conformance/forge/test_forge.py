"""What every forge does: opens a pull of a branch, tells how it stands, and merges it, or says why not."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from forge_worlds import WORLDS, World, pull_of
from holdfast.fleet.forges.port import Merged, MergeHow, NothingToPull, Opening, Refused
from holdfast.fleet.forges.registry import FORGES
from holdfast.fleet.pulls.facts import Pull
from holdfast.fleet.pulls.reducer import reduce

NOW = "2026-11-21T08:00:00.000000Z"
HOWS: tuple[MergeHow, ...] = ("ff", "merge", "squash")


async def opened(world: World) -> Pull:
    opening = await world.forge.opening(world.session, world.project)
    assert isinstance(opening, Opening), opening
    return pull_of(opening, world.forge)


async def looked(world: World, pull: Pull) -> Pull:
    """The pull as it is known after a look."""
    seen = await world.forge.look(pull, world.session, world.project)
    assert seen.fetched
    return reduce(pull, seen, NOW).pull


async def merge(world: World, pull: Pull, how: MergeHow = "merge") -> Merged | Refused:
    return await world.forge.merge(pull, world.session, how)


def test_every_forge_has_a_world() -> None:
    assert WORLDS.keys() == FORGES.keys()


def test_every_forge_is_called_as_it_is_registered(world: World) -> None:
    assert FORGES[world.forge.name] is type(world.forge)


# --- open --------------------------------------------------------------------------------------------------------


async def test_a_branch_that_holds_something_can_be_pulled(world: World) -> None:
    head = world.work(new="1\n")
    pull = await opened(world)
    assert (pull.branch, pull.base, pull.head) == ("holdfast/web-1", "main", head)
    assert pull.base_commit == world.base_log()[0]
    assert pull.title == "Mend the door"


async def test_opening_again_is_the_same_pull(world: World) -> None:
    world.work(new="1\n")
    assert await opened(world) == await opened(world)


async def test_a_branch_that_holds_nothing_of_its_own_is_no_pull(world: World) -> None:
    assert isinstance(await world.forge.opening(world.session, world.project), NothingToPull)
    world.meanwhile(other="1\n")
    assert isinstance(await world.forge.opening(world.session, world.project), NothingToPull)


async def test_a_branch_that_is_gone_is_no_pull(world: World) -> None:
    world.delete_branch()
    assert isinstance(await world.forge.opening(world.session, world.project), NothingToPull)


# --- look --------------------------------------------------------------------------------------------------------


async def test_a_look_tells_that_it_fits_and_which_checks_it_is_to_pass(world: World) -> None:
    world.work(new="1\n")
    seen = await looked(world, await opened(world))
    assert (seen.state, seen.fit, seen.conflicts) == ("open", "clean", ())
    assert seen.expected == ("true", "make test")


@pytest.mark.guards(
    "A pull that conflicts with its base says so and names every path, and looking changes nothing.",
    against="A conflict is found only when somebody merges; a probe leaves a half-merged tree behind.",
    breaks=("forge-probes-nothing",),
)
async def test_a_conflict_is_told_with_its_paths(world: World) -> None:
    world.work(a="1\n", b="1\n", fine="1\n")
    world.meanwhile(a="2\n", b="2\n")
    before = world.settings()
    seen = await looked(world, await opened(world))
    assert (seen.fit, seen.conflicts) == ("conflict", ("a", "b"))
    assert world.settings() == before


async def test_what_has_moved_is_seen(world: World) -> None:
    world.work(new="1\n")
    pull = await looked(world, await opened(world))
    head, base = world.work(new="2\n"), world.meanwhile(other="1\n")
    seen = await looked(world, pull)
    assert (seen.head, seen.base_commit, seen.fit) == (head, base, "clean")


async def test_a_merge_by_other_means_is_seen(world: World) -> None:
    world.work(new="1\n")
    pull = await looked(world, await opened(world))
    world.merge_by_hand()
    seen = await looked(world, pull)
    assert (seen.state, seen.head) == ("merged", pull.head)


async def test_a_merge_by_other_means_is_seen_when_the_branch_is_gone_too(world: World) -> None:
    world.work(new="1\n")
    pull = await looked(world, await opened(world))
    world.merge_by_hand()
    world.delete_branch()
    assert (await looked(world, pull)).state == "merged"


@pytest.mark.guards(
    "A pull whose branch is deleted, or holds nothing any more, is closed with the reason; that is no merge.",
    against="A branch that was moved back looks merged, and its session is ended for it.",
    breaks=("forge-takes-back-for-merged",),
)
async def test_a_branch_that_is_gone_or_moved_back_closes_its_pull(world: World) -> None:
    world.work(new="1\n")
    pull = await looked(world, await opened(world))
    world.rewind()
    back = await looked(world, pull)
    assert (back.state, back.merge_commit) == ("closed", None)
    assert "moved back" in (back.reason or "")
    world.work(new="2\n")
    again = await looked(world, await opened(world))
    world.delete_branch()
    gone = await looked(world, again)
    assert gone.state == "closed"
    assert "deleted" in (gone.reason or "")


@pytest.mark.guards(
    "A look that fails changes nothing: it is no closed pull.",
    against="An outage of the forge closes every pull that there is.",
    breaks=("forge-closes-what-it-cannot-see",),
)
async def test_a_look_that_fails_changes_nothing(world: World) -> None:
    world.work(new="1\n")
    pull = await looked(world, await opened(world))
    world.vanish()
    seen = await world.forge.look(pull, world.session, world.project)
    assert not seen.fetched
    assert reduce(pull, seen, NOW).pull == pull


# --- merge -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", HOWS)
async def test_a_merge_brings_the_work_into_the_base_and_nothing_else(world: World, how: MergeHow) -> None:
    world.work(new="1\n", src__deep="2\n")
    if how != "ff":
        world.meanwhile(other="1\n")
    start, files, before = world.base_log(), world.base_files(), world.settings()
    pull = await looked(world, await opened(world))
    merged = await merge(world, pull, how)
    assert isinstance(merged, Merged), merged
    await world.forge.merged(pull, world.session)
    assert world.base_files() == files | {"new": "1", "src/deep": "2"}
    assert world.base_log() == [merged.commit, *start]
    assert world.settings() == before
    seen = await looked(world, pull)
    assert seen.state == "merged" if how != "squash" else seen.fit == "clean"


@pytest.mark.guards(
    "A merge that is asked for again, because nobody knows how it ended, is found and not made twice.",
    against="A crash after the merge and before its record merges once more: an empty squash, a merge of nothing.",
    breaks=("forge-forgets-what-it-landed",),
)
@pytest.mark.parametrize("how", HOWS)
async def test_a_merge_that_is_repeated_is_the_same_one(world: World, how: MergeHow) -> None:
    world.work(new="1\n")
    pull = await looked(world, await opened(world))
    merged = await merge(world, pull, how)
    later = world.meanwhile(other="1\n")
    again = await merge(world, pull, how)
    assert isinstance(merged, Merged)
    assert isinstance(again, Merged)
    assert world.base_log()[:2] == [later, merged.commit]
    assert (await looked(world, pull)).state == "merged"


@pytest.mark.parametrize("how", HOWS)
async def test_a_pull_whose_branch_has_moved_is_not_merged_unseen(world: World, how: MergeHow) -> None:
    world.work(new="1\n")
    pull = await looked(world, await opened(world))
    world.work(new="2\n")
    start = world.base_log()
    refused = await merge(world, pull, how)
    assert isinstance(refused, Refused)
    assert "has moved" in refused.why
    assert world.base_log() == start


@pytest.mark.parametrize("how", ["merge", "squash"])
async def test_a_conflict_is_refused_with_its_paths(world: World, how: Any) -> None:
    world.work(a="1\n")
    pull = await looked(world, await opened(world))
    world.meanwhile(a="2\n")
    start, before = world.base_log(), world.settings()
    refused = await merge(world, pull, how)
    assert isinstance(refused, Refused)
    assert "a" in refused.why
    assert world.base_log() == start
    assert world.settings() == before


async def test_a_base_that_has_gone_on_is_not_moved_forward_past_it(world: World) -> None:
    world.work(new="1\n")
    pull = msgspec.structs.replace(await looked(world, await opened(world)), expected=())
    world.meanwhile(other="1\n")
    start = world.base_log()
    refused = await merge(world, pull, "ff")
    assert isinstance(refused, Refused)
    assert refused.command is not None
    assert world.base_log() == start


@pytest.mark.guards(
    "What was checked against another base than the one that it would land on is not merged.",
    against="Two pulls that are each well, and break each other, land one after the other.",
    breaks=("forge-lands-on-an-unchecked-base",),
)
async def test_a_base_that_has_moved_since_the_checks_is_not_merged_into(world: World) -> None:
    world.work(new="1\n")
    pull = msgspec.structs.replace(await looked(world, await opened(world)), expected=("test",))
    world.meanwhile(other="1\n")
    start = world.base_log()
    refused = await merge(world, pull, "merge")
    assert isinstance(refused, Refused)
    assert (refused.passing, refused.unchecked) == (True, True)
    assert world.base_log() == start


async def test_two_merges_of_one_commit_at_once_are_one(world: World) -> None:
    world.work(new="1\n")
    first = await looked(world, await opened(world))
    second = msgspec.structs.replace(first, id="web.2", number=2)
    start = world.base_log()
    both = await asyncio.gather(merge(world, first, "merge"), merge(world, second, "merge"))
    assert all(isinstance(each, Merged) for each in both), both
    assert world.base_log()[1:] == start
