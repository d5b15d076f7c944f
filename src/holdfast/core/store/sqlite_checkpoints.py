"""Folds the write-ahead log back into the database file, on a thread of its own, and keeps the log bounded."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import apsw

from holdfast.core import faults

if TYPE_CHECKING:
    from holdfast.core.store.options import StoreOptions
    from holdfast.core.store.sqlite_session import Session
    from holdfast.core.store.turnstile import Turnstile

BEFORE_CHECKPOINT = faults.point("sqlite.checkpoint.before", "the log is long enough, folding it has not begun")
AFTER_CHECKPOINT = faults.point("sqlite.checkpoint.after", "the log has been folded into the database file")

# A log that has outgrown its bound this many times is begun anew, for which everybody steps aside for a moment; if a
# long read stands in the way, the next attempt comes when the log has grown by as much again.
_OUTGROWN = 4
_ASIDE_SECONDS = 0.25


class Checkpoints:
    """Wakes when a commit leaves the log too long; an idle store has an idle checkpointer."""

    def __init__(self, session: Session, *, options: StoreOptions, writer: Turnstile, readers: Turnstile) -> None:
        self._connection = session.connection
        self._connection.set_busy_timeout(0)
        self._writer = writer
        self._readers = readers
        self._pages = max(1, options.wal_bytes // self._connection.pragma("page_size"))
        self._insist_at = self._pages * _OUTGROWN
        self._due = threading.Event()
        self._ending = False
        #: Why the last attempt failed, for the health check; nothing if it did not.
        self.trouble: str | None = None

    def committed(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        """SQLite's own call after every commit, on the writer's thread."""
        if pages > self._pages:
            self._due.set()
        return apsw.SQLITE_OK

    def finish(self) -> None:
        """Come to an end; closing the last connection folds what is left."""
        self._ending = True
        self._due.set()

    def run(self) -> None:
        """The thread's body."""
        while True:
            self._due.wait()
            self._due.clear()  # before looking: what comes from now on wakes it again
            if self._ending:
                return
            BEFORE_CHECKPOINT()
            try:
                self._fold()
            except apsw.BusyError:
                continue  # somebody reads old pages; the next commit asks again
            except apsw.Error as error:  # a full or failing disk: the log still holds everything
                self.trouble = f"the write-ahead log could not be folded into the database file ({error})"
                continue
            self.trouble = None
            AFTER_CHECKPOINT()

    def _fold(self) -> None:
        """Fold beside the writer, which leaves the log as long as it is; make it begin anew only if it must."""
        pages, _ = self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        if pages <= self._insist_at:
            return
        self._insist_at = pages + self._pages * _OUTGROWN
        # The readers first: as long as one of them reads on, there is no reason to hold the writer up.
        with self._readers.alone(_ASIDE_SECONDS) as no_reader:
            if no_reader:
                with self._writer.alone(_ASIDE_SECONDS):
                    self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
                self._insist_at = self._pages * _OUTGROWN
