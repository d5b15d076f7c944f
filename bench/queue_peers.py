"""Runs ours, the floors and the peers of the queue: `python -m bench.queue_peers [--only NAME] [--count N] [--crash]`.

The figures of `python -m bench` take their contenders from here; on its own it prints what each of them does.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.contender import ROOT, Contender, ContenderError, floor
from bench.machine import scratch
from bench.peers.guarantees import GUARANTEES

RESULTS = ROOT / "bench" / "results"
#: Nothing here may take longer for an answer; Huey's storage and one Procrastinate job at a time are slow.
WITHIN = 600.0


OURS = "bench.ours.queue"


@dataclass(frozen=True)
class Peer:
    """Ours, a floor or a peer: its module, where its store is, and what it is told."""

    name: str
    title: str
    module: str
    engine: Literal["sqlite", "postgres"]
    arguments: tuple[str, ...] = ()

    def open(self, folder: Path, url: str | None = None) -> Contender:
        """Its process, with its store below the folder or at the URL; no floor and no peer may know Holdfast."""
        if self.module == OURS:
            return Contender(OURS, str(folder / self.name), *(("--url", url) if url else ()), *self.arguments)
        return floor(self.module, url or str(folder / f"{self.name}.db"), *self.arguments)


def _ours(engine: Literal["sqlite", "postgres"], mode: str) -> Peer:
    return Peer(f"ours-{engine}-{mode}", f"ours, {engine}, {mode}", OURS, engine, ("--mode", mode))


PEERS = (
    *(_ours("sqlite", mode) for mode in ("one", "32", "batched", "plain")),
    *(_ours("postgres", mode) for mode in ("one", "32", "batched", "plain")),
    Peer("floor-sqlite", "bare apsw loop", "bench.peers.queue_sqlite", "sqlite"),
    Peer("huey", "Huey, SqliteHuey", "bench.peers.queue_huey", "sqlite"),
    Peer("huey-fsync", "Huey, fsync=True", "bench.peers.queue_huey", "sqlite", ("--fsync", "on")),
    Peer("huey-no-fsync", "Huey, fsync=False", "bench.peers.queue_huey", "sqlite", ("--fsync", "off")),
    Peer("floor-postgres", "bare psycopg loop", "bench.peers.queue_postgres", "postgres"),
    Peer("procrastinate", "Procrastinate, as it comes", "bench.peers.queue_procrastinate", "postgres"),
    Peer(
        "procrastinate-32",
        "Procrastinate, concurrency 32",
        "bench.peers.queue_procrastinate",
        "postgres",
        ("--concurrency", "32"),
    ),
    Peer("pgqueuer", "PgQueuer, as it comes", "bench.peers.queue_pgqueuer", "postgres"),
    *(
        Peer(f"pgqueuer-{size}", f"PgQueuer, batch {size}", "bench.peers.queue_pgqueuer", "postgres", ("--batch", size))
        for size in ("25", "50", "100", "250", "500", "1000")
    ),
)
BY_NAME = {peer.name: peer for peer in PEERS}


def ask(contender: Contender, do: str, within: float = WITHIN, **what: Any) -> dict[str, Any]:
    """Ask a question whose answer may take its time."""
    contender.send(do, **what)
    return contender.receive(within)


def server() -> Any:
    """The tests' PostgreSQL, but durable as it comes; without the tests' folder in the way of imports."""
    spec = importlib.util.spec_from_file_location("pg", ROOT / "tests" / "pg.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Server(fsync=True)


def measured(contender: Contender, peer: Peer, count: int, rounds: int, pick_ups: int) -> None:
    """Print rates and latencies of one."""
    with contender:
        who = ask(contender, "whoami")
        rates, startups = [], []
        for _ in range(rounds):
            ask(contender, "fill", count=count)
            answer = ask(contender, "drain")
            rates.append(answer["count"] / answer["seconds"])
            startups.append(answer["startup"])
        said = f"{peer.title:32} {statistics.median(rates):9,.0f}/s ({min(rates):,.0f}-{max(rates):,.0f})"
        if pick_ups:
            seen = ask(contender, "latency", count=pick_ups, seconds=20.0)
            said += "  pick-up ms " + ", ".join(f"{key} {seen[key]:.2f}" for key in ("p50", "p99", "max"))
            said += f" of {seen['count']} (from the call: p50 {seen['from_call']['p50']:.2f})"
        facts = {key: value for key, value in who.items() if key not in ("imports_holdfast", "cpu_seconds")}
    print(f"{said}\n    {facts}, startup {statistics.median(startups):.2f} s", flush=True)


def killed(
    peer: Peer, folder: Path, url: str | None, *, count: int = 200, die_in: int = 105, wait: float = 60.0
) -> str:
    """Kill the worker by signal 9 in the middle of a job, let another one go on, and say what became of the jobs."""
    effects = folder / f"{peer.name}.effects"
    with peer.open(folder, url) as first:
        ask(first, "fill", count=count)
        try:
            ask(first, "crash", effects=str(effects), die_in=die_in)
        except ContenderError:
            pass
        else:
            raise ContenderError(f"{peer.name} was to be killed, and answered")
    dead = effects.read_text().splitlines()
    with peer.open(folder, url) as second:
        left = ask(second, "recover", effects=str(effects), seconds=wait)
    lines = effects.read_text().splitlines()
    ends = Counter(line for line in lines if line.startswith("end"))
    interrupted = dead[-1].split()[1]
    again = lines[len(dead) :].count(f"begin {interrupted}")
    repeated = sum(times > 1 for times in ends.values())
    return (
        f"{peer.title}: killed in job {interrupted}, the {die_in}th; that job ran again {again} times; "
        f"{count - len(ends)} of {count} never ended, {repeated} ended more than once; after {left['seconds']:.0f} s "
        f"its tables say {left['left'] or 'nothing is left'}"
    )


def _each(names: list[str] | None, run: Callable[[Peer, str | None], None]) -> None:
    """Every contender on a database of its own; the server starts only if one of them needs it."""
    chosen = [BY_NAME[name] for name in names] if names else list(PEERS)
    postgres = server() if any(peer.engine == "postgres" for peer in chosen) else None
    try:
        for peer in chosen:
            if peer.engine == "sqlite":
                run(peer, None)
            else:
                assert postgres is not None
                url = postgres.new_database()
                run(peer, url)
                postgres.drop(url)
    finally:
        if postgres is not None:
            postgres.stop()


def main() -> None:
    """Measure, or kill, and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.queue_peers", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(BY_NAME), help="this one; may be repeated")
    parser.add_argument("--count", type=int, default=20_000, help="jobs a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pick-ups", type=int, default=500, help="jobs whose pick-up is timed, 20 s at most; 0: none")
    parser.add_argument("--crash", action="store_true", help="kill the worker in a job instead of measuring")
    given = parser.parse_args()
    if given.crash:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            _each(given.only, lambda peer, url: print(killed(peer, folder, url), flush=True))
        for row in GUARANTEES:
            print(f"recorded: {row.peer} {row.version}: {row.kill}")
        return
    RESULTS.mkdir(parents=True, exist_ok=True)
    with scratch(RESULTS) as folder:
        _each(
            given.only,
            lambda peer, url: measured(peer.open(folder, url), peer, given.count, given.rounds, given.pick_ups),
        )


if __name__ == "__main__":
    sys.exit(main())
