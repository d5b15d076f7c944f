"""The receiving side, the same for ours and the floor: one process, one epoll, N sockets; it counts events and bytes.

An event ends with an empty line: `data.count(b"\\n\\n")` counts them. How many have come stands in a shared file
(`--progress`), by which a sender holds back: nobody wins by filling buffers.
"""

from __future__ import annotations

import argparse
import base64
import mmap
import resource
import select
import socket
import struct
import time
from pathlib import Path

from bench.peers.answer import Answer, serve

END = b"\n\n"
SIZE = 1 << 18


class Subscriber:
    """One socket and what came through it."""

    __slots__ = ("closed", "events", "open_end", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.events = 0
        self.open_end = False
        self.closed = False


class Reader:
    """Every subscriber, and one loop over those that have something."""

    def __init__(self, progress: Path) -> None:
        progress.write_bytes(bytes(8))
        with progress.open("r+b") as file:
            self.progress = mmap.mmap(file.fileno(), 8)
        self.epoll = select.epoll()
        self.subscribers: dict[int, Subscriber] = {}
        self.total = 0
        self.bytes = 0
        self.keeping: Subscriber | None = None
        self.kept: list[bytes] = []

    def connect(self, *, port: int, count: int, request: str) -> Answer:
        """Subscribe `count` times; returns when every one has had the head of its answer."""
        for begin in range(0, count, 100):
            batch = [self._open(port, request) for _ in range(begin, min(count, begin + 100))]
            for sock in batch:
                self._head(sock)
                sock.setblocking(False)
                self.subscribers[sock.fileno()] = Subscriber(sock)
                self.epoll.register(sock.fileno(), select.EPOLLIN)
        return {"connected": len(self.subscribers)}

    @staticmethod
    def _open(port: int, request: str) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(request.encode())
        return sock

    @staticmethod
    def _head(sock: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = sock.recv(1)
            if not piece:
                message = f"the server closed a new stream: {head!r}"
                raise ConnectionError(message)
            head += piece
        if b" 200 " not in head.split(b"\r\n")[0]:
            message = f"a subscription was refused: {head + sock.recv(4096)!r}"
            raise ConnectionError(message)

    def disconnect(self) -> Answer:
        """Close every socket; tells how many the server had closed before."""
        closed = sum(subscriber.closed for subscriber in self.subscribers.values())
        for subscriber in self.subscribers.values():
            if not subscriber.closed:
                self.epoll.unregister(subscriber.sock.fileno())
                subscriber.sock.close()
        self.subscribers.clear()
        return {"closed_by_server": closed}

    def reset(self) -> Answer:
        """Take what is still on its way, then count from nought."""
        while self._take(0.05):
            pass
        self.total = self.bytes = 0
        for subscriber in self.subscribers.values():
            subscriber.events = 0
        self._publish()
        return {}

    def _publish(self) -> None:
        self.progress[:8] = struct.pack("<Q", self.total)

    def _take(self, wait: float) -> int:
        """Read every socket that has something, once."""
        ready = self.epoll.poll(wait, 4096)
        for descriptor, _ in ready:
            self._read(self.subscribers[descriptor])
        if ready:
            self._publish()
        return len(ready)

    def _read(self, subscriber: Subscriber) -> None:
        try:
            data = subscriber.sock.recv(SIZE)
        except (BlockingIOError, ConnectionResetError):
            data = b""
        if not data:
            self._gone(subscriber)
            return
        self.bytes += len(data)
        if subscriber is self.keeping:
            self.kept.append(data)
        count = data.count(END)
        if subscriber.open_end and data[0] == 10:  # the empty line came in two pieces
            count += 1
        subscriber.open_end = data.endswith(b"\n") and not data.endswith(END)
        subscriber.events += count
        self.total += count

    def _gone(self, subscriber: Subscriber) -> None:
        subscriber.closed = True
        self.epoll.unregister(subscriber.sock.fileno())
        subscriber.sock.close()

    def count(self, *, events: int, within: float) -> Answer:
        """Read until every subscriber has had this many events; when the last one came, on the shared steady clock."""
        wanted = events * len(self.subscribers)
        until = time.monotonic() + within
        while self.total < wanted and time.monotonic() < until:
            self._take(0.2)
        short = sum(subscriber.events < events for subscriber in self.subscribers.values())
        closed = sum(subscriber.closed for subscriber in self.subscribers.values())
        return {"at": time.monotonic(), "bytes": self.bytes, "events": self.total, "short": short, "closed": closed}

    def sample(self, *, events: int, within: float) -> Answer:
        """As `count`, and keep what the first subscriber gets: its bytes tell how large the pieces are."""
        first = next(iter(self.subscribers.values()))
        self.kept = []
        self.keeping = first
        answer = self.count(events=events, within=within)
        self.keeping = None
        return {**answer, "kept": base64.b64encode(b"".join(self.kept)).decode()}

    def timed(self, *, events: int, within: float, mark: str) -> Answer:
        """When each event reached each subscriber: [number, ns] pairs, the number being what follows `mark`."""
        arrivals: list[tuple[int, bytes]] = []
        wanted, until = events * len(self.subscribers), time.monotonic() + within
        while self.total < wanted and time.monotonic() < until:
            for descriptor, _ in self.epoll.poll(0.2, 4096):
                subscriber = self.subscribers[descriptor]
                data = subscriber.sock.recv(SIZE)
                now = time.monotonic_ns()
                if not data:
                    self._gone(subscriber)
                    continue
                arrivals.append((now, data))
                self.total += data.count(END)
        return {"arrivals": _numbers(arrivals, mark.encode()), "events": self.total, "wanted": wanted}


def _numbers(arrivals: list[tuple[int, bytes]], mark: bytes) -> list[tuple[int, int]]:
    """Pull the numbers out afterwards, so that looking for them delays no later event."""
    found = []
    for now, data in arrivals:
        for piece in data.split(mark)[1:]:
            digits = piece[:12].split(b'"', 1)[0]
            found.append((int(digits), now))
    return found


def main() -> None:
    """Answer the harness."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--progress", type=Path, required=True)
    reader = Reader(parser.parse_args().progress)
    verbs = ("connect", "disconnect", "reset", "count", "sample", "timed")
    serve({verb: getattr(reader, verb) for verb in verbs})


if __name__ == "__main__":
    main()
