"""The newest changes, encoded, in memory: bounded in count and bytes, shared by all who are live."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from holdfast.core.changes import sse
from holdfast.core.changes.cursors import EVERYTHING, Filter

if TYPE_CHECKING:
    from holdfast.core.changes.log import Change

#: What one reader is handed at a time: enough to make a write worth it, little enough to wait in its buffer.
PIECE_BYTES = 32 * 1024
#: Joined pieces remembered between two changes: readers who lag each at a place of their own share none.
_MOST_TAKEN = 256
_MOST_TAKEN_BYTES = 2 * 1024 * 1024


class Ring:
    """Covers every position behind `start` up to `end`; what is asked of it beyond that is not there."""

    def __init__(self, store: str, position: int, *, most_changes: int, most_bytes: int) -> None:
        self._store = store.encode()
        self._most_changes = most_changes
        self._most_bytes = most_bytes
        #: Keyed by the position alone where nothing is filtered: that is what most ask, each time.
        self._taken: dict[int | tuple[int, Filter], tuple[bytes, int]] = {}
        self.restart(position)

    def restart(self, position: int) -> None:
        """Begin anew, empty, at this position."""
        self.start = self.end = position
        self._seqs: list[int] = []
        self._frames: list[bytes] = []
        self._names: list[tuple[str, str]] = []
        self._bytes = 0
        self._forget_taken()

    def __len__(self) -> int:
        return len(self._seqs)

    def append(self, changes: list[Change], end: int) -> None:
        """Add what follows; room is made at the old end, never of what is new: those up to date must see it."""
        new = [sse.change(self._store, change) for change in changes]
        added = sum(map(len, new))
        self._make_room(len(new), added)
        self._seqs += [change.seq for change in changes]
        self._frames += new
        self._names += [(change.scope, change.event) for change in changes]
        self._bytes += added
        self.end = end
        self._forget_taken()

    def _make_room(self, count: int, size: int) -> None:
        if len(self._seqs) + count <= self._most_changes and self._bytes + size <= self._most_bytes:
            return
        # A quarter more than needed goes, so that the lists move seldom.
        most_changes, most_bytes = self._most_changes * 3 // 4, self._most_bytes * 3 // 4
        gone = 0
        while gone < len(self._seqs) and (
            len(self._seqs) - gone + count > most_changes or self._bytes + size > most_bytes
        ):
            self._bytes -= len(self._frames[gone])
            gone += 1
        if gone:
            self.start = self._seqs[gone - 1] if gone < len(self._seqs) else self.end
            del self._seqs[:gone], self._frames[:gone], self._names[:gone]

    def take(self, after: int, wanted: Filter) -> tuple[bytes, int]:
        """The next bytes behind this position, joined, and where they lead; the same object for all who ask alike."""
        key = after if wanted is EVERYTHING else (after, wanted)
        found = self._taken.get(key)
        if found is None:
            found = self._join(after, wanted)
            if len(self._taken) >= _MOST_TAKEN or self._taken_bytes >= _MOST_TAKEN_BYTES:
                self._forget_taken()
            self._taken[key] = found
            self._taken_bytes += len(found[0])
        return found

    def _forget_taken(self) -> None:
        self._taken.clear()
        self._taken_bytes = 0

    def _join(self, after: int, wanted: Filter) -> tuple[bytes, int]:
        first = bisect_right(self._seqs, after)
        pieces: list[bytes] = []
        size = 0
        for index in range(first, len(self._seqs)):
            if wanted is not EVERYTHING and not wanted.takes(*self._names[index]):
                continue
            frame = self._frames[index]
            if size and size + len(frame) > PIECE_BYTES:
                return b"".join(pieces), self._seqs[index] - 1
            pieces.append(frame)
            size += len(frame)
        return b"".join(pieces), max(after, self.end)

    def has(self, after: int, wanted: Filter) -> bool:
        """Whether anything behind this position is wanted."""
        return bool(self.take(after, wanted)[0])
