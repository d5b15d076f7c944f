"""What the daemon, a person's terminal and a holder say to each other: frames over a socket, words over a pipe."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence

from holdfast.fleet.runtimes.holder import files

#: Kinds of frames. A guest asks one thing at a time; the answer is DONE, or REFUSED with words for people, or, to what
#: only a living agent can be asked, GONE.
#: STATUS is answered with how the agent ended, SCREEN with `row column` and the lines; END before the holder goes.
#: MODE is answered with LINES where the terminal gathers what is typed into lines.
STATUS, SCREEN, MODE, PASTE, INPUT, ATTACH, RESIZE, END = b"W", b"S", b"M", b"P", b"I", b"A", b"Z", b"E"
LINES = b"lines"
DONE, REFUSED, GONE, OUTPUT = b"=", b"!", b"0", b"O"
#: What a starter tells the daemon: the name is its own now, or it is taken (or was); and then DONE or REFUSED.
LOCKED, TAKEN = b"L", b"T"

#: The largest paste, and by it the largest frame.
LARGEST = 1 << 20
_HEAD = 5


class Garbled(ValueError):
    """What came is no frame."""


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    """One frame as bytes."""
    return kind + len(payload).to_bytes(4, "big") + payload


def take(inbox: bytearray) -> Iterator[tuple[bytes, bytes]]:
    """The frames that are whole in what has come; they leave it."""
    while len(inbox) >= _HEAD:
        size = int.from_bytes(inbox[1:_HEAD], "big")
        if size > LARGEST:
            raise Garbled(size)
        if len(inbox) < _HEAD + size:
            return
        kind, payload = bytes(inbox[:1]), bytes(inbox[_HEAD : _HEAD + size])
        del inbox[: _HEAD + size]
        yield kind, payload


def words(given: Sequence[bytes]) -> bytes:
    """Words of any bytes in one piece, with its length before it."""
    body = b"".join(len(word).to_bytes(4, "big") + word for word in given)
    return len(body).to_bytes(4, "big") + body


def read_words(descriptor: int) -> list[bytes] | None:
    """The words that `words` wrote; None when the writer went away before all were there."""
    head = _exactly(descriptor, 4)
    body = None if head is None else _exactly(descriptor, int.from_bytes(head, "big"))
    if body is None:
        return None
    found, at = [], 0
    while at < len(body):
        size = int.from_bytes(body[at : at + 4], "big")
        found.append(body[at + 4 : at + 4 + size])
        at += 4 + size
    return found


def _exactly(descriptor: int, size: int) -> bytes | None:
    parts: list[bytes] = []
    while size:
        part = os.read(descriptor, min(size, 65_536))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def peer(connection: socket.socket) -> tuple[int, int]:
    """The pid and user at the other end, as the kernel knows them."""
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(told[:4], "little"), int.from_bytes(told[4:8], "little")


def listen(path: str) -> socket.socket:
    """A socket at this path, for this user alone; the folder that it is in keeps everybody else out."""
    files.remove(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    os.chmod(path, 0o600)  # noqa: PTH101 - pathlib takes long to load
    listener.listen(128)
    listener.setblocking(False)
    return listener
