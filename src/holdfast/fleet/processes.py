"""Processes by identity: who is alive, who belongs to whom, how they end. Linux: reads `/proc`."""

from __future__ import annotations

import asyncio
import os
import select
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from errno import EINVAL, ENOSYS, EPERM
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import Literal

import msgspec

from holdfast.core import clock, logs

#: What is known of a process: `failed` is a look that told nothing; it is never read as a death.
Condition = Literal["alive", "dead", "failed"]

_log = logs.get("processes")
_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
#: How long killed processes are given to be gone.
_KILL_SECONDS = 2.0
#: Without pidfds (Linux before 5.3) ends are looked for this often.
_LOOK_SECONDS = 0.05


class Identity(msgspec.Struct, frozen=True):
    """One process for good: a pid is used again, and a wall clock moves."""

    boot: str
    pid: int
    #: Clock ticks from boot to its start; 0 when it was gone before it could be asked, which no living process has.
    started: int


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of processes that were to end: those that are gone, and those that even SIGKILL left."""

    ended: tuple[Identity, ...]
    stubborn: tuple[Identity, ...]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a tree of processes takes: memory as resident (shared pages count in each), processor time so far."""

    resident_bytes: int
    cpu_seconds: float
    processes: int


@dataclass(frozen=True, slots=True)
class _Entry:
    """The line of one process in /proc, as far as anybody here asks."""

    pid: int
    state: str
    parent: int
    group: int
    session: int
    ticks: int
    threads: int
    started: int
    pages: int

    @property
    def gone(self) -> bool:
        # A leader that has ended reads Z while its other threads run on: such a process lives.
        return self.state in "XxZ" and self.threads <= 1


@lru_cache(maxsize=1)
def boot_id() -> str:
    """The id of this boot of the machine."""
    return (_PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()


def identify(pid: int) -> Identity | None:
    """Who has this pid now, be it a zombie; None when nobody has."""
    try:
        return Identity(boot_id(), pid, _entry(pid).started)
    except (FileNotFoundError, ProcessLookupError):
        return None


def state(identity: Identity) -> Condition:
    """Whether this very process lives; a zombie does not, nor does anything from before the last boot."""
    try:
        if identity.boot != boot_id():
            return "dead"
        entry = _entry(identity.pid)
    except ProcessLookupError:
        return "dead"
    except FileNotFoundError:
        # No such folder proves a death only where there is a /proc at all.
        return "dead" if (_PROC / "self/stat").exists() else "failed"
    except (OSError, ValueError):
        return "failed"
    return "dead" if entry.gone or entry.started != identity.started else "alive"


def lives(pid: int) -> bool:
    """Whether anybody of this pid lives; a zombie does not. Says nothing of who it is."""
    try:
        return not _entry(pid).gone
    except (OSError, ValueError):
        return False


def _entry(pid: int) -> _Entry:
    line = (_PROC / str(pid) / "stat").read_bytes()
    if not line:
        raise ProcessLookupError(pid)
    # The name stands in brackets and may hold anything, brackets and blanks too: what counts is after the last one.
    word = line[line.rindex(b")") + 2 :].split()
    return _Entry(
        pid, word[0].decode(), int(word[1]), int(word[2]), int(word[3]), sum(map(int, word[11:15])),
        int(word[17]), int(word[19]), int(word[21]),
    )  # fmt: skip


def _table() -> dict[int, _Entry]:
    """Every process that lives now, in one pass."""
    found = {}
    for name in os.listdir(_PROC):  # noqa: PTH208 - names alone; a thousand Path objects would be most of the cost
        if name.isdigit():
            with suppress(OSError, ValueError):
                entry = _entry(int(name))
                if not entry.gone:
                    found[entry.pid] = entry
    return found


# --- who belongs to whom -----------------------------------------------------------------------------------------


def owned(root: Identity | None, *marks: Mapping[str, str]) -> list[Identity]:
    """Every process of this user that belongs to a launch, whoever its parent is by now.

    They are those of the session or group of `root`, those whose environment holds all of one of the `marks` (daemons
    that left both), and the descendants of any. Never this process or one that it descends from. A process that has
    left the session, the group and its parent, and has emptied its environment, is not found (`standing.py`).
    """
    table, boot = _table(), boot_id()
    spared = _lineage(table, os.getpid())
    if root is not None and (root.boot != boot or _taken(table, root)):
        root = None
    wanted = [{f"{name}={value}".encode() for name, value in each.items()} for each in marks if each]
    seeds = {
        pid
        for pid, entry in table.items()
        if pid not in spared and ((root is not None and _beside(entry, root)) or _marked(pid, wanted))
    }
    pids = _descent(table, seeds) - spared
    return [Identity(boot, pid, table[pid].started) for pid in sorted(pids) if _ours(pid)]


def _taken(table: Mapping[int, _Entry], root: Identity) -> bool:
    """Whether the pid belongs to somebody else by now; then its session and group say nothing any more."""
    now = table.get(root.pid)
    return now is not None and now.started != root.started


def _beside(entry: _Entry, root: Identity) -> bool:
    return root.pid in {entry.pid, entry.session, entry.group} and entry.started >= root.started


def _marked(pid: int, wanted: Sequence[set[bytes]]) -> bool:
    if not wanted:
        return False
    try:
        found = set((_PROC / str(pid) / "environ").read_bytes().split(b"\0"))
    except OSError:
        return False
    return any(each <= found for each in wanted)


def mark(identity: Identity, name: str) -> str | None:
    """What a variable of a process's environment says; None where it is not there or cannot be read."""
    try:
        words = (_PROC / str(identity.pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return None
    start = name.encode() + b"="
    return next((os.fsdecode(word[len(start) :]) for word in words if word.startswith(start)), None)


def _ours(pid: int) -> bool:
    try:
        return (_PROC / str(pid)).stat().st_uid == os.geteuid()
    except OSError:
        return False


def _lineage(table: Mapping[int, _Entry], pid: int) -> set[int]:
    """A process and all that it descends from."""
    line: set[int] = {0, 1}
    while pid not in line:
        line.add(pid)
        pid = table[pid].parent if pid in table else 0
    return line


def _descent(table: Mapping[int, _Entry], seeds: set[int]) -> set[int]:
    """The seeds and all that descend from them."""
    children: dict[int, list[int]] = {}
    for entry in table.values():
        children.setdefault(entry.parent, []).append(entry.pid)
    found, open_ends = set(seeds), list(seeds)
    while open_ends:
        new = [pid for pid in children.get(open_ends.pop(), ()) if pid not in found]
        found.update(new)
        open_ends += new
    return found


def usage(roots: Iterable[Identity]) -> dict[Identity, Usage]:
    """What each living root takes with its descendants and all of its session, from one pass over /proc."""
    table, boot = _table(), boot_id()
    found = {}
    for root in roots:
        if root.boot != boot or root.pid not in table or table[root.pid].started != root.started:
            continue
        pids = _descent(table, {pid for pid, entry in table.items() if root.pid in {pid, entry.session}})
        entries = [table[pid] for pid in pids]
        resident, ticks = sum(entry.pages for entry in entries), sum(entry.ticks for entry in entries)
        found[root] = Usage(resident * _PAGE, ticks / _TICKS, len(entries))
    return found


# --- how they end ------------------------------------------------------------------------------------------------


def end(processes: Iterable[Identity] | Callable[[], Iterable[Identity]], grace_seconds: float) -> Ended:
    """Ask them to end, give them `grace_seconds`, kill the rest, and look whether that is so.

    A callable is asked again after every wait: what was started meanwhile ends too. Each is signalled by itself, by
    pidfd, so that neither a pid that is used again nor a group that somebody else joined is ever hit. Blocks.
    """
    given = processes if callable(processes) else tuple(processes)
    seen: dict[Identity, None] = {}

    def living() -> list[Identity]:
        found = given() if callable(given) else given
        seen.update(dict.fromkeys(found))
        return [each for each in seen if state(each) != "dead"]

    asked: set[Identity] = set()
    deadline = monotonic() + grace_seconds
    while (left := living()) and (seconds := deadline - monotonic()) > 0:
        for each in left:
            if each not in asked:
                tell(each, signal.SIGTERM, signal.SIGCONT)
        asked.update(left)
        _wait(left, seconds)
    deadline = monotonic() + _KILL_SECONDS
    while (left := living()) and (seconds := deadline - monotonic()) > 0:
        for each in left:
            tell(each, signal.SIGKILL)
        _wait(left, seconds)
    stubborn = tuple(living())
    return Ended(tuple(each for each in seen if each not in stubborn), stubborn)


@contextmanager
def _held(identity: Identity) -> Iterator[int | None]:
    """A descriptor that means this very process for as long as it is open; None when it is gone."""
    try:
        descriptor = os.pidfd_open(identity.pid)
    except (ProcessLookupError, OverflowError):
        yield None
        return
    except OSError as error:
        if error.errno == EINVAL:  # a pid that no process can have
            yield None
            return
        raise
    try:
        # Compared after the opening: if it is the right one now, then the descriptor is of the right one.
        yield descriptor if state(identity) != "dead" else None
    finally:
        os.close(descriptor)


def tell(identity: Identity, *numbers: signal.Signals) -> None:
    """Send signals to this very process; nothing happens when it is gone."""
    try:
        with _held(identity) as descriptor:
            if descriptor is not None:
                for number in numbers:
                    with suppress(ProcessLookupError, PermissionError):
                        signal.pidfd_send_signal(descriptor, number)
    except OSError as error:
        _without_pidfd(error)
        for number in numbers:
            if state(identity) == "alive":
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(identity.pid, number)


def _wait(identities: Iterable[Identity], seconds: float) -> None:
    """Return when one of them is gone, or the time is over."""
    identities = tuple(identities)
    try:
        with ExitStack() as stack:
            descriptors = [stack.enter_context(_held(each)) for each in identities]
            poll = select.poll()
            for descriptor in descriptors:
                if descriptor is None:
                    return
                poll.register(descriptor, select.POLLIN)
            poll.poll(seconds * 1000)
    except OSError as error:
        _without_pidfd(error)
        deadline = monotonic() + seconds
        while monotonic() < deadline and all(state(each) != "dead" for each in identities):
            clock.pause(_LOOK_SECONDS)


@lru_cache(maxsize=1)
def _warn() -> None:
    _log.warning("no pidfds here: ends are looked for by polling", look_seconds=_LOOK_SECONDS)


def _without_pidfd(error: OSError) -> None:
    """Let polling take over, loudly, where the kernel or its sandbox has no pidfds; anything else is an error."""
    if error.errno not in {ENOSYS, EPERM}:
        raise error
    _warn()


# --- who ends, as it happens ----------------------------------------------------------------------------------------


def watch(
    identity: Identity, callback: Callable[[], None], loop: asyncio.AbstractEventLoop | None = None
) -> Callable[[], None]:
    """Call back once, on the loop, when this process is gone (soon, if it is); what is returned ends the watch.

    The kernel tells: no timer runs, no look is taken, whoever its parent is.
    """
    loop = loop or asyncio.get_running_loop()
    try:
        watching = ExitStack()
        descriptor = watching.enter_context(_held(identity))
    except OSError as error:
        _without_pidfd(error)
        return _poll(identity, callback, loop)
    if descriptor is None:
        watching.close()
        return loop.call_soon(callback).cancel
    known = descriptor
    watched = [identity]

    def unwatch() -> bool:
        if not watched:
            return False
        watched.clear()
        loop.remove_reader(known)
        watching.close()
        return True

    def gone() -> None:
        if unwatch():
            callback()

    def stop() -> None:
        unwatch()

    loop.add_reader(known, gone)
    return stop


def _poll(identity: Identity, callback: Callable[[], None], loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
    timers: list[asyncio.TimerHandle] = []

    def look() -> None:
        timers.clear()
        if state(identity) == "dead":
            callback()
        else:
            timers.append(loop.call_later(_LOOK_SECONDS, look))

    timers.append(loop.call_later(0, look))

    def stop() -> None:
        while timers:
            timers.pop().cancel()

    return stop
