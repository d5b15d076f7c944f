"""Server-sent events as bytes: the one place that knows their form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from holdfast.core.changes.log import Change, encode

if TYPE_CHECKING:
    from holdfast.core.changes.cursors import Spoiled

HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)
#: The event that tells a reader to fetch everything afresh and go on from the position that comes with it.
RESET = "reset"


class _Reset(msgspec.Struct):
    reason: Spoiled
    position: str


def change(store: bytes, one: Change) -> bytes:
    """A change as an event; `store` leads its id."""
    return b"id: %b:%d\nevent: %b\ndata: %b\n\n" % (store, one.seq, one.event.encode(), encode(one))


def reset(store: str, position: int, reason: Spoiled) -> bytes:
    """The word that a cursor is no good, and where the stream goes on."""
    place = f"{store}:{position}"
    data = msgspec.json.encode(_Reset(reason, place))
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (place.encode(), RESET.encode(), data)


def comment(text: str) -> bytes:
    """A line that clients pass over: it opens the stream and keeps it from looking dead."""
    return f": {text}\n\n".encode()
