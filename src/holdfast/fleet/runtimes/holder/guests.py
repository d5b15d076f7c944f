"""Those who talk to a holder: the daemon with its questions, and people who have joined from a terminal of theirs."""

from __future__ import annotations

import socket

from holdfast.fleet.runtimes.holder import wire
from holdfast.fleet.runtimes.holder.keyboard import Typist

#: Not that of `typing`, which takes a third of the time in which a holder starts.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from holdfast.fleet.runtimes.holder.hold import Holder

_READ = 65_536
#: Bytes that may wait for a guest to read; one who is slower than that is shown out.
_ROOM = 1 << 20
#: The smallest and largest terminal that somebody may join from.
_SIZES = range(2, 1001)
_BRACKETS = (b"\x1b[200~", b"\x1b[201~")


class Guest(Typist):
    """One connection. It asks one thing at a time and gets one answer, unless it has joined."""

    def __init__(self, holder: Holder, connection: socket.socket) -> None:
        self.connection = connection
        self.descriptor = connection.fileno()
        self.attached = False
        self.outbox = bytearray()
        #: Whether the holder waits for room for what is in the outbox.
        self.waits = False
        self._inbox = bytearray()
        self._holder = holder
        self._gone = False

    def hear(self) -> None:
        """Read what has come, and do it."""
        try:
            data = self.connection.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._gone = True
            return
        self._inbox += data
        try:
            for kind, payload in wire.take(self._inbox):
                self._do(kind, payload)
        except ValueError:
            self._gone = True

    def show(self, data: bytes) -> None:
        """Pass on what the agent shows."""
        self._say(wire.OUTPUT, data)

    def typed(self, refusal: str) -> None:
        """What it wanted typed was typed, or never will be."""
        if not self.attached:
            self._say(wire.REFUSED if refusal else wire.DONE, refusal.encode())

    def flush(self) -> bool:
        """Send what can be sent; whether it is still a guest."""
        try:
            while self.outbox and not self._gone:
                del self.outbox[: self.connection.send(self.outbox)]
        except BlockingIOError:
            pass
        except OSError:
            return False
        return not self._gone

    def _say(self, kind: bytes, payload: bytes = b"") -> None:
        if len(self.outbox) + len(payload) > _ROOM:
            self._gone = True
        else:
            self.outbox += wire.frame(kind, payload)

    def _do(self, kind: bytes, payload: bytes) -> None:
        holder = self._holder
        match kind:
            case wire.STATUS:
                holder.look_for_end()
                self._say(wire.DONE, holder.ended)
            case wire.SCREEN:
                self._say(wire.DONE, self._screen())
            case wire.MODE:
                self._say(wire.DONE, wire.LINES if holder.reads_lines() else b"")
            case wire.PASTE:
                before, after = _BRACKETS if holder.terminal.pastes_in_brackets else (b"", b"")
                self._type(before + payload + after, closes=bool(after))
            case wire.INPUT:
                self._type(payload)
            case wire.ATTACH | wire.RESIZE:
                self._join(payload)
            case wire.END:
                holder.end()
                self._say(wire.DONE)
            case _:
                self._say(wire.REFUSED, b"it does not know this question: it was started by another version")

    def _type(self, data: bytes, *, closes: bool = False) -> None:
        self._holder.look_for_end()
        if self._holder.ended:
            self._say(wire.GONE)
        elif (refusal := self._holder.keyboard.type(data, self, closes=closes)) or not data:
            self.typed(refusal)

    def _screen(self) -> bytes:
        page = self._holder.terminal.page
        head = f"{page.row} {min(page.column, page.columns - 1)}"
        return "\n".join([head, *page.lines()]).encode("utf-8", "replace")

    def _join(self, payload: bytes) -> None:
        columns, rows = map(int, payload.split())
        if columns not in _SIZES or rows not in _SIZES:
            raise ValueError(payload)
        first, self.attached = not self.attached, True
        self._holder.resize(columns, rows)
        if first:
            page = self._holder.terminal.page
            lines = "\r\n".join(page.lines())
            self.show(f"\x1b[H\x1b[2J{lines}\x1b[{page.row + 1};{page.column + 1}H".encode("utf-8", "replace"))
