"""Notices: raised, sent, sent once more, acknowledged and over, on both engines, across restarts."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from holdfast.core import faults
from holdfast.core.propagation import queue
from holdfast.notify import notices
from holdfast.notify.announcing import TELLING
from holdfast.notify.channels.port import Failed, Gone
from holdfast.notify.effects import SEND, Send
from holdfast.notify.sending import SENT
from holdfast.notify.upkeep import Keep
from noticing import Scene, scene_of

if TYPE_CHECKING:
    from conftest import StoreMaker
    from manual_clock import ManualClock


@pytest.fixture
async def scene(make_store: StoreMaker, clock: ManualClock) -> Scene:
    """An empty store."""
    return await scene_of(make_store, clock)


# --- sent ------------------------------------------------------------------------------------------------------


async def test_a_notice_goes_once_to_every_channel_that_takes_its_kind(scene: Scene) -> None:
    everything, others = scene.channel("all"), scene.channel("others", kinds=("pressing",))
    quiet = scene.channel("late", raised=False)
    assert await scene.raised("plain")
    await scene.settle()
    await scene.later(100_000)
    assert everything.told == [(1, "raised")]
    assert (others.told, quiet.told) == ([], [])
    (told,) = everything.given
    assert (told.kind, told.subject, told.scope, told.text) == ("plain", "thing:1", "test", "Look.")
    assert (await scene.row())["told_at"] is not None


@pytest.mark.guards(
    "Raised twice under one key, a notice is one row and one send, however often and across restarts.",
    against="81 pages for one paused session.",
    breaks=("notice-keys-are-not-kept",),
)
async def test_what_was_raised_under_a_key_is_not_raised_again(scene: Scene) -> None:
    channel = scene.channel("all")
    assert await scene.raised("plain")
    await scene.settle()
    await scene.reopened()
    for _ in range(20):
        assert not await scene.raised("plain")
    await scene.settle()
    await scene.do(notices.resolve, "one")
    assert not await scene.raised("plain")
    await scene.settle()
    assert channel.told == [(1, "raised")]


@pytest.mark.guards(
    "A notice that is over before its dwell has passed is never sent; one that lasts is, once.",
    against="A page for every flicker.",
    breaks=("notice-dwell-is-nothing",),
)
async def test_nothing_is_sent_before_it_has_lasted(scene: Scene) -> None:
    channel = scene.channel("all")
    await scene.raised("lasting", "short")
    await scene.raised("lasting", "long")
    await scene.settle()
    await scene.later(59)
    assert channel.told == []
    assert [row["told_at"] for row in await scene.rows()] == [None, None]
    await scene.do(notices.resolve, "short")
    await scene.later(1)
    await scene.later(3_600)
    assert channel.told == [(2, "raised")]


async def test_what_is_resolved_while_it_waits_is_looked_at_no_more(scene: Scene) -> None:
    await scene.raised("lasting")
    await scene.settle()
    assert await scene.jobs("notify.notice") == [("waiting", "sent if it lasts")]
    await scene.do(notices.resolve, "one")
    await scene.settle()
    assert await scene.jobs("notify.notice") == [("done", None)]


@pytest.mark.guards(
    "Within the cool-down of its kind another notice of the same subject is kept and not sent.",
    against="A page for every turn of what comes and goes.",
    breaks=("notice-nothing-cools",),
)
async def test_within_the_cool_down_of_a_subject_notices_are_only_kept(scene: Scene) -> None:
    channel = scene.channel("all")
    for key in ("a", "b"):
        await scene.raised("flapping", key)
    await scene.raised("flapping", "other", subject="thing:2")
    await scene.settle()
    # The two of one subject are looked at side by side: either may be the first.
    assert sorted(subject for subject in (each.subject for each in channel.given)) == ["thing:1", "thing:2"]
    await scene.later(599)
    await scene.raised("flapping", "c")
    await scene.settle()
    assert len(channel.told) == 2
    assert sorted(row["untold"] or "" for row in await scene.rows()) == ["", "", "cool-down", "cool-down"]
    await scene.later(2)
    await scene.raised("flapping", "d")
    await scene.settle()
    assert channel.told[-1] == (5, "raised")


@pytest.mark.guards(
    "A notice that stays open and unacknowledged is sent once more, once, to the channels that take that.",
    against="A page that is overlooked and never comes again, or comes for ever.",
    breaks=("notice-escalates-for-ever",),
)
async def test_what_nobody_acknowledges_is_sent_once_more(scene: Scene) -> None:
    channel, calm = scene.channel("all"), scene.channel("calm", escalated=False)
    await scene.raised("pressing")
    await scene.settle()
    await scene.later(899)
    assert channel.told == [(1, "raised")]
    await scene.reopened()
    await scene.later(1)
    first = scene.clock.stamp()
    for _ in range(3):
        await scene.later(901)
    assert channel.told == [(1, "raised"), (1, "escalated")]
    assert calm.told == [(1, "raised")]
    assert (await scene.row())["escalated_at"] == first


@pytest.mark.guards(
    "What somebody has acknowledged, or what is over, is not sent once more.",
    against="People who are called for what they have dealt with.",
    breaks=("notice-acks-change-nothing",),
)
@pytest.mark.parametrize("how", ["acked", "resolved"])
async def test_what_is_dealt_with_is_not_sent_once_more(scene: Scene, how: str) -> None:
    channel = scene.channel("all")
    await scene.raised("pressing")
    await scene.settle()
    if how == "acked":
        row = await scene.do(notices.ack, 1)
        assert (row["acked_by"], row["acked_at"] is not None) == ("token:test", True)
    else:
        assert await scene.do(notices.resolve, "one")
    await scene.later(3_600)
    assert channel.told == [(1, "raised")]
    assert (await scene.row())["escalated_at"] is None
    assert await scene.jobs("notify.notice") == [("done", None)]
    assert len(await scene.jobs("notify.send")) == 1


async def test_the_second_acknowledgement_changes_nothing(scene: Scene) -> None:
    await scene.raised("plain")
    first = await scene.do(notices.ack, 1)
    scene.clock.advance(60)
    assert await scene.do(notices.ack, 1) == first
    assert await scene.do(notices.ack, 2) is None


@pytest.mark.guards(
    "What is so again is open again, and not sent a second time.",
    against="A fact that flips sends a page at every turn.",
    breaks=("notice-reopened-is-new",),
)
async def test_what_is_opened_again_is_not_sent_again(scene: Scene) -> None:
    channel = scene.channel("all")
    await scene.raised("pressing")
    await scene.settle()
    assert not await scene.do(notices.reopen, "one")  # it is open
    for _ in range(3):
        await scene.do(notices.resolve, "one")
        await scene.later(60)
        assert await scene.do(notices.reopen, "one")
        await scene.later(60)
    assert channel.told == [(1, "raised")]
    assert [row["id"] for row in await scene.store.read(lambda reader: notices.open_notices(reader, 10))] == [1]
    await scene.later(840)
    assert channel.told == [(1, "raised"), (1, "escalated")]  # it has stood for its time since it was opened last


async def test_what_was_over_before_it_was_sent_is_sent_when_it_is_so_again_and_lasts(scene: Scene) -> None:
    channel = scene.channel("all")
    await scene.raised("lasting")
    await scene.later(30)
    await scene.do(notices.resolve, "one")
    await scene.later(100)
    await scene.do(notices.reopen, "one")
    await scene.later(59)
    assert channel.told == []
    await scene.later(1)
    assert channel.told == [(1, "raised")]


async def test_a_kind_that_is_only_kept_is_never_sent(scene: Scene) -> None:
    channel = scene.channel("all")
    await scene.raised("kept")
    await scene.later(100_000)
    assert channel.told == []
    assert notices.state_of(await scene.row()) == "open"


async def test_a_kind_that_this_version_does_not_know_is_sent_rather_than_lost(scene: Scene) -> None:
    channel = scene.channel("all")
    await scene.raised("of-another-version")
    await scene.settle()
    assert channel.told == [(1, "raised")]


async def test_secrets_and_control_characters_do_not_get_into_a_notice(scene: Scene) -> None:
    await scene.raised("plain", text="\x1b[31mtoken=abcdefgh\x07 and whsec_" + "A" * 32)
    assert (await scene.row())["text"] == "[31mtoken=[redacted] and [redacted]"


# --- sends that fail -------------------------------------------------------------------------------------------


async def test_a_send_that_fails_is_tried_again_under_the_same_id(scene: Scene) -> None:
    channel = scene.channel("all", Failed("no"), Failed("busy", after=7.0))
    await scene.raised("plain")
    await scene.settle()
    await scene.later(60)
    assert len(channel.given) == 2
    await scene.later(6)
    assert len(channel.given) == 2
    await scene.later(1)
    assert len(channel.given) == 3
    assert len({each.id for each in channel.given}) == 1
    assert await scene.jobs("notify.send") == [("done", None)]


@pytest.mark.parametrize(
    ("work", "words", "reason"),
    [
        (notices.resolve, "one", "what it tells of is over"),
        (notices.ack, 1, "somebody has acknowledged it"),
    ],
)
@pytest.mark.guards(
    "A send that comes late is not made for what is over or acknowledged by then.",
    against="A page in the morning for what was mended at night.",
    breaks=("notice-sends-what-is-over",),
)
async def test_a_late_send_is_taken_back_when_nobody_need_know_any_more(
    scene: Scene, work: object, words: object, reason: str
) -> None:
    channel = scene.channel("all", Failed("no"))
    await scene.raised("plain")
    await scene.settle()
    await scene.do(work, words)  # type: ignore[arg-type]
    await scene.later(3_600)
    assert len(channel.given) == 1
    assert await scene.jobs("notify.send") == [("cancelled", reason)]


@pytest.mark.guards(
    "A channel that says it is gone is told of once and left alone until a trial arrives there.",
    against="An address that is called for ever, or silently dropped.",
    breaks=("notice-channels-are-never-gone",),
)
async def test_a_channel_that_is_gone_is_left_alone_until_a_trial_arrives(scene: Scene) -> None:
    channel = scene.channel("all", Gone("it answered with 410"))
    await scene.raised("plain", "a")
    await scene.settle()
    await scene.raised("plain", "b")
    await scene.settle()
    assert len(channel.given) == 1
    told = (await scene.rows())[1]
    assert (told["kind"], told["subject"], told["resolved_at"]) == ("channel-gone", "channel:all", None)
    assert "holdfast channels test all" in told["text"]
    await scene.do(lambda unit: queue.enqueue(unit, SEND, Send(None, "all", "test"), key="test:1"))
    await scene.settle()
    assert channel.told[-1] == (None, "test")
    assert (await scene.rows())[1]["resolved_at"] is not None
    await scene.raised("plain", "c")
    await scene.settle()
    assert len(channel.given) == 3


async def test_a_trial_that_fails_is_not_tried_again(scene: Scene) -> None:
    channel = scene.channel("all", Failed("nobody is there"))
    await scene.do(lambda unit: queue.enqueue(unit, SEND, Send(None, "all", "test"), key="test:1"))
    await scene.later(100_000)
    assert len(channel.given) == 1
    assert await scene.jobs("notify.send") == [("cancelled", "nobody is there")]


async def test_a_channel_that_the_settings_name_no_more_is_owed_nothing(scene: Scene) -> None:
    scene.channel("all", Failed("no"))
    await scene.raised("plain")
    await scene.settle()
    del scene.settings["all"], scene.recorders["all"]
    await scene.later(60)
    assert await scene.jobs("notify.send") == [("cancelled", "no channel is called 'all' any more")]


@pytest.mark.guards(
    "A crash between a notice and its send, or between the send and its record, loses no notice.",
    against="A page that nobody gets because the daemon died at the wrong moment.",
    breaks=("notice-told-before-it-is-owed",),
)
@pytest.mark.parametrize("point", [TELLING.name, SENT.name])
async def test_a_failure_at_a_fault_point_loses_no_notice_and_sends_no_other_one(scene: Scene, point: str) -> None:
    channel = scene.channel("all")
    await scene.raised("pressing")

    def fail() -> None:
        raise faults.FaultRaisedError("as a test has asked")

    with faults.armed(point, fail):
        await scene.settle()
    await scene.reopened()
    await scene.later(60)
    assert {each.stage for each in channel.given} == {"raised"}
    await scene.later(3_600)
    await scene.later(3_600)
    stages = [each.stage for each in channel.given]
    assert (stages.count("escalated"), set(stages)) == (1, {"raised", "escalated"})
    assert len({each.id for each in channel.given if each.stage == "raised"}) == 1


# --- upkeep ----------------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "What is over is removed when it is old, or beyond the count; what is open never is.",
    against="A table that grows for ever, or a notice that is gone before anybody has seen it.",
    breaks=("notice-open-ones-are-removed",),
)
async def test_only_what_is_over_and_old_is_removed(scene: Scene) -> None:
    scene.keep = Keep(timedelta(days=10), 1_000, chunk=1)
    for key in ("open", "resolved", "acked"):
        await scene.raised("plain", key)
    await scene.do(notices.resolve, "resolved")
    await scene.do(notices.ack, 3)
    await scene.later(9 * 86_400)
    await scene.raised("plain", "young")
    await scene.do(notices.resolve, "young")
    await scene.pruned()
    assert len(await scene.rows()) == 4
    await scene.later(2 * 86_400)
    await scene.pruned()
    assert [row["key"] for row in await scene.rows()] == ["open", "young"]


async def test_of_what_is_over_only_so_many_are_kept(scene: Scene) -> None:
    scene.keep = Keep(timedelta(days=10), 2)
    for number in range(6):
        await scene.raised("plain", f"key-{number}")
        if number != 1:
            await scene.do(notices.resolve, f"key-{number}")
    await scene.pruned()
    assert [row["key"] for row in await scene.rows()] == ["key-1", "key-4", "key-5"]


async def test_pages_of_notices_are_newest_first_and_count_what_is_open(scene: Scene) -> None:
    for number in range(5):
        await scene.raised("plain", f"key-{number}")
    await scene.do(notices.resolve, "key-3")
    await scene.do(notices.ack, 5)

    def look(reader: object) -> tuple[list[int], list[tuple[int, str]], int]:
        opened = [row["id"] for row in notices.open_notices(reader, 2)]  # type: ignore[arg-type]
        pages = [(row["id"], row["state"]) for row in notices.page(reader, 3, before=6)]  # type: ignore[arg-type]
        return opened, pages, notices.count_open(reader)  # type: ignore[arg-type]

    found = await scene.store.read(look)
    assert found == ([3, 2], [(5, "acked"), (4, "resolved"), (3, "open")], 3)
