"""Reads what the hooks of agents have put into spool files, so that nothing said while the daemon was away is lost.

Read a batch, commit what it says, then settle it: a daemon that dies in between reads the same lines again, and the
launch and sequence of each tell the repetition. A file is emptied only when all of it is settled, under the lock that
the hooks append under; no line is ever moved.
"""

from __future__ import annotations

import fcntl
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec

from holdfast.core import faults
from holdfast.core.errors import Invalid
from holdfast.fleet.signals.hook import CUT, DROPPED, PAYLOAD_BYTES

_SESSION = re.compile(r"[a-z0-9][a-z0-9-]*")
_SUFFIX = ".jsonl"
#: What one batch reads at most; any line fits into it several times.
BATCH_BYTES = 4 * PAYLOAD_BYTES
#: Signals known to have come by a call, per session; beyond that they are read once more, which does no harm.
_CALLED = 4096
#: What a store takes as a number; a larger one comes from an environment that somebody has altered.
_LARGEST = (1 << 63) - 1
_CUT_MARK = re.compile(re.escape(CUT).replace(re.escape("{}"), r"(\d+)") + r"\Z")

READ = faults.point("spool.read", "a batch of signals has been read and nothing of it is committed")
COMMITTED = faults.point("spool.committed", "a batch is committed and its spool file is not emptied yet")


class Spooled(msgspec.Struct, frozen=True):
    """One signal as its hook wrote it."""

    launch: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)]
    seq: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)]
    agent: str
    event: str
    detail: dict[str, Any]
    at: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What was read of one spool: to be committed, then settled."""

    session: str
    #: In the order in which they were given, not that in which they were written.
    signals: tuple[Spooled, ...] = ()
    #: Lines that were no signal.
    garbage: int = 0
    #: Signals that hooks could not write, in all, since the session began.
    dropped: int = 0
    #: How far the file has been read, and which files of single hooks.
    through: int = 0
    aside: tuple[Path, ...] = ()
    #: Whether more can be read as soon as this is settled.
    more: bool = False


@dataclass(slots=True)
class _Mark:
    """How far a spool is settled, the size at which nothing but a torn line was left, and what was told otherwise."""

    offset: int = 0
    torn: int = -1
    dropped: int = 0
    called: set[tuple[int, int]] = field(default_factory=set)


_UNREAD = _Mark()


class Spool:
    """The spool files of all sessions, in one folder. Blocking; one caller at a time per session."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._marks: dict[str, _Mark] = {}
        self._decoder = msgspec.json.Decoder(Spooled)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, session: str) -> Path:
        """The spool file of a session: what HOLDFAST_SPOOL says to its hooks."""
        if not _SESSION.fullmatch(session):
            message = f"{session[:80]!r} is no id of a session: those have lower-case letters, digits and hyphens."
            raise Invalid(message)
        return self._folder / f"{session}{_SUFFIX}"

    def pending(self) -> list[str]:
        """The sessions with something to read; one listing, whatever their number."""
        found: set[str] = set()
        with os.scandir(self._folder) as entries:
            for entry in entries:
                session, _, rest = entry.name.partition(".")
                size, mark = entry.stat(follow_symlinks=False).st_size, self._marks.get(session, _UNREAD)
                if rest == "jsonl":
                    new = size not in {mark.offset, mark.torn}
                elif rest == f"jsonl{DROPPED}":
                    new = size != mark.dropped
                else:
                    new = size > 0 and rest.startswith("jsonl.")
                if new:
                    found.add(session)
        return sorted(found)

    def called(self, session: str, launch: int, seq: int) -> None:
        """A signal has come by a call and is committed: it need not be read again."""
        known = self._mark(session).called
        if len(known) >= _CALLED:
            known.clear()
        known.add((launch, seq))

    def read(self, session: str) -> Batch:
        """What is there and not settled; reading it again gives it again."""
        mark = self._mark(session)
        path = self.path(session)
        data, size = _bytes_of(path, mark.offset)
        if size < mark.offset:  # somebody else emptied it
            mark.offset = 0
            data, size = _bytes_of(path, 0)
        end = data.rfind(b"\n") + 1
        lines = data[:end].split(b"\n")
        if not end and len(data) == BATCH_BYTES:  # no line is that long
            end, lines = len(data), [data]
        # A file of a single hook is whole when its line has ended.
        aside = {other: text for other in self._aside(session) if (text := _bytes_of(other, 0)[0]).endswith(b"\n")}
        for text in aside.values():
            lines.extend(text.split(b"\n"))
        signals, garbage = self._decoded(lines)
        through = mark.offset + end
        mark.torn = size if not end else -1
        fresh = [signal for signal in signals if (signal.launch, signal.seq) not in mark.called]
        fresh.sort(key=lambda signal: (signal.launch, signal.seq))
        READ()
        more = len(data) == BATCH_BYTES and size > through
        mark.dropped = self._dropped(path)
        return Batch(session, tuple(fresh), garbage, mark.dropped, through, tuple(aside), more)

    def settle(self, batch: Batch) -> None:
        """What this batch says is committed: it is not read again, and its file is emptied if nothing came since."""
        COMMITTED()
        mark = self._mark(batch.session)
        mark.offset = batch.through
        for path in batch.aside:
            path.unlink(missing_ok=True)
        if batch.through and _emptied(self.path(batch.session), batch.through):
            mark.offset = 0
            mark.called.clear()

    def forget(self, session: str) -> None:
        """Take away all that is kept of a session that has ended and was drained."""
        path = self.path(session)
        for gone in (path, path.with_name(path.name + DROPPED), *self._aside(session)):
            gone.unlink(missing_ok=True)
        self._marks.pop(session, None)

    def _mark(self, session: str) -> _Mark:
        return self._marks.setdefault(session, _Mark())

    def _aside(self, session: str) -> list[Path]:
        start = f"{self.path(session).name}."
        names = [entry for entry in os.listdir(self._folder) if entry.startswith(start)]  # noqa: PTH208 - only names
        return [self._folder / name for name in names if not name.endswith(DROPPED)]

    def _dropped(self, path: Path) -> int:
        try:
            return path.with_name(path.name + DROPPED).stat().st_size
        except FileNotFoundError:
            return 0

    def _decoded(self, lines: list[bytes]) -> tuple[list[Spooled], int]:
        signals, garbage = [], 0
        for line in lines:
            if not line.strip():
                continue
            try:
                signals.append(self._decoder.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                garbage += 1
        return signals, garbage


def _bytes_of(path: Path, offset: int) -> tuple[bytes, int]:
    """At most a batch of a file from an offset on, and the size of the file."""
    try:
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return b"", 0
    try:
        return os.pread(opened, BATCH_BYTES, offset), os.fstat(opened).st_size
    finally:
        os.close(opened)


def _emptied(path: Path, size: int) -> bool:
    """Empty the file if it still ends there; a hook that holds the lock is not waited for."""
    try:
        opened = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(opened).st_size != size:
            return False
        os.ftruncate(opened, 0)
    except BlockingIOError:
        return False
    finally:
        os.close(opened)
    return True


def same_text(given: str, submitted: str) -> bool:
    """Whether this is the text that an agent says was submitted to it, as far as its hook passed that on."""
    cut = _CUT_MARK.search(submitted)
    if cut is None:
        return given == submitted
    return len(given) == int(cut[1]) and given.startswith(submitted[: cut.start()])


def shortened(text: str, most: int) -> str:
    """A submitted text cut to so many characters, in the way of a hook: it says how many there were in all."""
    if len(text) <= most:
        return text
    cut = _CUT_MARK.search(text)
    return text[:most] + CUT.format(len(text) if cut is None else cut[1])
