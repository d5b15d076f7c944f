"""The front of the daemon: what is answered while it starts and ends, and what becomes of what is under way."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from holdfast.core.errors import ListenRefused
from holdfast.core.lifecycle import spawn
from holdfast.core.web.server import Front, Server, bind, is_loopback, require_safe, url_of


class Served:
    """A front behind a real server on a free port."""

    def __init__(self) -> None:
        self.front = Front(roles=("api",), version="1.2.3")
        self.sock = bind("127.0.0.1", 0)
        self.port: int = self.sock.getsockname()[1]
        self.server = Server(self.front, self.sock)

    async def get(self, path: str) -> tuple[int, dict[str, str], Any]:
        return await asyncio.to_thread(self._get, path)

    def _get(self, path: str) -> tuple[int, dict[str, str], Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, json.loads(response.read())
        finally:
            connection.close()


@pytest.fixture
async def served() -> Any:
    made = Served()
    await made.server.start()
    yield made
    await made.server.stop()


def app(answer: str, until: Callable[[], Awaitable[object]] | None = None) -> Any:
    """An app that answers with one word, perhaps after waiting."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if until is not None:
            await until()
        body = json.dumps(answer).encode()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return serve


@pytest.mark.guards(
    "while it starts the daemon is alive and says that it is not ready",
    against="a probe that kills a daemon in a long migration, or clients sent to one that cannot serve yet",
    breaks=("front-is-ready-too-early",),
)
async def test_while_it_starts_it_is_alive_but_not_ready(served: Served) -> None:
    served.front.doing("opening the store")
    assert (await served.get("/healthz"))[0] == 200
    status, headers, body = await served.get("/readyz")
    assert (status, body["overall"], body["version"]) == (503, "failed", "1.2.3")
    (check,) = body["checks"]
    assert (check["name"], check["status"], check["critical"]) == ("startup", "failed", True)
    assert "opening the store" in check["last_error"]
    status, headers, body = await served.get("/api/v1/projects")
    assert (status, headers["retry-after"], body["error"]["code"]) == (503, "1", "starting")
    assert headers["x-holdfast-load"].startswith("loading; ")
    served.front.open(app("there"))
    assert (await served.get("/api/v1/projects"))[::2] == (200, "there")


@pytest.mark.guards(
    "a request that is under way when the daemon ends is answered, one that comes later is told to come again",
    against="work that is done but never answered, at every restart",
    breaks=("front-does-not-wait",),
)
async def test_what_is_under_way_is_answered_and_what_comes_later_is_sent_away(served: Served) -> None:
    came, go = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        came.set()
        await go.wait()

    served.front.open(app("done", hold))
    under_way = spawn(served.get("/slow"), name="client", vital=False)
    await came.wait()
    try:
        served.front.close()
        idle = spawn(served.front.idle(), name="idle", vital=False)
        status, headers, body = await served.get("/late")
        assert (status, body["error"]["code"], headers["connection"]) == (503, "stopping", "close")
        assert not idle.done()
    finally:
        go.set()  # also when it fails: the client waits on a thread, which would hold the end of the run
    assert (await under_way)[::2] == (200, "done")
    await asyncio.wait_for(idle, 10)


async def test_every_answer_has_a_date(served: Served) -> None:
    assert (await served.get("/healthz"))[1]["date"].endswith("GMT")


async def test_stopping_twice_is_fine_and_frees_the_port(served: Served) -> None:
    await served.server.stop()
    await served.server.stop()
    bind("127.0.0.1", served.port).close()


def test_a_port_that_is_taken_is_refused_by_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenRefused, match=rf"127\.0\.0\.1:{port}: the port is taken by process \d+ \(.*--listen"):
            bind("127.0.0.1", port)


def test_an_address_that_is_not_ours_is_refused_by_name() -> None:
    with pytest.raises(ListenRefused, match=r"192\.0\.2\.1:4680"):
        bind("192.0.2.1", 4680)


@pytest.mark.parametrize("host", [".a", "a..b", "x" * 70, "a\0b"])
def test_a_name_that_no_machine_can_have_is_refused_in_words(host: str) -> None:
    with pytest.raises(ListenRefused, match=r"--listen"):
        is_loopback(host)
    with pytest.raises(ListenRefused, match=r"--listen"):
        bind(host, 4680)


def test_only_loopback_is_loopback() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "192.0.2.1")] == [False] * 3


def test_beyond_loopback_needs_tls_or_the_flag() -> None:
    require_safe("127.0.0.1", tls=False, insecure=False)
    require_safe("0.0.0.0", tls=True, insecure=False)
    require_safe("0.0.0.0", tls=False, insecure=True)
    with pytest.raises(ListenRefused, match="--insecure-listen"):
        require_safe("0.0.0.0", tls=False, insecure=False)


def test_the_address_told_to_clients_is_one_that_they_can_use() -> None:
    with bind("0.0.0.0", 0) as sock:
        assert url_of(sock, tls=True) == f"https://127.0.0.1:{sock.getsockname()[1]}"
