"""The effects that notices owe: each is looked after until it is sent and over, each send is one of its own."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from holdfast.core.propagation.kinds import Kind
from holdfast.core.propagation.recurring import Recurring
from holdfast.core.propagation.schedule import STANDARD

#: Why a channel is given a notice: it has been raised, nobody has acknowledged it, or a person tries the channel.
Stage = Literal["raised", "escalated", "test"]


class Standing(msgspec.Struct, frozen=True):
    """A notice that stands."""

    notice: int


class Send(msgspec.Struct, frozen=True):
    """A notice, a channel and a stage; a trial has no notice."""

    notice: int | None
    channel: str
    stage: Stage


class Prune(msgspec.Struct, frozen=True):
    """Nothing more to say: the settings say how much is kept."""


NOTICE = Kind(
    name="notify.notice",
    doc="Sees that a notice is sent when it has lasted long enough, and once more when nobody acknowledges it.",
    payload=Standing,
    schedule=STANDARD,
    unique="pending",
)
SEND = Kind(
    name="notify.send",
    doc="Gives one channel one notice.",
    payload=Send,
    schedule=STANDARD,
    unique="forever",
    concurrency=8,
)
PRUNE = Kind(
    name="notify.prune",
    doc="Removes notices that have been over for longer than is kept; sets right what people are told of dead jobs.",
    payload=Prune,
    schedule=STANDARD,
    concurrency=1,
    unique="pending",
    held_after_restore=False,
)
KINDS: tuple[Kind[Any], ...] = (NOTICE, SEND, PRUNE)
HOURLY = Recurring("notify.prune", "Thins out notices that are over.", 3_600, PRUNE, Prune())
