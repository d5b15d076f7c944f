"""Bearer tokens: hashed at rest, looked up in memory, never logged and never shown again."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.core import audit, logs
from holdfast.core.access import scopes
from holdfast.core.changes import log
from holdfast.core.changes.cursors import Filter
from holdfast.core.errors import Conflict, NotFound, StoreBusy, StoreClosed, StoreLost, StoreRefused, UnitTooLong
from holdfast.core.ids import new_id, new_secret
from holdfast.core.lifecycle import spawn
from holdfast.core.store.files import make_private, put_in_place, refusal
from holdfast.core.store.port import Act, Reader, Row, Store, Unit
from holdfast.core.store.sql import load

if TYPE_CHECKING:
    from holdfast.core.changes.feed import Feed
    from holdfast.core.clock import Clock

SQL = load("holdfast.core.access", "tokens.sql")
CREATED = "token.created"
REVOKED = "token.revoked"
#: The least time between two looks into the change log while it grows.
LOOK_SECONDS = 0.25
_OURS = Filter(frozenset({"system"}), frozenset({"token_created", "token_updated", "token_removed"}))
_log = logs.get("tokens")
_PREFIX = "hft"
_SECRET = re.compile(r"hft_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is calling: a live token."""

    token_id: str
    scope: str
    hash: str

    @property
    def actor(self) -> str:
        """How the change log names them: agents by their session, everybody else by their token."""
        return self.scope if scopes.session_of(self.scope) else f"token:{self.token_id}"


def hash_of(secret: str) -> str:
    """What is kept of a token. It has 256 random bits: a plain hash cannot be searched, a slow one would only cost."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token in the moment of its making: the only one in which its secret is known."""

    id: str
    secret: str
    hash: str


def new_token() -> NewToken:
    """Make a secret; nothing is stored yet."""
    secret = new_secret(_PREFIX)
    return NewToken(new_id("tok"), secret, hash_of(secret))


def add(unit: Unit, token: NewToken, name: str, scope: str) -> Row:
    """Store a new token's hash; the row without it."""
    unit.run(SQL.add, id=token.id, name=name, hash=token.hash, scope=scopes.check(scope), at=unit.at)
    return {"id": token.id, "name": name, "scope": scope, "created_at": unit.at, "revoked_at": None}


def revoke(unit: Unit, token_id: str) -> tuple[Row, bool]:
    """End a token for good; the row, and whether it was this that ended it. Ending an ended one changes nothing."""
    row = unit.one(SQL.by_id, id=token_id)
    if row is None:
        message = f"There is no token {token_id[:80]!r}. `holdfast token ls` lists them."
        raise NotFound(message)
    if row["revoked_at"] is None and row["scope"] == scopes.ADMIN:
        others = unit.one(SQL.other_admins, id=token_id)
        if not others or not others["others"]:
            message = (
                f"{token_id} is the last admin token: nobody could manage the daemon without it. "
                "Make another one with `holdfast token create NAME --scope admin`, then revoke this."
            )
            raise Conflict(message)
    if row["revoked_at"] is not None:
        return row, False
    unit.run(SQL.revoke, id=token_id, at=unit.at)
    return row | {"revoked_at": unit.at}, True


class Tokens:
    """The live tokens in memory, by hash. Right at once after a change made here, and soon after one made elsewhere.

    Elsewhere is another process on the same store, or a change here whose caller was gone before it was told of it: the
    change log tells of those.
    """

    name = "tokens"

    def __init__(self, store: Store, feed: Feed, clock: Clock) -> None:
        self._store = store
        self._feed = feed
        self._clock = clock
        self._live: dict[str, Identity] = {}
        self._meanwhile: dict[str, Identity] = {}  # added here since the last load began
        self._ended: set[str] = set()
        self._watchers: dict[str, list[Callable[[], None]]] = {}  # by hash: what a live token has open
        self._moved = asyncio.Event()
        self._seen = 0
        self._unhook: Callable[[], None] | None = None
        self._following: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the live tokens and follow the change log from there."""
        if self._following is not None:
            return
        self._seen = self._feed.position
        await self.load()
        self._unhook = self._feed.on_advance(self._moved.set)
        self._moved.set()
        self._following = spawn(self._follow(), name="tokens", forever=True)

    async def stop(self) -> None:
        """Follow no more."""
        following, self._following = self._following, None
        if following is None:
            return
        if self._unhook is not None:
            self._unhook()
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following

    async def _follow(self) -> None:
        while True:
            await self._moved.wait()
            self._moved.clear()  # before the look, so that what comes during it is looked at too
            try:
                await self._look()
            except (StoreLost, StoreBusy, UnitTooLong) as error:
                _log.warning("tokens could not be read again", error=str(error))
                self._moved.set()
            except StoreClosed:
                await asyncio.Event().wait()  # the daemon is on its way down and will stop us
            await self._clock.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        upto = self._feed.position
        after = self._seen

        def work(reader: Reader) -> bool:
            return bool(log.page(reader, after=after, upto=upto, limit=1, filter=_OURS))

        if after < upto and await self._store.read(work):
            await self.load()
        self._seen = upto

    async def load(self) -> None:
        """Read the live tokens from the store."""
        self._meanwhile = {}
        rows = await self._store.read(lambda reader: reader.all(SQL.live))
        # What was read may be older than what was done here meanwhile: neither lose a token nor bring one back.
        live = {row["hash"]: Identity(row["id"], row["scope"], row["hash"]) for row in rows} | self._meanwhile
        self._live = {key: each for key, each in live.items() if each.token_id not in self._ended}
        self._tell()

    def find(self, secret: str) -> Identity | None:
        """Who this secret belongs to, if it is live."""
        digest = hash_of(secret)
        found = self._live.get(digest)
        return found if found is not None and hmac.compare_digest(found.hash, digest) else None

    def holds(self, identity: Identity) -> bool:
        """Whether this token is still live."""
        return self._live.get(identity.hash) == identity

    def added(self, token: NewToken, scope: str) -> None:
        """A token was stored: it is good from now on."""
        if token.id not in self._ended:
            self._live[token.hash] = self._meanwhile[token.hash] = Identity(token.id, scope, token.hash)

    def ended(self, token_id: str) -> None:
        """A token was revoked: it is refused from now on, and what it has open is told."""
        self._ended.add(token_id)
        self._live = {key: live for key, live in self._live.items() if live.token_id != token_id}
        self._tell()

    def watch(self, identity: Identity, ended: Callable[[], None]) -> Callable[[], None]:
        """Call `ended` when this token is no longer live (at once if it is not); what is returned ends the watch."""
        watchers = self._watchers.setdefault(identity.hash, [])
        watchers.append(ended)
        if not self.holds(identity):
            self._tell()

        def unwatch() -> None:
            left = self._watchers.get(identity.hash, [])
            if ended in left:
                left.remove(ended)
            if not left:
                self._watchers.pop(identity.hash, None)

        return unwatch

    def _tell(self) -> None:
        for key in [key for key in self._watchers if key not in self._live]:
            for ended in self._watchers.pop(key):
                ended()

    @property
    def count(self) -> int:
        """How many are live."""
        return len(self._live)


# --- the first one ---------------------------------------------------------------------------------------------


async def ensure_first(store: Store, path: Path) -> None:
    """See to it that somebody can get in: while no admin token is live, make one and keep it in `path`, mode 0600.

    The file is written before the row: a crash between leaves a file whose secret is taken up by the next start.
    """
    secret = _kept(path)
    act = Act("daemon", "first-token")
    taken_up = await store.read(lambda reader: _needed(reader, secret))
    if not taken_up:
        return
    if secret is None or taken_up == "fresh":
        secret = new_token().secret
        _keep(path, secret)
    token = NewToken(new_id("tok"), secret, hash_of(secret))

    def work(unit: Unit) -> None:
        if _needed(unit, secret):
            add(unit, token, "first", scopes.ADMIN)
            audit.record(unit, CREATED, token.id, {"name": "first", "scope": scopes.ADMIN})

    await store.unit(act, work)


def _needed(reader: Reader, secret: str | None) -> str:
    """Empty when an admin token is live; else whether the kept secret can be taken up or a fresh one is due."""
    others = reader.one(SQL.other_admins, id="")
    if others and others["others"]:
        return ""
    known = reader.one(SQL.by_hash, hash=hash_of(secret)) if secret else None
    return "fresh" if secret is None or known is not None else "kept"


def _kept(path: Path) -> str | None:
    try:
        text = path.read_text("utf-8").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    except OSError as error:
        message = (
            f"The token file {path} cannot be read ({os.strerror(error.errno) if error.errno else error}), so nobody "
            "could sign in with it. Make it a file that this user can read, or move it away."
        )
        raise StoreRefused(message) from None
    return text if _SECRET.fullmatch(text) else None


def _keep(path: Path, secret: str) -> None:
    new = path.with_name(path.name + ".new")
    try:
        make_private(new)
        new.write_text(secret + "\n", "utf-8")
        put_in_place(new, path)
    except OSError as error:
        raise refusal(path.parent, error) from None
