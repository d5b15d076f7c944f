"""The HTTP application as the daemon builds it, on an open store, asked in this process without a socket."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import msgspec

from holdfast.app import packs
from holdfast.core.access.tokens import Tokens, ensure_first
from holdfast.core.audit import record
from holdfast.core.changes import log
from holdfast.core.changes.feed import Feed
from holdfast.core.changes.hub import Hub
from holdfast.core.clock import SYSTEM, Clock
from holdfast.core.health.checks import Check, core_checks
from holdfast.core.health.readiness import About, Readiness
from holdfast.core.health.writing import Writing
from holdfast.core.pack import AuditKind, Means, Pack
from holdfast.core.propagation.service import registry_of
from holdfast.core.store.port import Unit
from holdfast.core.web.deps import Deps, Propagating
from holdfast.core.web.factory import Application, build_app
from holdfast.core.web.routes import Access, Call, Reply, Route
from holdfast.core.web.shapes import answer
from holdfast.core.web.writes import Written, write
from holdfast.settings import Settings

if TYPE_CHECKING:
    from conftest import StoreMaker
    from holdfast.core.store.port import Store

BASE = "http://127.0.0.1:4680"


class Said(msgspec.Struct):
    """What the test pack's routes answer."""

    session: str


async def _say(call: Call) -> Reply:
    return answer(Said(call.path["session"]))


async def _note(call: Call) -> Reply:
    return await write(call, "session.noted", lambda _unit: Written(answer(Said(call.path["session"])), "note"))


async def _fail(_call: Call) -> Reply:
    secret = "a bug that nobody foresaw, with hft_" + "x" * 43
    raise ZeroDivisionError(secret)


#: Routes that reach what no route of the product reaches yet: session scope, and a bug.
EXTRA = Pack(
    "extra",
    "testpack",
    audit=(AuditKind("session.noted", "An agent noted something."),),
    routes=(
        Route(
            method="GET",
            path="/test/sessions/{session}",
            access=Access.SESSION,
            handler=_say,
            audit=None,
            summary="Says which session it is",
            reply=Said,
        ),
        Route(
            method="POST",
            path="/test/sessions/{session}/notes",
            access=Access.SESSION,
            handler=_note,
            audit="session.noted",
            summary="Notes something",
            reply=Said,
        ),
        Route(
            method="GET", path="/test/bug", access=Access.READ, handler=_fail, audit=None, summary="Fails", reply=Said
        ),
    ),
)


@dataclass
class Served:
    """An application, and what is behind it."""

    app: Application
    deps: Deps
    store: Store
    admin: str
    folder: Path
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    def client(self, token: str | None = None, **headers: str) -> httpx.AsyncClient:
        """A client with this token; the admin's is `self.admin`."""
        given = headers | ({"authorization": f"Bearer {token}"} if token else {})
        # The boundary answers what it can; what it lets through is a test's to see.
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        client = httpx.AsyncClient(transport=transport, base_url=BASE, headers=given, trust_env=False)
        self.clients.append(client)
        return client

    @cached_property
    def boss(self) -> httpx.AsyncClient:
        """A client with the first token."""
        return self.client(self.admin)

    async def token(self, scope: str, name: str = "test") -> tuple[str, str]:
        """A new token: its id and its secret."""
        made = (await self.boss.post("/api/v1/tokens", json={"name": name, "scope": scope})).json()
        return made["id"], made["token"]

    async def head(self) -> int:
        """The newest row of the change log in the store itself."""
        return (await self.store.read(log.bounds)).newest

    def repository(self, name: str, *, commit: bool = True, bare: bool = False) -> Path:
        """A git repository."""
        path = self.folder / name
        path.mkdir(parents=True)
        git(path, "init", "--quiet", *(["--bare"] if bare else []))
        if commit and not bare:
            git(path, "commit", "--quiet", "--allow-empty", "--message", "Begin")
        return path


def git(path: Path, *words: str) -> None:
    """Run git without the settings of whoever runs the tests."""
    author = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *author, "-C", str(path), *words], check=True, capture_output=True)


@asynccontextmanager
async def serving(
    make_store: StoreMaker,
    folder: Path,
    *,
    clock: Clock = SYSTEM,
    checks: Sequence[Check] | None = None,
    **overrides: Any,
) -> AsyncIterator[Served]:
    """Everything that the daemon starts between the store and the socket."""
    own = packs()
    store = await make_store(packs=own)
    settings = Settings.load(folder, overrides=overrides)
    feed = Feed(store, clock)
    await feed.start()
    token = folder / "token"
    await ensure_first(store, token)
    tokens = Tokens(store, feed, clock)
    await tokens.start()
    hub = Hub(feed, clock)
    await hub.start()
    about = About(settings.roles, "0.0.0")
    writing = Writing(store)
    readiness = Readiness(
        core_checks(store, feed, writing, folder) if checks is None else checks, clock, about, writing
    )
    await readiness.start()
    means = Means(store, clock, settings, own)
    deps = Deps(means, feed, hub, tokens, readiness)
    deps.propagations = Propagating(registry_of(own))
    app = build_app((*own, EXTRA), deps)
    served = Served(app, deps, store, token.read_text().strip(), folder)
    try:
        yield served
    finally:
        for client in served.clients:
            await client.aclose()
        for service in (readiness, hub, tokens, feed):
            await service.stop()


def noted(unit: Unit, subject: str) -> None:
    """Something for the change log."""
    record(unit, "session.noted", subject, {})
