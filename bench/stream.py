"""Commit to client, fan-out beside plain sockets, memory a subscriber."""

from __future__ import annotations

import base64
import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from bench.contender import Contender, ContenderError, floor
from bench.figures import Figure, Target, percentile
from bench.machine import resident_kb
from bench.run import Run

MARK = "event-"
WINDOW = 256


class _Side:
    """A sender (ours or a floor) with a receiving process of its own, the same program for both."""

    def __init__(self, run: Run, stack: ExitStack, name: str, sender: str, *more: str) -> None:
        place = run.place(f"stream-{name}")
        progress = place / "progress"
        self.reader = stack.enter_context(floor("bench.peers.reader", "--progress", str(progress)))
        make = Contender if sender.startswith("bench.ours") else floor
        if make is Contender:
            more = (*more, str(place / "data"))
        self.sender = stack.enter_context(make(sender, "--progress", str(progress), *more))
        opened = self.sender.ask("open")
        self.port: int = opened["port"]
        self.request: str = opened.get("request", "GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    def connect(self, count: int) -> None:
        """Subscribe."""
        self.reader.ask("connect", port=self.port, count=count, request=self.request)

    def disconnect(self) -> None:
        """Unsubscribe."""
        self.reader.ask("disconnect")

    def burst(self, events: int, subscribers: int, **what: Any) -> tuple[float, float]:
        """Events as fast as they go; deliveries a second, and the sender's processor time for all of them."""
        self.reader.ask("reset")
        self.sender.send("burst", events=events, window=WINDOW, **what)
        self.reader.send("count", events=events, within=40.0)
        seen, sent = self.reader.receive(), self.sender.receive()
        if seen["short"] or seen["closed"]:
            message = f"of {subscribers} subscribers {seen['short']} lack events, {seen['closed']} were closed"
            raise ContenderError(message)
        return events * subscribers / (seen["at"] - sent["from"]), sent["cpu_seconds"]

    def paced(self, events: int, rate: float, **what: Any) -> list[float]:
        """Events at a steady rate; from stamp to arrival, ms, every event at every subscriber."""
        self.reader.ask("reset")
        self.reader.send("timed", events=events, within=events / rate + 20, mark=MARK)
        stamps = self.sender.ask("paced", events=events, rate=rate, **what)["stamps"]
        seen = self.reader.receive()
        if seen["events"] != seen["wanted"]:
            message = f"{seen['events']} of {seen['wanted']} events arrived"
            raise ContenderError(message)
        return [(arrived - stamps[number]) / 1e6 for number, arrived in seen["arrivals"]]


def pieces(kept: bytes) -> tuple[bytes, float]:
    """One event as it stood on the wire, and how many events came in one HTTP chunk on average."""
    bodies, rest = [], kept
    while b"\r\n" in rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        bodies.append(rest[:length])
        rest = rest[length + 2 :]
    events = [body + b"\n\n" for body in b"".join(bodies).split(b"\n\n") if MARK.encode() in body]
    if not events:
        message = f"no event in what the subscriber got: {kept[:300]!r}"
        raise ContenderError(message)
    event = events[-1]
    framed = b"%x\r\n%s\r\n" % (len(event), event)
    return framed, len(events) / sum(MARK.encode() in body for body in bodies)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _numbered(event: bytes) -> bytes:
    """The event with a place for a number behind each mark."""
    head, *tails = event.split(MARK.encode())
    return head + b"".join(MARK.encode() + b"#" * 9 + tail[9:] for tail in tails)


def _learn(ours: _Side, events: int, clients: int = 1) -> tuple[bytes, float]:
    """A burst whose bytes are looked at."""
    ours.reader.ask("reset")
    ours.sender.send("burst", events=events, window=WINDOW, clients=clients)
    kept = ours.reader.ask("sample", events=events, within=40.0)["kept"]
    ours.sender.receive()
    return pieces(base64.b64decode(kept))


def latency(run: Run) -> Iterator[Figure]:
    """From the write inside the unit of work (so its commit and fsync are in it) to the client, 200 a second to 100."""
    rate, subscribers, seconds = 200.0, 100, 1.5
    events = int(rate * seconds)
    taken: dict[str, list[list[float]]] = {"ours": [], "floor": []}
    with ExitStack() as stack:
        ours = _Side(run, stack, "ours", "bench.ours.stream")
        bare = _Side(run, stack, "floor", "bench.peers.sockets")
        ours.connect(subscribers)
        bare.connect(subscribers)
        event = _text(_numbered(_learn(ours, 200)[0]))
        for _ in run.rounds(5, 2):
            taken["ours"].append(ours.paced(events, rate))
            taken["floor"].append(bare.paced(events, rate, event=event))
    for share, limit in ((0.5, 3.0), (0.99, 15.0)):
        mine, floors = ([percentile(each, share) for each in taken[side]] for side in ("ours", "floor"))
        title = f"commit to SSE client, p{share * 100:.0f}"
        yield Figure(f"latency-p{share * 100:.0f}", title, "ms", mine, floors, Target("<=", limit))


def fan_out(run: Run) -> Iterator[Figure]:
    """Deliveries a second to 100 and to 1,000 subscribers; memory of each subscriber."""
    for subscribers, limit in ((100, 0.25), (1000, 0.15)):
        with ExitStack() as stack:
            yield from _fan_out(run, stack, subscribers, limit)


def _fan_out(run: Run, stack: ExitStack, subscribers: int, limit: float) -> Iterator[Figure]:
    ours = _Side(run, stack, "ours", "bench.ours.stream")
    bare = _Side(run, stack, "floor", "bench.peers.sockets")
    quick = _Side(run, stack, "uvloop", "bench.peers.sockets", "--uvloop")
    memory = _memory(ours, subscribers)
    for side in (bare,) if run.quick else (bare, quick):
        side.connect(subscribers)
    name, title = f"fanout-{subscribers}", f"deliveries to {subscribers:,} subscribers"
    target = Target("ratio >=", limit)
    # One client at a time: a commit an event, so that ours and the floor write the same pieces.
    yield from _against(run, (ours, bare, quick), subscribers, 1, Figure(name, title, "/s", target=target))
    # Many clients: group commit makes larger pieces, for ours alone and then for the floor, too.
    if not run.quick:
        yield from _against(
            run, (ours, bare, quick), subscribers, 32, Figure(f"{name}-grouped", f"{title}, 32 writing", "/s")
        )
    yield memory


def _against(
    run: Run, sides: tuple[_Side, _Side, _Side], subscribers: int, clients: int, figure: Figure
) -> Iterator[Figure]:
    """Ours and the floors in turns: the floor writes an event at a time, and in pieces as large as ours'."""
    ours, bare, quick = sides
    events = 64_000 // subscribers
    event, batch = _learn(ours, events, clients)
    whole = max(size for size in (1, 2, 4, 8, 16, 32) if size <= max(1.0, batch))
    pieces_of = Figure(f"{figure.name}-pieces", f"  to a floor writing {whole} at once", "/s")
    uvloop = Figure(f"{figure.name}-uvloop", "  to a floor on uvloop", "/s")
    lines = ((figure, bare, 1), (pieces_of, bare, whole), (uvloop, quick, 1))
    cpu: dict[str, list[float]] = {line.name: [] for line, *_ in lines}
    for _ in run.rounds(5 if clients == 1 else 3, budget=12):
        rate, our_cpu = ours.burst(events, subscribers, clients=clients)
        for line, side, size in lines[: 1 if run.quick else None]:
            floor_rate, floor_cpu = side.burst(events, subscribers, event=_text(event), batch=size)
            line.ours.append(rate)
            line.floor.append(floor_rate)
            cpu[line.name].append(floor_cpu / our_cpu)
    figure.notes = {"events a chunk": batch, "bytes an event": len(event), "events a round": events}
    for line, *_ in lines:
        if cpu[line.name]:
            line.notes["ratio by processor time"] = statistics.median(cpu[line.name])
    yield from (line for line, *_ in lines if line.ours)


def _memory(ours: _Side, subscribers: int) -> Figure:
    """KB a subscriber, connected and after a burst; what all share (the ring, caches) was filled before."""
    ours.connect(1)
    for _ in range(2):
        ours.burst(6_000, 1, clients=32)
    before = resident_kb(ours.sender.pid)
    ours.connect(subscribers - 1)
    connected = (resident_kb(ours.sender.pid) - before) / subscribers
    ours.burst(40, subscribers, clients=1)
    after = (resident_kb(ours.sender.pid) - before) / subscribers
    notes = {"connected, idle": connected, "resident MB": resident_kb(ours.sender.pid) / 1024}
    return Figure(f"memory-{subscribers}", "  memory of a subscriber", "KB", [after], [], Target("<=", 40), notes)
