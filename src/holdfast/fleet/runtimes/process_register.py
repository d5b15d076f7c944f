"""The places of the `process` runtime as their files and the kernel tell of them; asks no holder. Blocks, briefly."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from holdfast.fleet import processes
from holdfast.fleet.processes import Identity
from holdfast.fleet.runtimes.holder import files
from holdfast.fleet.runtimes.port import Pane, RuntimeFailed


class Held(msgspec.Struct, frozen=True):
    """A place that was started: what stands in its file, written once."""

    version: int
    socket: str
    holder: Identity
    agent: Identity


class End(msgspec.Struct, frozen=True):
    """How an agent ended; neither is known while it lives."""

    status: int | None = None
    signal: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """One pass over all places: those that are clear, and those whose holders must be asked."""

    panes: dict[str, Pane]
    doubtful: dict[str, Held]


class Register:
    """The folder that holds a few small files for every place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, tuple[tuple[int, int], Held]] = {}
        self._ends: dict[str, tuple[Held, End]] = {}

    def path(self, name: str) -> Path:
        """Where the files of a place begin."""
        return self.folder / name

    def read(self, name: str) -> Held | None:
        """What was started under this name; None when nothing was."""
        path = f"{self.path(name)}{files.PLACE}"
        try:
            # os, not Path: this is done for every place at every look.
            seen = os.stat(path)  # noqa: PTH116
            mark = seen.st_ino, seen.st_mtime_ns
            known = self._known.get(name)
            if known is None or known[0] != mark:
                known = self._known[name] = mark, msgspec.json.decode(Path(path).read_bytes(), type=Held)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise RuntimeFailed(f"{path} cannot be read ({error}): forget this place, or mend the file.") from error
        return known[1]

    def look(self) -> Seen:
        """Every place, without a question to anybody but the kernel. An `OSError` says that there was no looking."""
        names = set(os.listdir(self.folder))  # noqa: PTH208 - names alone
        seen = Seen({}, {})
        places = {each.removesuffix(files.PLACE) for each in names if each.endswith(files.PLACE)}
        for name in sorted(places):
            try:
                held = self.read(name)
            except RuntimeFailed:
                seen.panes[name] = Pane(name, "failed")  # damage tells nothing of what it was about
                continue
            if held is None:  # forgotten since it was listed
                continue
            end = self.end(name, held) if name + files.END in names else None
            pane = self._pane(name, held) if end is None else ended(name, end)
            if pane is None:
                seen.doubtful[name] = held
            else:
                seen.panes[name] = pane
        self._forget_others(places)
        return seen

    def end(self, name: str, held: Held) -> End | None:
        """How the agent of a place ended, where that was written down."""
        known = self._ends.get(name)
        if known is not None and known[0] == held:
            return known[1]
        try:
            found = msgspec.json.decode(self.path(name + files.END).read_bytes(), type=End)
        except (OSError, msgspec.MsgspecError):
            return None
        self._ends[name] = held, found
        return found

    def _pane(self, name: str, held: Held) -> Pane | None:
        """What the kernel knows of a place whose end is not written down; None where its holder must be asked."""
        match processes.state(held.holder):
            case "failed":
                return Pane(name, "failed")
            case "dead":
                # It may have written the end down and gone since that was looked for.
                end = self.end(name, held)
                return Pane(name, "missing") if end is None else ended(name, end)
        if _stopped(held.holder.pid):
            return None
        match processes.state(held.agent):
            case "alive":
                return Pane(name, "alive")
            case "failed":
                return Pane(name, "failed")
        return None

    def remove(self, name: str) -> None:
        """Take away the files of a place whose holder is gone; those of one that lives stay."""
        lock = self.path(name + files.LOCK)
        if lock.exists() and (descriptor := files.lock(str(lock))) is not None:
            try:
                with suppress(RuntimeFailed):
                    if (held := self.read(name)) is not None:
                        Path(held.socket).unlink(missing_ok=True)
                for suffix in (files.END, files.BROKEN, files.PLACE, files.LOCK):
                    self.path(name + suffix).unlink(missing_ok=True)
            finally:
                os.close(descriptor)

    def _forget_others(self, names: Iterable[str]) -> None:
        for known in (self._known, self._ends):
            for name in known.keys() - set(names):
                known.pop(name, None)


def ended(name: str, end: End) -> Pane:
    """A place whose agent has ended."""
    return Pane(name, "dead", exit_status=end.status, exit_signal=end.signal)


def _stopped(pid: int) -> bool:
    """Whether somebody has stopped this process, so that it answers nobody."""
    try:
        line = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return line[line.rindex(b")") + 2 :][:1] in b"Tt"
