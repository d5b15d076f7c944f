"""The upkeep of the store as propagations: which kinds there are, what of it recurs, and their handlers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from holdfast.core.propagation.backfill import BACKFILL, by_name, filler
from holdfast.core.propagation.kinds import Kind
from holdfast.core.propagation.ledger import HOURLY, PRUNE, Keep, pruner

if TYPE_CHECKING:
    from holdfast.core.pack import Means
    from holdfast.core.propagation.kinds import Handler
    from holdfast.core.propagation.recurring import Recurring

KINDS: tuple[Kind[Any], ...] = (BACKFILL, PRUNE)
RECURRING: tuple[Recurring, ...] = (HOURLY,)


def handlers(means: Means) -> Mapping[Kind[Any], Handler]:
    """The handlers of the upkeep's kinds."""
    kept = means.settings.propagation
    keep = Keep(timedelta(days=kept.keep_days), kept.keep_rows)
    return {
        BACKFILL: filler(by_name(means.packs), means.store, means.clock),
        PRUNE: pruner(keep, means.store, means.clock),
    }
