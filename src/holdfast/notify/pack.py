"""The pack of notices: their table and its watched columns, their effects, routes and acts, and those of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from holdfast.core.changes.declare import Watched
from holdfast.core.pack import AuditKind, NoticeKind, Pack
from holdfast.notify import letters, sending, web
from holdfast.notify.effects import HOURLY, KINDS, NOTICE, PRUNE, SEND

if TYPE_CHECKING:
    from holdfast.core.pack import Means
    from holdfast.core.propagation.kinds import Handler, Kind
    from holdfast.notify.channels.registry import Channels


def channels_of(means: Means) -> Channels:
    """The channels of the settings; one for a kind of notice that there is not is refused."""
    from holdfast.notify.announcing import declared  # noqa: PLC0415 - a command that only lists kinds sends nothing
    from holdfast.notify.channels.registry import Channels, require_known  # noqa: PLC0415

    require_known(means.settings.channels, declared(means.packs))
    return Channels(means.settings.channels, means.clock, os.environ)


def _handlers(means: Means) -> Mapping[Kind[Any], Handler]:
    from holdfast.notify.announcing import Announcing, declared  # noqa: PLC0415
    from holdfast.notify.sending import Sending  # noqa: PLC0415
    from holdfast.notify.upkeep import Keep, pruner  # noqa: PLC0415

    kept, kinds, channels = means.settings.notices, declared(means.packs), means.one(channels_of)
    return {
        NOTICE: Announcing(kinds, channels),
        SEND: Sending(channels, kinds, means.store, means.clock),
        PRUNE: pruner(Keep(timedelta(days=kept.keep_days), kept.keep_rows), means.store, means.clock),
    }


NOTIFY = Pack(
    name="notify",
    package="holdfast.notify",
    watched=(
        Watched(
            table="notices",
            entity="notice",
            columns=(
                "id",
                "kind",
                "subject",
                "text",
                "scope",
                "raised_at",
                "opened_at",
                "told_at",
                "untold",
                "escalated_at",
                "acked_at",
                "acked_by",
                "resolved_at",
            ),
            scope="scope",
        ),
    ),
    audit=(
        AuditKind(web.ACKED, "Somebody has seen a notice."),
        AuditKind(web.TRIED, "A channel was tried."),
    ),
    notices=(
        NoticeKind(
            name=letters.DEAD_LETTER,
            doc="A job has failed for good, and nothing happens about it until somebody redrives or cancels it.",
            rule="channels",
            cool_down=900,
            escalate_after=14_400,
        ),
        NoticeKind(
            name=letters.SEND_FAILED,
            doc="A channel could not be given a notice for as long as it was tried.",
            rule="row",
        ),
        NoticeKind(
            name=sending.CHANNEL_GONE,
            doc="A channel has answered that it takes nothing any more, and is not used until it is set anew or tried.",
            rule="row",
            urgency="high",
        ),
    ),
    routes=web.ROUTES,
    kinds=KINDS,
    handlers=_handlers,
    recurring=(HOURLY,),
    deaths=(letters.WATCH,),
)
