"""A reader of server-sent events that knows nothing of how they were made."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple


class Event(NamedTuple):
    """One event of a stream."""

    id: str
    name: str
    raw: bytes

    @property
    def data(self) -> Any:
        """What it says."""
        return json.loads(self.raw)

    @property
    def seq(self) -> int:
        """The position in its id."""
        return int(self.id.partition(":")[2])


class Parser:
    """Takes bytes as they come, gives whole events; keeps comments apart."""

    def __init__(self) -> None:
        self.comments: list[str] = []
        self.last_id = ""
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that these bytes complete; the later ones are not looked at before they are asked for."""
        *blocks, self._rest = (self._rest + data).split(b"\n\n")
        for block in blocks:
            if (event := self._block(block)) is not None:
                yield event

    def _block(self, block: bytes) -> Event | None:
        name, data = "message", []
        for line in block.split(b"\n"):
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            match field:
                case b"id":
                    self.last_id = value.decode()
                case b"event":
                    name = value.decode()
                case b"data":
                    data.append(value)
                case b"":
                    self.comments.append(value.decode())
        return Event(self.last_id, name, b"\n".join(data)) if data else None


async def events_of(pieces: AsyncIterator[bytes]) -> AsyncIterator[Event]:
    """The events of a stream of bytes."""
    parser = Parser()
    async for piece in pieces:
        for event in parser.feed(piece):
            yield event
