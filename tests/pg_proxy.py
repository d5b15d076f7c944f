"""A wire between a client and PostgreSQL that a test can cut at the moment of a commit."""

from __future__ import annotations

import contextlib
import socket
import threading
from enum import Enum

from psycopg import conninfo


class Cut(Enum):
    """Where the wire breaks the next time a COMMIT passes."""

    NOWHERE = "nowhere"
    BEFORE = "before"  # the server never sees the commit
    AFTER = "after"  # the server has committed, its answer never arrives


class Wire:
    """Passes bytes between a port of its own and the server; `url` leads through it."""

    def __init__(self, url: str) -> None:
        parts = conninfo.conninfo_to_dict(url)
        self._server = f"{parts['host']}/.s.PGSQL.{parts.get('port') or 5432}"
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = conninfo.make_conninfo(url, host="127.0.0.1", port=self._door.getsockname()[1], sslmode="disable")
        #: The next COMMIT is cut here, once.
        self.cut = Cut.NOWHERE
        self.cuts = 0
        self._threads = [threading.Thread(target=self._welcome, daemon=True)]
        self._threads[0].start()

    def _welcome(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._door.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                threading.Thread(target=self._ask, args=(client, server), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        """Carry questions and answers by turns, in the one thread of the connection."""
        answers = threading.Thread(target=_carry, args=(server, client), daemon=True)
        held = False
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if b"COMMIT" in data and self.cut is not Cut.NOWHERE:
                    held = True
                    self._cut(client, server, data)
                    break
                if not answers.is_alive():
                    answers.start()
                server.sendall(data)
        if not held:
            _end(server)
        _end(client)

    def _cut(self, client: socket.socket, server: socket.socket, data: bytes) -> None:
        cut, self.cut = self.cut, Cut.NOWHERE
        self.cuts += 1
        _end(client)
        if cut is Cut.AFTER:
            server.sendall(data)
        server.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Take no more connections."""
        _end(self._door)


def _carry(source: socket.socket, sink: socket.socket) -> None:
    """Carry answers until one side has gone; what the other side no longer takes is read all the same."""
    gone = False
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            if not gone:
                try:
                    sink.sendall(data)
                except OSError:
                    gone = True
    _end(source)
    _end(sink)


def _end(side: socket.socket) -> None:
    with contextlib.suppress(OSError):
        side.shutdown(socket.SHUT_RDWR)
    side.close()
