"""What is to be typed at an agent that may not read: a bounded queue before its terminal, typed piece by piece."""

from __future__ import annotations

import os
import select

#: Bytes that may wait for the agent to read.
ROOM = 1 << 21
#: Answers of the terminal itself beyond this are dropped: an agent that asks and never reads would fill the memory.
_ANSWERS = 1 << 16
_PASTE_ENDS = b"\x1b[201~"


class Typist:
    """Somebody who types and is told when it has gone through."""

    def typed(self, refusal: str) -> None:
        """Everything was taken by the terminal; or, where there is a refusal, never will be."""
        raise NotImplementedError


class _Piece:
    """Something that is typed in one piece."""

    def __init__(self, data: bytes, typist: Typist | None, *, closes: bool) -> None:
        self.rest = memoryview(data)
        self.typist = typist
        self.begun = False
        self.closes = closes


class Keyboard:
    """Types in the order in which it was asked to; pieces never mix."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._pieces: list[_Piece] = []
        self._waiting = 0
        self.closed = False
        #: The events of the terminal that the holder waits for.
        self.watched = select.EPOLLIN

    @property
    def waits(self) -> bool:
        """Whether something is yet to be typed."""
        return bool(self._pieces)

    def type(self, data: bytes, typist: Typist | None = None, *, closes: bool = False) -> str:
        """Type this when its turn comes; why not, where that cannot be. `closes`: a paste with marks around it."""
        if self.closed:
            return "nobody has its terminal open any more"
        if self._waiting + len(data) > (ROOM if typist else _ANSWERS):
            return f"it has not read the last {self._waiting} bytes that were typed"
        if data:
            self._pieces.append(_Piece(data, typist, closes=closes))
            self._waiting += len(data)
        return ""

    def flush(self) -> None:
        """Type as much as the terminal takes."""
        while self._pieces and not self.closed:
            piece = self._pieces[0]
            try:
                done = os.write(self._terminal, piece.rest[:4096])
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
            piece.begun = True
            piece.rest = piece.rest[done:]
            self._waiting -= done
            if not piece.rest:
                del self._pieces[0]
                if piece.typist is not None:
                    piece.typist.typed("")

    def forget(self, typist: Typist) -> None:
        """Drop what somebody wanted typed who has gone; a paste that has begun is closed: the agent waits for that."""
        for piece in [each for each in self._pieces if each.typist is typist]:
            piece.typist = None
            kept = b""
            if piece.begun and piece.closes:
                kept = bytes(piece.rest[-len(_PASTE_ENDS) :]) if len(piece.rest) < len(_PASTE_ENDS) else _PASTE_ENDS
            self._waiting += len(kept) - len(piece.rest)
            piece.rest = memoryview(kept)
            if not kept:
                self._pieces.remove(piece)

    def close(self) -> None:
        """The terminal has nobody at its other end: what waits is refused."""
        self.closed = True
        pieces, self._pieces, self._waiting = self._pieces, [], 0
        for piece in pieces:
            if piece.typist is not None:
                piece.typist.typed("nobody has its terminal open any more")
