"""Dead letters: people are told of every propagation that dies, on both engines, until somebody deals with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from holdfast.core.propagation import queue, redrive, rescue
from holdfast.core.propagation.kinds import Kind
from holdfast.core.store.sql import query
from holdfast.notify.channels.port import Failed
from noticing import FAIL, Failing, Scene, scene_of

if TYPE_CHECKING:
    from conftest import StoreMaker
    from manual_clock import ManualClock

BARE = query("bare", sqlite="UPDATE propagations SET state = 'dead', decided_at = :at WHERE id = :id")


@pytest.fixture
async def scene(make_store: StoreMaker, clock: ManualClock) -> Scene:
    """An empty store."""
    return await scene_of(make_store, clock)


async def fail(scene: Scene) -> int:
    """A propagation that has died."""
    row = await scene.do(lambda unit: queue.enqueue(unit, FAIL, Failing()))
    await scene.settle()
    return int(row.id)


@pytest.mark.guards(
    "People are told of a propagation that dies, with the commands, until it is redriven or cancelled.",
    against="A job that is dead for weeks before anybody looks.",
    breaks=("notice-of-no-dead-letters", "notice-of-letters-stays"),
)
@pytest.mark.parametrize("act", ["redriven", "all redriven", "cancelled"])
async def test_a_dead_letter_is_told_of_until_somebody_deals_with_it(scene: Scene, act: str) -> None:
    channel = scene.channel("all")
    number = await fail(scene)
    row = await scene.row()
    assert (row["kind"], row["subject"], row["resolved_at"]) == ("dead-letter", "jobs:test.fail", None)
    assert f"holdfast jobs redrive {number}" in row["text"]
    assert "no route to host" in row["text"]
    assert channel.told == [(row["id"], "raised")]
    kinds, watches = scene.registry().kinds, scene.registry().watches
    match act:
        case "redriven":
            await scene.do(redrive.redrive, kinds, number, watches)
        case "all redriven":
            await scene.do(redrive.redrive_all, kinds, redrive.Which(), 0, watches)
        case _:
            await scene.do(redrive.cancel, kinds, number, watches)
    assert (await scene.row())["resolved_at"] is not None


async def test_one_that_dies_again_after_it_was_redriven_is_told_of_again(scene: Scene) -> None:
    number = await fail(scene)
    registry = scene.registry()
    scene.clock.advance(1)
    await scene.do(redrive.redrive, registry.kinds, number, registry.watches)
    await scene.later(1)
    first, second = await scene.rows()
    assert (first["resolved_at"] is None, second["resolved_at"]) == (False, None)


async def test_a_kind_that_nobody_knows_is_told_of_when_it_is_given_up(scene: Scene) -> None:
    stranger = Kind(name="test.strange", doc="Of another version.", payload=Failing, schedule=FAIL.schedule)
    await scene.do(lambda unit: queue.enqueue(unit, stranger, Failing()))
    for _ in range(6):
        assert await scene.rows() == []
        await scene.do(rescue.judge_unknown, [stranger.name], scene.registry().watches)
        scene.clock.advance(86_400)
    row = await scene.row()
    assert (row["kind"], row["subject"]) == ("dead-letter", "jobs:test.strange")
    assert "unknown_kind" in row["text"]


@pytest.mark.guards(
    "The death of a send is kept as a notice and never sent.",
    against="A channel that is down floods itself with notices of its own failures.",
    breaks=("notice-of-sends-is-sent",),
)
async def test_the_death_of_a_send_is_only_kept(scene: Scene) -> None:
    channel = scene.channel("all", *[Failed("no")] * 20)
    await scene.raised("plain")
    for _ in range(12):
        await scene.later(86_400)
    first, second = await scene.rows()
    assert (second["kind"], second["subject"]) == ("send-failed", "channel:all")
    assert set(channel.told) == {(first["id"], "raised")}
    assert (await scene.jobs("notify.send"))[0] == ("dead", "max_attempts")


async def test_deaths_that_nobody_was_told_of_are_found_and_others_laid_to_rest(scene: Scene) -> None:
    scene.channel("all")
    number = await fail(scene)
    bare = await scene.do(lambda unit: queue.enqueue(unit, FAIL, Failing(), key="bare"))
    await scene.do(lambda unit: unit.run(BARE, id=bare.id, at=unit.at))
    await scene.pruned()
    assert [row["text"].split()[1] for row in await scene.rows()] == [str(number), str(bare.id)]
    await scene.do(queue.cancel, FAIL, "bare", "a pack has no need of it")
    await scene.pruned()
    await scene.pruned()
    assert [row["resolved_at"] is None for row in await scene.rows()] == [True, False]
