"""Owns the sockets: binds them first, answers while the daemon starts and ends, counts what is in progress."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from email.utils import formatdate
from pathlib import Path
from typing import Any

import msgspec
from uvicorn.config import Config
from uvicorn.server import ServerState

from holdfast.core import logs
from holdfast.core.changes.endpoint import ABORT
from holdfast.core.clock import SYSTEM
from holdfast.core.errors import ListenRefused
from holdfast.core.ids import new_id
from holdfast.core.web.protocol import Protocol

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Connections that the kernel holds for us while the loop is busy.
BACKLOG = 2048
_KEEP_ALIVE_SECONDS = 30

_log = logs.get("server")


# --- the socket ------------------------------------------------------------------------------------------------


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address; a name is loopback when all it stands for is."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except OSError as error:
        message = f"The address {host!r} to listen on is unknown: {error.strerror}. Set --listen to HOST:PORT."
        raise ListenRefused(message) from None
    except ValueError:
        raise ListenRefused(_no_name(host)) from None
    return all(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]).is_loopback for entry in found)


def require_safe(host: str, *, tls: bool, insecure: bool) -> None:
    """Refuse to carry tokens in the clear beyond this machine, unless that was asked for by name."""
    if not (tls or insecure or is_loopback(host)):
        message = (
            f"Refused to listen on {host}: other machines could reach it and tokens would cross the network in the "
            "clear. Set tls_cert and tls_key, or give --insecure-listen if something in front of it does TLS."
        )
        raise ListenRefused(message)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. From here on clients wait instead of being refused."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, proto)
    except OSError as error:
        message = f"Cannot listen on {where}: {error.strerror}. Set --listen to an address of this machine."
        raise ListenRefused(message) from None
    except ValueError:
        raise ListenRefused(_no_name(host)) from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ListenRefused(_why_not(where, port, error)) from None
    return sock


def _no_name(host: str) -> str:
    """The resolver does not even take it: an empty label, one of more than 63 letters, a character no name has."""
    return f"{host[:100]!r} is not a name that a machine can have. Set --listen to HOST:PORT, such as 127.0.0.1:4680."


def _why_not(where: str, port: int, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"Cannot listen on {where}: the port is taken by {_owner(port)}. "
                "End that, or choose another with --listen HOST:PORT (port 0 takes a free one)."
            )
        case errno.EACCES:
            return f"Cannot listen on {where}: ports below 1024 need privileges. Choose one above with --listen."
        case _:
            return f"Cannot listen on {where}: {error.strerror}. Set --listen to an address of this machine."


def _owner(port: int) -> str:
    """Who listens on the port, as far as the kernel tells us."""
    with suppress(OSError, ValueError):
        inodes = set()
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            for line in Path(table).read_text().splitlines()[1:]:
                field = line.split()
                if field[3] == "0A" and int(field[1].rpartition(":")[2], 16) == port:  # 0A: it listens
                    inodes.add(f"socket:[{field[9]}]")
        for process in filter(lambda each: each.name.isdigit(), Path("/proc").iterdir()):
            with suppress(OSError):
                if any(str(fd.readlink()) in inodes for fd in (process / "fd").iterdir()):
                    words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    return f"process {process.name} ({words.strip()[:120]})"
    return "another process"


def url_of(sock: socket.socket, *, tls: bool) -> str:
    """The address as a client on this machine writes it."""
    host, port = sock.getsockname()[:2]
    if ipaddress.ip_address(host.partition("%")[0]).is_unspecified:
        host = "::1" if ":" in host else "127.0.0.1"
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


# --- what is answered when -------------------------------------------------------------------------------------


class Front:
    """The app that the server serves: stands in while the daemon starts or ends, the real one in between."""

    def __init__(self, *, roles: tuple[str, ...], version: str, commit_id: str | None = None) -> None:
        self._app: Asgi | None = None
        self._state = "starting"
        self._doing = "starting"
        self._roles = roles
        self._version = version
        self._commit_id = commit_id
        self._under_way = 0
        self._on_close: list[Callable[[], None]] = []
        self._idle = asyncio.Event()
        self._idle.set()

    def doing(self, what: str) -> None:
        """What the start is at, for whoever asks."""
        self._doing = what

    def open(self, app: Asgi) -> None:
        """From now on requests reach the app."""
        self._app, self._state = app, "open"

    def close(self) -> None:
        """From now on new requests are told that the daemon ends."""
        self._app, self._state, self._doing = None, "stopping", "stopping"
        for listener in self._on_close:
            listener()

    def on_close(self, listener: Callable[[], None]) -> None:
        """Call `listener` when the daemon begins to end."""
        self._on_close.append(listener)

    def load(self) -> bytes:
        """What the header of every answer says of how much is there."""
        if self._app is not None:
            return b"ready"
        return f"loading; stream=store; loaded=0; expected=1; reason={self._state}".encode()

    async def idle(self) -> None:
        """Wait until no request is under way in the app."""
        await self._idle.wait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        app = self._app
        if app is None:
            if scope["type"] == "http":
                await self._stand_in(scope, send)
            elif scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1013, "reason": self._state})
            return
        self._under_way += 1
        self._idle.clear()
        try:
            await app(scope, receive, send)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _stand_in(self, scope: Scope, send: Send) -> None:
        """Alive is the truth from the first moment on; everything else is not ready yet, or no more."""
        request_id = new_id("req")
        status, body = self._answer(scope["path"], request_id)
        encoded = msgspec.json.encode(body)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(encoded)),
            (b"cache-control", b"no-store"),
            (b"x-holdfast-load", self.load()),
            (b"x-request-id", request_id.encode()),
            *([(b"retry-after", b"1")] if status != 200 else []),  # noqa: PLR2004 - OK is 200
            *([(b"connection", b"close")] if self._state == "stopping" else []),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else encoded})

    def _answer(self, path: str, request_id: str) -> tuple[int, dict[str, object]]:
        if path == "/healthz":
            return 200, {"status": "ok"}
        if path == "/readyz":
            return 503, self._readiness()
        what = f"The daemon is {self._doing}. Try again in a moment."
        return 503, {"error": {"code": self._state, "message": what, "details": {}, "request_id": request_id}}

    def _readiness(self) -> dict[str, object]:
        startup = {
            "name": "startup",
            "status": "failed",
            "critical": True,
            "latency_ms": 0.0,
            "last_check_at": None,
            "last_ok_at": None,
            "last_error": f"the daemon is {self._doing}",
        }
        return {
            "overall": "failed",
            "service": "holdfast",
            "roles": list(self._roles),
            "version": self._version,
            "commit_id": self._commit_id,
            "checks": [startup],
        }


# --- the server ------------------------------------------------------------------------------------------------


class _State(ServerState):
    """Uvicorn's shared state with a Date header made when it is needed, so that an idle server does not tick."""

    def __init__(self) -> None:
        self._second = 0
        self._headers: list[tuple[bytes, bytes]] = []
        super().__init__()

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of every response."""
        if (now := int(SYSTEM.now().timestamp())) != self._second:
            self._second = now
            self._headers = [(b"date", formatdate(now, usegmt=True).encode())]
        return self._headers

    @default_headers.setter
    def default_headers(self, value: list[tuple[bytes, bytes]]) -> None:
        pass


def _abort(transport: asyncio.Transport) -> None:
    """Break a connection off: what waits in our buffer and in the kernel's is dropped, the peer is told by a reset."""
    with suppress(OSError):
        linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()


class Server:
    """Uvicorn's protocols on our own socket, without its signals, its ten ticks a second and its own way to end."""

    name = "server"

    def __init__(self, app: Front, sock: socket.socket, *, tls: tuple[Path, Path] | None = None) -> None:
        cert, key = tls or (None, None)
        self._config = Config(
            app,
            http=Protocol,  # made by `_protocol`
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            ssl_certfile=cert,
            ssl_keyfile=key,
        )
        self._sock = sock
        self._load = app.load
        app.on_close(self._drop_unfinished)
        self._state = _State()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Serve."""
        try:
            self._config.load()
        except OSError as error:  # an SSLError is one
            message = f"The TLS files {self._config.ssl_certfile} and {self._config.ssl_keyfile} are no good: {error}."
            raise ListenRefused(message) from None
        self._server = await asyncio.get_running_loop().create_server(
            self._protocol, sock=self._sock, ssl=self._config.ssl, backlog=BACKLOG
        )

    def _drop_unfinished(self) -> None:
        for connection in list(self._state.connections):
            if isinstance(connection, Protocol):
                connection.drop_unfinished()

    def _protocol(self) -> asyncio.Protocol:
        state: dict[str, Any] = {}  # of this connection; each request gets a copy
        protocol = Protocol(self._config, self._state, state, self._load)
        state[ABORT] = lambda: _abort(protocol.transport)
        return protocol

    async def stop(self) -> None:
        """Take no more connections, let responses end, close what idles."""
        server, self._server = self._server, None
        if server is None:
            self._sock.close()
            return
        server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        while self._state.tasks:
            await asyncio.wait(set(self._state.tasks))
        for connection in list(self._state.connections):
            connection.transport.close()
        _log.debug("server closed")
