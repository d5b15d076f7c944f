"""The queue beside bare loops and other projects' queues: jobs a second, and how soon a job is picked up."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil

from bench import queue_peers
from bench.contender import Contender, ContenderError
from bench.figures import Figure, Target, percentile
from bench.queue_peers import BY_NAME, ask
from bench.run import Run

#: Jobs a run; the slow ones work them off in rounds of `SHORT`, taking turns, the quick ones all of them in each round.
JOBS = 20_000
SHORT = 2_000
#: With how many jobs, and how often, each batch size of PgQueuer is tried.
TRIAL, TRIALS = 10_000, 2
PGQUEUER = ("pgqueuer", "pgqueuer-50", "pgqueuer-100", "pgqueuer-250", "pgqueuer-500", "pgqueuer-1000")
#: Pick-ups: of ours in a full and in a quick run, in turns of so many; of a floor in each turn; and seconds of a peer.
PICK_UPS, QUICK_PICK_UPS, TURN = 10_000, 1_000, 1_000
FLOOR_PICK_UPS = 200
PEER_SECONDS = 5.0
SLOW_MS = 100.0

Answers = dict[str, list[dict[str, Any]]]


class Field:
    """Contenders that take turns, each on a store of its own; all of PostgreSQL's on one server."""

    def __init__(self, run: Run, stack: ExitStack, name: str, server: Any = None) -> None:
        self._stack = stack
        self._place: Path = run.place(name)
        self._server = server
        self.contenders: dict[str, Contender] = {}
        self.versions: dict[str, str] = {}

    def enter(self, name: str) -> None:
        """Start a contender, and learn its versions."""
        peer = BY_NAME[name]
        url = self._server.new_database() if peer.engine == "postgres" else None
        contender = self._stack.enter_context(peer.open(self._place, url))
        who = ask(contender, "whoami")
        self.contenders[name] = contender
        facts = {**who["versions"], **{key: who[key] for key in ("sqlite", "synchronous", "postgresql") if key in who}}
        self.versions[name] = " ".join(f"{key} {value}" for key, value in facts.items())

    def drain(self, name: str, count: int) -> dict[str, Any]:
        """Fill, then work it all off; `rate` is jobs a second."""
        contender = self.contenders[name]
        ask(contender, "fill", count=count)
        answer = ask(contender, "drain")
        if answer["count"] != count:
            message = f"{name} worked off {answer['count']} jobs of {count}"
            raise ContenderError(message)
        return {**answer, "rate": count / answer["seconds"]}

    def rounds(self, rounds: Iterable[int], counts: dict[str, int]) -> Answers:
        """All of them one after the other, again and again; the first in one round is the last in the next."""
        seen: Answers = defaultdict(list)
        for number in rounds:
            order = list(counts)[:: -1 if number % 2 else 1]
            for name in order:
                seen[name].append(self.drain(name, counts[name]))
        return seen


def _rates(answers: Answers, name: str) -> list[float]:
    return [answer["rate"] for answer in answers[name]]


def _cost(answers: Answers, name: str) -> float:
    """Processor time of a job in the contender's own process, in ms; a server's is not in it."""
    return float(statistics.median(1e3 * answer["cpu_seconds"] / answer["count"] for answer in answers[name]))


def _against(answers: Answers, field: Field, ours: str, other: str, figure: Figure) -> Figure:
    """Ours and another one of the same rounds."""
    figure.ours, figure.floor = _rates(answers, ours), _rates(answers, other)
    per_round = [answers[name][0]["count"] for name in (ours, other)]
    figure.notes = {
        "rounds": len(figure.ours),
        "jobs a round, ours / other": f"{per_round[0]:,} / {per_round[1]:,}",
        "process ms a job, ours / other": f"{_cost(answers, ours):.3f} / {_cost(answers, other):.3f}",
        "other": field.versions[other],
        **figure.notes,
    }
    return figure


@contextmanager
def postgres(run: Run) -> Iterator[tuple[Any, dict[str, str]]]:
    """A server that is durable as PostgreSQL comes, and how it says it is set; what it costs is our doing."""
    import psycopg

    server, postmaster = queue_peers.server(), None
    names = ("fsync", "full_page_writes", "synchronous_commit", "wal_sync_method", "shared_buffers")
    try:
        with psycopg.connect(server.url) as connection:
            said = {name: str((connection.execute(f"SHOW {name}").fetchone() or [""])[0]) for name in names}
            postmaster = psutil.Process(connection.info.backend_pid).parent()
        durable = said["fsync"] == said["full_page_writes"] == "on"
        if not durable:
            message = f"the server is not durable ({said}): its numbers would say nothing"
            raise ContenderError(message)
        yield server, {"server": ", ".join(f"{name} {value}" for name, value in said.items())}
    except psycopg.Error as error:
        message = f"the server of the run: {error}"
        raise ContenderError(message) from error
    finally:
        try:
            if postmaster is not None:
                run.others.spare(_cpu_of_all(postmaster))
        finally:
            server.stop()


def _cpu_of_all(postmaster: psutil.Process) -> float:
    """Processor time of a server: the processes that are there, and those that it has waited for."""
    while True:
        try:
            times = [process.cpu_times() for process in (postmaster, *postmaster.children(recursive=True))]
        except psutil.NoSuchProcess:
            if not postmaster.is_running():
                return 0.0
        else:  # nobody has ended meanwhile, whose time would be missing
            own = sum(each.user + each.system for each in times)
            return float(own + times[0].children_user + times[0].children_system)


def sqlite(run: Run) -> Iterator[Figure]:
    """One by one and 32 at once beside the bare loop, in batches beside Huey."""
    one, many, batched, bare = "ours-sqlite-one", "ours-sqlite-32", "ours-sqlite-batched", "floor-sqlite"
    with ExitStack() as stack:
        field = Field(run, stack, "queue-sqlite")
        for name in (one, many, bare, batched, "huey"):
            field.enter(name)
        for name in (one, many, bare):
            field.drain(name, 200)  # warms up
        seen = field.rounds(run.rounds(10, 3, budget=45.0), dict.fromkeys((bare, one, many), SHORT))
        yield _against(
            seen,
            field,
            one,
            bare,
            Figure("queue-sqlite-one", "SQLite jobs, one by one / bare loop", "/s", target=Target("ratio >=", 0.6)),
        )
        yield _against(
            seen,
            field,
            many,
            bare,
            Figure("queue-sqlite-32", "SQLite jobs, 32 at once / bare loop", "/s", target=Target("ratio >=", 5)),
        )
        seen = field.rounds(run.rounds(4, 2, budget=40.0), dict.fromkeys((batched, "huey"), JOBS))
        figure = Figure("queue-sqlite-batched", "SQLite jobs, batched / Huey", "/s", target=Target("ratio >=", 5))
        yield _against(seen, field, batched, "huey", figure)


def on_postgres(run: Run) -> Iterator[Figure]:
    """One by one beside the bare loop, in batches beside PgQueuer at its best batch and Procrastinate."""
    with ExitStack() as stack:
        server, said = stack.enter_context(postgres(run))
        field = Field(run, stack, "queue-postgres", server)
        yield from _one_by_one(run, field, said)
        yield from _batched(run, field, said)


def _one_by_one(run: Run, field: Field, said: dict[str, str]) -> Iterator[Figure]:
    one, bare = "ours-postgres-one", "floor-postgres"
    for name in (one, bare):
        field.enter(name)
        field.drain(name, 200)  # warms up
    seen = field.rounds(run.rounds(10, 3, budget=45.0), dict.fromkeys((bare, one), SHORT))
    title, target = "PostgreSQL jobs, one by one / bare loop", Target("ratio >=", 0.65)
    yield _against(seen, field, one, bare, Figure("queue-postgres-one", title, "/s", target=target, notes=said))


def _batched(run: Run, field: Field, said: dict[str, str]) -> Iterator[Figure]:
    batched, slow = "ours-postgres-batched", "procrastinate-32"
    for name in (batched, slow):
        field.enter(name)
    best, tried = _best(run, field)
    counts = {batched: JOBS, best: JOBS, slow: SHORT}
    seen = field.rounds(run.rounds(4, 2, budget=50.0), counts)
    title, notes = f"PostgreSQL jobs, batched / {BY_NAME[best].title}", {**said, "tried, /s": tried}
    figure = Figure("queue-postgres-batched", title, "/s", target=Target("ratio >=", 1), notes=notes)
    yield _against(seen, field, batched, best, figure)
    title, target = "PostgreSQL jobs, batched / Procrastinate, 32 at once", Target("ratio >=", 15)
    why = {"fewer jobs": f"Procrastinate would take minutes for {JOBS:,} a round"}
    figure = Figure("queue-postgres-procrastinate", title, "/s", target=target, notes={**said, **why})
    yield _against(seen, field, batched, slow, figure)


def _best(run: Run, field: Field) -> tuple[str, str]:
    """PgQueuer's batch size that works off most here, and what each came to."""
    names = PGQUEUER[::2] if run.quick else PGQUEUER
    for name in names:
        field.enter(name)
        field.drain(name, 200)  # warms up
    seen = field.rounds(range(TRIALS), dict.fromkeys(names, TRIAL))
    rates = {name: statistics.median(_rates(seen, name)) for name in names}
    tried = "; ".join(f"{BY_NAME[name].title} {rate:,.0f}" for name, rate in rates.items())
    return max(rates, key=lambda name: rates[name]), tried


def pick_up(run: Run) -> Iterator[Figure]:
    """From the return of the enqueue to the start of the handler, one job at a time into an idle system."""
    with ExitStack() as stack:
        field = Field(run, stack, "pick-up")
        yield from _picked_up(run, field, "SQLite", ("ours-sqlite-plain", "floor-sqlite", "huey"))
    with ExitStack() as stack:
        server, said = stack.enter_context(postgres(run))
        field = Field(run, stack, "pick-up", server)
        names = ("ours-postgres-plain", "floor-postgres", "pgqueuer", "procrastinate-32")
        yield from _picked_up(run, field, "PostgreSQL", names, said)


def _picked_up(
    run: Run, field: Field, engine: str, names: tuple[str, ...], said: dict[str, str] | None = None
) -> Iterator[Figure]:
    ours, bare, *peers = names
    for name in names:
        field.enter(name)
    taken: dict[str, list[float]] = {ours: [], bare: []}
    turns = (QUICK_PICK_UPS if run.quick else PICK_UPS) // TURN
    for _ in run.rounds(turns, turns, budget=85.0):
        for name, count in ((ours, TURN), (bare, FLOOR_PICK_UPS)):
            taken[name] += ask(field.contenders[name], "latency", count=count)["ms"]
    notes: dict[str, Any] = {
        "jobs": len(taken[ours]),
        f"over {SLOW_MS:g} ms": sum(each > SLOW_MS for each in taken[ours]),
        **(said or {}),
    }
    for name in peers:
        seen = ask(field.contenders[name], "latency", count=TURN, seconds=PEER_SECONDS)
        spread = " / ".join(f"{seen[key]:.2f}" for key in ("p50", "p99", "max"))
        notes[f"{BY_NAME[name].title} ({field.versions[name]}) p50 / p99 / max, ms"] = f"{spread} of {seen['count']}"
    whole = (("p50", 0.5, None), ("p99", 0.99, Target("<=", 10)), ("max", 1.0, None))
    for share, part, target in whole:
        mine, floors = ([percentile(taken[name], part)] for name in (ours, bare))
        about = notes if share == "p99" else {}
        title = f"{engine} pick-up, {share}"
        yield Figure(f"pick-up-{engine.lower()}-{share}", title, "ms", mine, floors, target, about)
