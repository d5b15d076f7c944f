"""Gives a channel a notice: once for each stage, unless it is over or acknowledged by then."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from holdfast.core import faults
from holdfast.core.propagation.outcome import Cancel, Done, Outcome, Retry
from holdfast.notify import notices
from holdfast.notify.channels.port import Delivered, Failed, Gone, Telling
from holdfast.notify.decider import UNDECLARED
from holdfast.notify.notices import SQL

if TYPE_CHECKING:
    from holdfast.core.clock import Clock
    from holdfast.core.pack import NoticeKind
    from holdfast.core.propagation.job import Job
    from holdfast.core.store.port import Reader, Store, Unit
    from holdfast.notify.channels.port import Channel, Sent
    from holdfast.notify.channels.registry import Channels
    from holdfast.notify.effects import Send

SENDING = faults.point("notice.sending", "a channel is about to be given a notice")
SENT = faults.point("notice.sent", "a channel was given a notice, nothing is written of it")

CHANNEL_GONE = "channel-gone"
_TRIAL = "This is a trial: notices of this Holdfast arrive here."


class Sending:
    """The handler of `notify.send`."""

    def __init__(self, channels: Channels, kinds: dict[str, NoticeKind], store: Store, clock: Clock) -> None:
        self._channels = channels
        self._kinds = kinds
        self._store = store
        self._clock = clock

    async def __call__(self, job: Job[Send]) -> Outcome:
        """Send it, if it is still wanted."""
        send = job.payload
        channel = self._channels.named.get(send.channel)
        if channel is None:
            return Cancel(f"no channel is called {send.channel!r} any more")
        if send.notice is None:
            trial = self._trial(job.effect)
            return _after_trial(channel, await self._send(channel, trial, job.call_seconds))
        notice = send.notice
        telling = await self._store.read(lambda reader: self._telling(reader, channel, notice, job))
        if isinstance(telling, Cancel):
            return telling
        return _after_send(channel, await self._send(channel, telling, job.call_seconds))

    async def _send(self, channel: Channel, telling: Telling, seconds: float) -> Sent:
        await SENDING.passed()
        came = await channel.send(telling, seconds)
        await SENT.passed()
        return came

    def _telling(self, reader: Reader, channel: Channel, notice: int, job: Job[Send]) -> Telling | Cancel:
        row = reader.one(SQL.by_id, id=notice)
        if row is None:
            return Cancel("the notice was removed")
        if row["resolved_at"]:
            return Cancel("what it tells of is over")
        if row["acked_at"]:
            return Cancel("somebody has acknowledged it")
        if is_gone(reader, channel):
            return Cancel(f"channel {channel.name} said that it is gone; see the notice of that")
        told = {name: row[name] for name in ("kind", "subject", "scope", "text")}
        urgency = self._kinds.get(row["kind"], UNDECLARED).urgency
        return Telling(
            id=job.effect, stage=job.payload.stage, notice=notice, urgency=urgency, at=row["opened_at"], **told
        )

    def _trial(self, effect: str) -> Telling:
        return Telling(
            id=effect,
            stage="test",
            notice=None,
            kind="test",
            subject="test",
            scope="system",
            text=_TRIAL,
            urgency="normal",
            at=self._clock.stamp(),
        )


def gone_key(channel: Channel) -> str:
    """The key of the notice that this channel, at the place where it is, is gone."""
    return f"{CHANNEL_GONE}:{channel.name}:{channel.mark}"


def is_gone(reader: Reader, channel: Channel) -> bool:
    """Whether it has answered that it takes nothing any more, and nobody has tried it with success since."""
    return reader.one(SQL.is_open, key=gone_key(channel)) is not None


def _after_send(channel: Channel, came: Sent) -> Outcome:
    match came:
        case Delivered():
            return Done()
        case Failed():
            return Retry(came.after, came.why)
        case Gone():
            return Cancel(came.why, then=lambda unit: _tell_gone(unit, channel, came.why))
        case _:
            assert_never(came)


def _after_trial(channel: Channel, came: Sent) -> Outcome:
    """A person waits for it: it is not tried again, and one that arrives lets a channel that was gone be used again."""
    match came:
        case Delivered():
            return Done(then=lambda unit: notices.resolve(unit, gone_key(channel)))
        case Failed() | Gone():
            return Cancel(came.why)
        case _:
            assert_never(came)


def _tell_gone(unit: Unit, channel: Channel, why: str) -> None:
    key = gone_key(channel)
    text = (
        f"Channel {channel.name} is not used any more: {why}. Set another address for it; or, if it is there again, "
        f"use it again with: holdfast channels test {channel.name}"
    )
    if not notices.raise_notice(
        unit, kind=CHANNEL_GONE, subject=f"channel:{channel.name}", key=key, text=text, scope="system"
    ):
        notices.reopen(unit, key)
