"""Fleets of agents: how soon they live and work, what they cost at rest, and what a killed daemon still knows.

Three do the same with the same agent: ours, a bare loop of git and tmux commands (the floor), and CLI Agent
Orchestrator, each on a repository and in a home of its own. Each gives every session a git worktree and a tmux session.
"""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from bench import fleet_peer
from bench.contender import Contender, ContenderError, floor
from bench.figures import Figure, Target, percentile
from bench.machine import cpu_seconds, free_port, resident_kb
from bench.peers.fleet import STARTED, began
from bench.run import Run

OURS, BARE, PEER = "ours", "floor", "peer"
#: How long a prompt is waited for, of ours and of the floor, and of the peer.
PATIENCE, PEER_PATIENCE = 10.0, 45.0
#: One at a time: rounds of ours and the floor, and of the peer, which takes seconds.
ONES, QUICK_ONES, PEER_ONES = 12, 4, 3
#: At once: rounds of ours and the floor by how many sessions.
ROUNDS = {10: 3, 40: 3}
LISTS, SAID = 400, 40
IDLE_SECONDS, QUICK_IDLE_SECONDS, SETTLE_SECONDS = 30.0, 10.0, 45.0
CRASH_SECONDS = 30.0
MANY = 40
#: What each of them does for a session before its agent lives.
WHAT = {
    "ours": "checks, rows on disk at each step, git worktree, token, tmux session of the agent itself, recorder",
    "bare": "git worktree, tmux session of the agent itself, pipe-pane",
    "other": "row, git worktree, tmux session of a login shell, pipe-pane, and the agent typed once that is still",
}
SOON, SLOWER, PROMPT_SLOWER = Target("ratio <=", 1.5), Target("ratio <=", 1 / 20), Target("ratio <=", 1 / 5)


class Field:
    """Fleets that take turns."""

    def __init__(self, run: Run, stack: ExitStack) -> None:
        self._run = run
        self._stack = stack
        self.fleets: dict[str, Contender] = {}
        self._next = 1

    def enter(self, name: str) -> None:
        """Start a fleet, and one session of it, so that nothing is timed that happens once."""
        self.fleets[name] = self._stack.enter_context(_opened(self._run, name))
        ask(self.fleets[name], "start")
        self.spawn(name, 1)

    def spawn(self, name: str, count: int, **how: Any) -> dict[str, Any]:
        """So many sessions at once; `s` of each, and of all."""
        first, self._next = self._next, self._next + count
        patience = PEER_PATIENCE if name == PEER else PATIENCE
        answer = ask(self.fleets[name], "spawn", first=first, count=count, seconds=patience, **how)
        missing = answer["not alive"]
        if missing and (name != PEER or missing == count):
            message = f"{name}: {missing} of {count} agents never lived; {answer['refused']}"
            raise ContenderError(message)
        if missing:  # it had all the time that there was, and took it
            never = {"since the first": 0.0, "answered": patience, "alive": patience, "read": patience}
            answer["sessions"] += [never] * missing
            answer["alive"] = patience
        return {**answer, "first": first}


@contextmanager
def _opened(run: Run, name: str) -> Iterator[Contender]:
    where = str(run.place(f"fleet-{name}") / "fleet")
    match name:
        case "ours":
            contender = Contender("bench.ours.fleet", where, str(free_port()))
        case "floor":
            contender = floor("bench.peers.fleet_bare", where)
        case _:
            contender = floor("bench.peers.fleet_cao", where, str(fleet_peer.installed()), str(free_port()))
    try:
        with contender:
            yield contender
            run.others.spare(ask(contender, "close")["elsewhere"])
    finally:
        end_left(Path(where) / STARTED)


def end_left(notes: Path) -> None:
    """End what a fleet has started and left behind: its own process was killed because it did not answer."""
    lines = notes.read_text().splitlines() if notes.exists() else []
    for pid, since in (line.split() for line in lines):
        if began(int(pid)) == since:
            os.kill(int(pid), signal.SIGKILL)


def ask(fleet: Contender, do: str, within: float = 150.0, **what: Any) -> dict[str, Any]:
    """Ask a question whose answer may take its time."""
    fleet.send(do, **what)
    return fleet.receive(within)


def _ms(answers: Iterable[dict[str, Any]], key: str) -> list[float]:
    """Of each round the median session, since the first one was asked for: a loop asks for the last one late."""
    return [
        1e3 * statistics.median(each["since the first"] + each[key] for each in answer["sessions"])
        for answer in answers
    ]


def _whole(answers: Iterable[dict[str, Any]], key: str) -> list[float]:
    return [answer[key] for answer in answers]


def _unread(answers: Iterable[dict[str, Any]], patience: float) -> dict[str, Any]:
    """What stands for prompts that were not read in time."""
    found = list(answers)
    count = sum(len(answer["sessions"]) for answer in found)
    late, never = (sum(answer[key] for answer in found) for key in ("not read", "not alive"))
    notes = {f"prompts not read within {patience:g} s, counted as that": f"{late} of {count}"} if late else {}
    return notes | ({"agents that never lived, counted as that": f"{never} of {count}"} if never else {})


def one(run: Run) -> Iterator[Figure]:
    """One session at a time beside those that are there: what a person waits for."""
    seen: dict[str, list[dict[str, Any]]] = {OURS: [], BARE: [], PEER: [], "carried": []}
    with ExitStack() as stack:
        field = Field(run, stack)
        for name in (OURS, BARE, PEER):
            field.enter(name)
        for number in run.rounds(ONES, QUICK_ONES, budget=30.0):
            for name in (OURS, BARE)[:: -1 if number % 2 else 1]:
                seen[name].append(field.spawn(name, 1))
            seen["carried"].append(field.spawn(OURS, 1, carried=True))
        for _ in run.rounds(PEER_ONES, 1, budget=20.0):
            seen[PEER].append(field.spawn(PEER, 1))
    for figure in _figures("fleet-one", "one session", seen):
        figure.notes |= WHAT if figure.name == "fleet-one-alive" else {}
        yield figure
    read = {key: _ms(seen[key], "read") for key in ("carried", BARE)}
    title = "  the prompt on the command line (floor types it)"
    yield Figure("fleet-one-carried", title, "ms", read["carried"], read[BARE])


def _figures(name: str, title: str, seen: dict[str, list[dict[str, Any]]]) -> Iterator[Figure]:
    """Alive and prompt read, of the median session, beside the floor and the peer."""
    ours, bare, peer = seen[OURS], seen[BARE], seen[PEER]
    for key, words, to_peer in (("alive", "agent alive", SLOWER), ("read", "prompt read", PROMPT_SLOWER)):
        mine = _ms(ours, key)
        notes = (
            _unread(ours, PATIENCE)
            if key == "read"
            else {"asked to answered, ms": statistics.median(_ms(ours, "answered"))}
        )
        target = SOON if key == "alive" else None
        yield Figure(f"{name}-{key}", f"{title} to {words} / bare commands", "ms", mine, _ms(bare, key), target, notes)
        theirs = _ms(peer, key)
        bound = statistics.median(theirs) / statistics.median(_ms(bare, key))
        notes = {"rounds of the other": len(theirs), "bare commands / the other": f"1 / {bound:.1f}"}
        notes |= _unread(peer, PEER_PATIENCE)
        figure = Figure(f"{name}-{key}-peer", f"  / {fleet_peer.NAME}", "ms", target=to_peer, notes=notes)
        figure.ours, figure.floor = _paired(mine, theirs)
        yield figure


def _paired(ours: list[float], peer: list[float]) -> tuple[list[float], list[float]]:
    """The peer takes seconds where ours takes parts of one, so its rounds are fewer: its median stands for the rest."""
    return ours, [*peer, *[statistics.median(peer)] * (len(ours) - len(peer))][: len(ours)]


def _at_once(run: Run, count: int, seen: dict[str, list[dict[str, Any]]], name: str) -> None:
    """A fresh fleet, so many sessions of it at once, and its end."""
    with ExitStack() as stack:
        field = Field(run, stack)
        field.enter(name)
        seen[name].append(field.spawn(name, count))


def ten(run: Run) -> Iterator[Figure]:
    """Ten sessions at once."""
    seen: dict[str, list[dict[str, Any]]] = {OURS: [], BARE: [], PEER: []}
    for number in run.rounds(ROUNDS[10], 1, budget=40.0):
        for name in (OURS, BARE)[:: -1 if number % 2 else 1]:
            _at_once(run, 10, seen, name)
    _at_once(run, 10, seen, PEER)
    yield from _many("fleet-10", 10, seen)


def _many(name: str, count: int, seen: dict[str, list[dict[str, Any]]]) -> Iterator[Figure]:
    yield from _figures(name, f"{count} sessions at once, the median one", seen)
    ours, bare, peer = seen[OURS], seen[BARE], seen[PEER]
    for key, words, to_peer in (("alive", "alive", SLOWER), ("read", "with their prompts", PROMPT_SLOWER)):
        title, mine = f"{count} sessions, until all are {words} / bare commands", _whole(ours, key)
        target = SOON if key == "alive" else None
        yield Figure(f"{name}-all-{key}", title, "s", mine, _whole(bare, key), target)
        figure = Figure(f"{name}-all-{key}-peer", f"  / {fleet_peer.NAME}", "s", target=to_peer)
        figure.ours, figure.floor = _paired(mine, _whole(peer, key))
        yield figure


def forty(run: Run) -> Iterator[Figure]:
    """Forty sessions at once; then the list, rest, a word to each, and a killed daemon."""
    seen: dict[str, list[dict[str, Any]]] = {OURS: [], BARE: [], PEER: []}
    for _ in run.rounds(ROUNDS[MANY] - 1, 0, budget=25.0):
        _at_once(run, MANY, seen, BARE)
        _at_once(run, MANY, seen, OURS)
    _at_once(run, MANY, seen, BARE)
    with ExitStack() as stack:
        field = Field(run, stack)
        for name in (OURS, PEER):
            field.enter(name)
            seen[name].append(field.spawn(name, MANY))
        yield from _many("fleet-40", MANY, seen)
        yield from _lists(field)
        yield from _at_rest(run, field)
        yield from _said(field, seen)
        yield _crash(field)


def _lists(field: Field) -> Iterator[Figure]:
    taken = {
        name: ask(field.fleets[name], "list", times=LISTS if name == OURS else LISTS // 8) for name in (OURS, PEER)
    }
    for share, part in (("p50", 0.5), ("p99", 0.99)):
        mine, theirs = ([percentile(taken[name]["ms"], part)] for name in (OURS, PEER))
        notes = {"sessions, ours / other": f"{taken[OURS]['sessions']} / {taken[PEER]['sessions']}"}
        title = f"list of {MANY + 1} sessions, {share} / {fleet_peer.NAME}"
        yield Figure(f"fleet-list-{share}", title, "ms", mine, theirs, notes=notes if part > 0.9 else {})


def _cpu(pids: Iterable[int]) -> float:
    """Processor seconds of processes, and of children that they have waited for (in steps of 10 ms)."""
    total = 0.0
    for pid in pids:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += cpu_seconds(pid) + (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    return total


def _at_rest(run: Run, field: Field) -> Iterator[Figure]:
    """Both daemons at the same time: what they take while no agent does anything."""
    span = QUICK_IDLE_SECONDS if run.quick else IDLE_SECONDS
    resting = {name: ask(field.fleets[name], "settle", seconds=SETTLE_SECONDS)["resting"] for name in (OURS, PEER)}
    who = {name: ask(field.fleets[name], "pids") for name in (OURS, PEER)}
    groups = {
        name: {"daemon": [at["daemon"]], "all": [at["daemon"], at["server"], *at["recorders"]]}
        for name, at in who.items()
    }
    before = {(name, part): _cpu(pids) for name, parts in groups.items() for part, pids in parts.items()}
    begin = time.perf_counter()
    time.sleep(span)
    passed = time.perf_counter() - begin
    share = {(name, part): 100 * (_cpu(groups[name][part]) - was) / passed for (name, part), was in before.items()}
    notes = {
        "seconds": passed,
        "taken for idle, ours / other": f"{resting[OURS]} / {resting[PEER]} of {MANY + 1}",
        "recorders, ours / other": f"{len(who[OURS]['recorders'])} / {len(who[PEER]['recorders'])}",
    }
    mine, theirs = ([share[name, "daemon"]] for name in (OURS, PEER))
    title = f"idle with {MANY} sessions, daemon, share of a core / {fleet_peer.NAME}"
    yield Figure("fleet-idle", title, "%", mine, theirs, Target("<=", 0.4), notes)
    mine, theirs = ([share[name, "all"]] for name in (OURS, PEER))
    yield Figure("fleet-idle-all", "  with tmux and what records", "%", mine, theirs)
    memory = {name: {part: [_resident_mb(pids)] for part, pids in parts.items()} for name, parts in groups.items()}
    title = f"resident with {MANY} sessions, daemon / {fleet_peer.NAME}"
    yield Figure("fleet-resident", title, "MB", memory[OURS]["daemon"], memory[PEER]["daemon"])
    title = "  with tmux and what records"
    yield Figure("fleet-resident-all", title, "MB", memory[OURS]["all"], memory[PEER]["all"])


def _resident_mb(pids: Iterable[int]) -> float:
    total = 0
    for pid in pids:
        with suppress(OSError):
            total += resident_kb(pid)
    return total / 1024


def _said(field: Field, seen: dict[str, list[dict[str, Any]]]) -> Iterator[Figure]:
    """A line to one idle session after the other."""
    counts = {OURS: SAID, PEER: SAID // 4}
    taken = {
        name: ask(field.fleets[name], "talk", first=seen[name][-1]["first"], count=count, seconds=PATIENCE)
        for name, count in counts.items()
    }
    got = {
        f"{key}, ours / other": f"{len(taken[OURS][key])} / {len(taken[PEER][key])}" for key in ("read", "confirmed")
    }
    sent = {"sent, ours / other": f"{counts[OURS]} / {counts[PEER]}", **got}
    for share, part in (("p50", 0.5), ("p99", 0.99)):
        mine, theirs = ([percentile(taken[name]["read"], part)] if taken[name]["read"] else [] for name in (OURS, PEER))
        yield Figure(f"fleet-read-{share}", f"message to read, {share} / {fleet_peer.NAME}", "ms", mine, theirs)
        known = [percentile(taken[OURS]["confirmed"], part)] if taken[OURS]["confirmed"] else []
        yield Figure(
            f"fleet-confirmed-{share}", f"message to confirmed, {share}", "ms", known, notes=sent if part > 0.9 else {}
        )


def _crash(field: Field) -> Figure:
    """Signal 9 to the daemon, one agent dead meanwhile; seconds until it knows all of them again, if it does."""
    said = {name: ask(field.fleets[name], "crash", seconds=CRASH_SECONDS) for name in (OURS, PEER)}
    title = f"kill -9 to all {MANY + 1} sessions known again / {fleet_peer.NAME}"
    known = {name: [said[name].pop("known")] for name in (OURS, PEER)}
    mine, theirs = ([value for value in known[name] if value is not None] for name in (OURS, PEER))
    words = {name: ", ".join(f"{key} {_said_of(value)}" for key, value in said[name].items()) for name in (OURS, PEER)}
    notes = {
        "ours:": words[OURS],
        "the other:": words[PEER] + ("" if theirs else f", not known again within {CRASH_SECONDS:g} s"),
    }
    problem = None if mine else f"not all known again within {CRASH_SECONDS:g} s: {words[OURS]}"
    return Figure("fleet-kill", title, "s", mine, theirs, notes=notes, problem=problem)


def _said_of(value: Any) -> str:
    return f"{value:.2f} s" if isinstance(value, float) else str(value)
