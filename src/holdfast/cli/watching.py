"""Follows the change log as it grows, over breaks and restarts; waits for it and for time on a thread of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.cli import client, output
from holdfast.cli.failures import CommandError, NotRunningError, RefusedError

if TYPE_CHECKING:
    from queue import SimpleQueue

Change = dict[str, Any]
#: How often, and how many seconds apart, a stream that broke looks for the daemon: longer than a restart takes.
_TRIES = 20
_PAUSE = 0.5
_STARTING = 503
#: What is only told by the clock (that an agent was not heard of for so long) is looked for this often.
LOOK_SECONDS = 5.0
#: The exit status of what a person has interrupted.
_INTERRUPTED = 130


def follow(data: Path | None, after: int | None, **filters: str | None) -> Iterator[Change]:
    """The stream, taken up again where it broke; a gap that cannot be closed is said aloud."""
    from holdfast.core.clock import pause

    if after is None:
        # Now, written down: a stream that breaks before it has brought anything is taken up from there as well.
        after = head(client.connect(data))
    last: str | None = None
    begun, tries = False, 0
    while True:
        try:
            # After a restart the daemon may be at another address.
            daemon = client.connect(data)
            start = after if last is None else None
            for event_id, event, text in daemon.stream("/api/v1/events", last_event_id=last, after=start, **filters):
                last = event_id or last
                if event == "reset":
                    reason = json.loads(text).get("reason")
                    output.complain(f"holdfast: changes were passed over ({reason}); going on from {event_id}")
                    continue
                yield json.loads(text)
            tries = 0
        except (NotRunningError, RefusedError) as error:
            # Before anything was followed there is nothing to take up again.
            tries = tries + 1 if begun else _TRIES
            if tries >= _TRIES or not _may_pass(error):
                raise
        begun = True
        pause(_PAUSE)


def _may_pass(error: CommandError) -> bool:
    """Whether a daemon on its way up or down would say this."""
    return not isinstance(error, RefusedError) or error.http_status == _STARTING


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
            for change in follow(data, after, **filters):
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


def leave_at_once() -> None:
    """Let Ctrl-C end a command that only watches where it stands: whatever library it is in cannot swallow that."""
    import os
    import signal

    signal.signal(signal.SIGINT, lambda _number, _frame: os._exit(_INTERRUPTED))


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
