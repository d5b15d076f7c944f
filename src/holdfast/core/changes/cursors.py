"""Cursors and filters of those who read the change log, as they stand in addresses and headers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import msgspec

from holdfast.core.errors import Malformed

_CURSOR = re.compile(r"(?:(?P<store>[A-Za-z0-9_-]{1,64}):)?(?P<seq>[0-9]{1,18})", re.ASCII)
#: Scopes or events that one reader may name; more is a mistake, and would cost every commit.
MOST_NAMES = 100
_LONGEST_NAME = 200

#: Why a cursor is no good any more: of another store, older than the oldest row, newer than the newest one.
Spoiled = Literal["foreign", "expired", "ahead"]


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last change that a reader has; without a store it is taken to be of this one."""

    seq: int
    store: str | None = None

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """`<store>:<seq>`, as in the id of an event, or the plain number."""
        found = _CURSOR.fullmatch(text.strip())
        if found is None:
            message = f"{text[:80]!r} is no position in the change log: send <store>:<number> or a number"
            raise Malformed(message)
        return cls(int(found["seq"]), found["store"])

    @classmethod
    def wanted(cls, last_event_id: str | None, after: str | None) -> Cursor | None:
        """Where a stream goes on. A client that reconnects repeats its first address: then the header is the newer."""
        text = last_event_id or after
        return cls.parse(text) if text else None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which changes a reader wants; an empty set stands for all of them."""

    scopes: frozenset[str] = frozenset()
    events: frozenset[str] = frozenset()

    @classmethod
    def of(cls, scopes: Iterable[str] = (), events: Iterable[str] = ()) -> Filter:
        """From repeated parameters, each of which may hold several names parted by commas."""
        return cls(_names("scope", scopes), _names("event", events))

    def takes(self, scope: str, event: str) -> bool:
        """Whether a change is wanted."""
        return (not self.scopes or scope in self.scopes) and (not self.events or event in self.events)

    @property
    def scopes_json(self) -> str | None:
        """The scopes as the statements take them."""
        return _json(self.scopes)

    @property
    def events_json(self) -> str | None:
        """The events as the statements take them."""
        return _json(self.events)


EVERYTHING = Filter()


def _names(what: str, given: Iterable[str]) -> frozenset[str]:
    names = frozenset(name for text in given for name in text.split(",") if name)
    if len(names) > MOST_NAMES or any(len(name) > _LONGEST_NAME or "\0" in name for name in names):
        message = f"{what}: at most {MOST_NAMES} names of at most {_LONGEST_NAME} characters"
        raise Malformed(message)
    return names


def _json(names: frozenset[str]) -> str | None:
    return msgspec.json.encode(sorted(names)).decode() if names else None
