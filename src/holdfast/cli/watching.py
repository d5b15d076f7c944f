"""Waits for changes and for time: follows the change log on a thread of its own, for commands that redraw or wait."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.cli import client
from holdfast.cli.events import Change, _follow
from holdfast.cli.failures import CommandError

if TYPE_CHECKING:
    from queue import SimpleQueue

#: What is only told by the clock (that an agent was not heard of for so long) is looked for this often.
LOOK_SECONDS = 5.0


class Watch:
    """The change log from a place on. The thread ends with the command."""

    def __init__(self, data: Path | None, after: int, **filters: str | None) -> None:
        from queue import SimpleQueue
        from threading import Thread

        self._changes: SimpleQueue[Change | CommandError] = SimpleQueue()
        follow = Thread(target=self._run, args=(data, after, filters), name="watch", daemon=True)
        follow.start()

    def _run(self, data: Path | None, after: int, filters: dict[str, str | None]) -> None:
        try:
            for change in _follow(data, after, **filters):
                self._changes.put(change)
        except CommandError as error:
            self._changes.put(error)

    def changes(self, seconds: float = LOOK_SECONDS) -> list[Change]:
        """The changes since the last call; waits for the first one, at most so long. A stream that ended is raised."""
        from queue import Empty

        found: list[Change] = []
        try:
            item = self._changes.get(timeout=max(0.0, seconds))
            while True:
                if isinstance(item, CommandError):
                    raise item
                found.append(item)
                item = self._changes.get_nowait()
        except Empty:
            return found

    def wait(self, about: Callable[[Change], bool]) -> None:
        """Wait for a change that this is about, at most until it is time to look anyway."""
        from time import monotonic

        end = monotonic() + LOOK_SECONDS
        while not any(map(about, self.changes(end - monotonic()))):
            if monotonic() >= end:
                return


def head(daemon: client.Client) -> int:
    """Where the change log stands: follow from here to miss nothing of what is done next."""
    return int(daemon.get("/api/v1/changes", after=0, limit=1)["head"])


def until(
    data: Path | None, after: int, session: str, over: Callable[[dict[str, Any]], bool], said: Callable[[str], None]
) -> dict[str, Any]:
    """Wait until a session is as wanted; what it is then. What it passes through is said."""
    watch = Watch(data, after)
    shown = ""
    while True:
        found: dict[str, Any] = client.connect(data).get(f"/api/v1/sessions/{client.segment(session)}")
        if over(found):
            return found
        place = f" ({found['queue_position']} in the queue)" if found["queue_position"] else ""
        if found["status"] + place != shown:
            shown = found["status"] + place
            said(f"{session} {shown}")
        watch.wait(lambda change: change["entity_id"] == session)
