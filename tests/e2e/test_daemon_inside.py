"""The whole daemon inside the test's own process: what it does while it starts, and that it does nothing while idle."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from holdfast.app import App
from holdfast.core import faults
from holdfast.core.lifecycle import spawn
from holdfast.core.store.lock import hold_data
from holdfast.core.store.port import Act, Unit
from holdfast.core.store.sql import query
from holdfast.core.web.server import Server, bind
from holdfast.settings import Settings

IDLE_SECONDS = 5.0
_PATIENCE = 30.0
_REMEMBER = query("test", sqlite="INSERT INTO store_meta (name, value) VALUES ('test', 'written')")


@asynccontextmanager
async def running(data: Path) -> AsyncIterator[tuple[App, asyncio.Event]]:
    """A daemon, starting; the event is set when it is up."""
    settings = Settings.load(data, overrides={"listen": "127.0.0.1:0"})
    with hold_data(data) as lock:
        app = App(settings, lock)
        ready = asyncio.Event()
        life = spawn(app.supervisor.run(ready.set), name="daemon", vital=False)
        try:
            yield app, ready
        finally:
            if not app.supervisor.ending:
                app.supervisor.end("the test is over")
            assert await life == 0


class Statements:
    """Every statement that any SQLite connection of this process executes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.seen: list[str] = []
        self._loop = loop
        self._news = asyncio.Event()

    def watch(self, connection: apsw.Connection) -> None:
        connection.trace_v2(apsw.SQLITE_TRACE_STMT, self._saw)

    def _saw(self, event: dict[str, Any]) -> None:
        self.seen.append(event["sql"])
        self._loop.call_soon_threadsafe(self._news.set)

    async def none_for(self, seconds: float) -> bool:
        """Wait for a statement for so long; whether none came."""
        self._news.clear()
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except TimeoutError:
            return True
        return False


@pytest.fixture
async def statements() -> AsyncIterator[Statements]:
    watcher = Statements(asyncio.get_running_loop())
    apsw.connection_hooks.append(watcher.watch)
    yield watcher
    apsw.connection_hooks.remove(watcher.watch)


@pytest.mark.slow
@pytest.mark.guards(
    "an idle daemon executes no SQLite statement for 5 s, also with a reader on its stream",
    against="polling: a laptop that never sleeps, a disk that never rests",
    breaks=("readiness-polls",),
)
async def test_an_idle_daemon_executes_no_statement_for_5_seconds(tmp_path: Path, statements: Statements) -> None:
    async with running(tmp_path / "data") as (app, ready):
        await asyncio.wait_for(ready.wait(), _PATIENCE)
        reader = await app.hub.subscribe()
        following = spawn(_follow(reader), name="reader", vital=False)
        async with asyncio.timeout(_PATIENCE):  # what follows a start
            while not await statements.none_for(0.5):
                pass
        assert statements.seen != []
        statements.seen.clear()
        assert await statements.none_for(IDLE_SECONDS), statements.seen
        await app.store.unit(Act("daemon", "test"), _write)
        assert any("store_meta" in statement for statement in statements.seen)
        reader.close("left")
        await following


async def _follow(reader: Any) -> None:
    while await reader.more():
        pass


def _write(unit: Unit) -> None:
    unit.run(_REMEMBER)


def _get(port: int, path: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


async def test_a_daemon_whose_store_takes_long_to_open_is_alive_and_not_ready(tmp_path: Path) -> None:
    gate = faults.Gate()
    sock = bind("127.0.0.1", 0)
    port = sock.getsockname()[1]
    with faults.armed("opening.prepared", gate):
        async with running(tmp_path / "data") as (app, ready):
            listener = Server(app.front, sock)
            await listener.start()
            assert await asyncio.to_thread(gate.reached.wait, _PATIENCE)
            assert (await asyncio.to_thread(_get, port, "/healthz"))[0] == 200
            status, body = await asyncio.to_thread(_get, port, "/readyz")
            assert (status, body["overall"]) == (503, "failed")
            assert (await asyncio.to_thread(_get, port, "/api/v1/projects"))[0] == 503
            gate.open()
            await asyncio.wait_for(ready.wait(), _PATIENCE)
            status, body = await asyncio.to_thread(_get, port, "/readyz")
            assert (status, body["overall"]) == (200, "ok")
            assert (await asyncio.to_thread(_get, port, "/api/v1/projects"))[0] == 401
            await listener.stop()


async def test_an_end_asked_for_while_the_store_opens_is_obeyed_before_anything_else_starts(tmp_path: Path) -> None:
    gate = faults.Gate()
    with faults.armed("opening.prepared", gate):
        async with running(tmp_path / "data") as (app, ready):
            assert await asyncio.to_thread(gate.reached.wait, _PATIENCE)
            app.supervisor.end("the test says so")
            gate.open()
    assert not ready.is_set()
    with hold_data(tmp_path / "data"):
        assert not hasattr(app, "tokens") or app.tokens.count == 0
