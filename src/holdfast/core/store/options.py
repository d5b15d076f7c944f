"""The sizes and time bounds of a store: one value, given once when it opens."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """How long things may take and how much may wait; the same names for both engines."""

    #: A unit of work that takes longer is stopped, because every other unit waits behind it.
    unit_seconds: float = 5.0
    #: A read that takes longer is stopped, because it keeps the store from tidying up behind the writers.
    read_seconds: float = 10.0
    readers: int = 4
    #: Connections that write (PostgreSQL); SQLite has one writer by its nature.
    writers: int = 4
    #: Units of work, and reads, that may wait; one more is told that the store is busy.
    queue: int = 10_000
    #: How long to wait for a lock that somebody else holds on the store.
    busy_seconds: float = 5.0
    #: The write-ahead log is folded into the database file when it is larger than this (SQLite).
    wal_bytes: int = 8 * 1024 * 1024
    #: The SQLite VFS to go through; a test puts one in that loses power or runs out of room.
    vfs: str | None = None
