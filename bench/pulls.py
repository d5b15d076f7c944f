"""Pulls: how soon an agent hears of its failed check, what an observation of a pull costs, and a hundred at rest."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.contender import Contender, ContenderError, floor
from bench.figures import Figure, Target
from bench.fleet import ask, end_left
from bench.machine import free_port
from bench.peers.fleet import STARTED
from bench.run import Run

#: Sessions whose check fails, one after the other.
NUDGES, QUICK_NUDGES = 12, 4
NUDGE_SECONDS = 20.0
REDUCES, QUICK_REDUCES = 25, 5
OPEN, QUICK_OPEN = 100, 20
OPEN_SECONDS, SEEN_SECONDS = 240.0, 15.0
REST_SECONDS, QUICK_REST_SECONDS = 30.0, 10.0
_OTHER = "an agent was told something else than that its check failed, or not why"
#: Until a daemon is at rest: it takes less than this share of a core, in percent, over some seconds.
QUIET, QUIET_SPAN, QUIET_ROUNDS = 1.0, 3.0, 20


@contextmanager
def _daemon(run: Run, name: str, runtime: str, checked: str) -> Iterator[Contender]:
    where = run.place(name) / "fleet"
    try:
        with Contender("bench.ours.pulls", str(where), str(free_port()), runtime, checked) as contender:
            ask(contender, "start")
            yield contender
            run.others.spare(ask(contender, "close")["elsewhere"])
    finally:
        end_left(where / STARTED)


def nudge(run: Run) -> Iterator[Figure]:
    """From the last act of a failing check to its text submitted in the agent's terminal; beside two tmux commands."""
    ours: list[float] = []
    bare: list[float] = []
    steps: dict[str, list[float]] = {}
    about: dict[str, float] = {}
    with (
        _daemon(run, "pulls-nudge", "tmux", "checked") as mine,
        floor("bench.peers.fleet_bare", str(run.place("pulls-bare") / "fleet")) as theirs,
    ):
        ask(theirs, "start")
        for number in run.rounds(NUDGES, QUICK_NUDGES, budget=90.0):
            answer = ask(mine, "nudge", seconds=NUDGE_SECONDS)
            if not answer["right"]:
                raise ContenderError(_OTHER)
            ours.append(answer["ms"] - answer["settle"])
            about = {
                "characters told": answer["characters"],
                "settle of the agent's terminal, taken off, ms": answer["settle"],
            }
            for step, ms in answer["steps"].items():
                steps.setdefault(step, []).append(ms)
            ask(theirs, "spawn", first=number, count=1, seconds=NUDGE_SECONDS)
            bare += ask(theirs, "talk", first=number, count=1, seconds=NUDGE_SECONDS)["read"]
        run.others.spare(ask(theirs, "close")["elsewhere"])
    notes = {
        "samples": len(ours),
        **about,
        "most, ms": max(ours),
        **{f"p50 since the check's end until {step}, ms": statistics.median(ms) for step, ms in steps.items()},
    }
    title = "check failed to text submitted, beyond the settle, p50 / two tmux commands"
    yield Figure("pulls-nudge", title, "ms", ours, bare, Target("<=", 300), notes)


def reduce(run: Run) -> Iterator[Figure]:
    """What one observation costs, and one log."""
    taken: dict[str, list[float]] = {"same": [], "news": [], "floor": []}
    with Contender("bench.ours.reducing") as contender:
        left = contender.ask("kinds")["left"]
        logs: dict[str, dict[str, list[float]]] = {kind: {"ours": [], "floor": []} for kind in left}
        for _ in run.rounds(REDUCES, QUICK_REDUCES):
            for key, ms in contender.ask("observed").items():
                if key in taken:
                    taken[key].append(ms)
            for kind, values in logs.items():
                answer = contender.ask("log", kind=kind)
                for key in values:
                    values[key].append(answer[key])
    notes = {"floor": "the same observation as JSON and back", "tail of each check": "4 KB"}
    target = Target("<=", 0.3)
    title = "observation of 30 checks, all of them news, processor time"
    yield Figure("pulls-reduce-news", title, "ms", taken["news"], taken["floor"], target, notes)
    yield Figure("pulls-reduce-same", "  nothing of it news", "ms", taken["same"], taken["floor"], target)
    for kind, what in (("tests", "of a test runner"), ("stamped", "with stamps"), ("words", "of a compiler")):
        values = logs[kind]
        notes = {"characters left of 65,536": left[kind]}
        title = f"log of 64 KB {what}, made comparable / escape codes out"
        yield Figure(f"pulls-log-{kind}", title, "ms", values["ours"], values["floor"], Target("<=", 5), notes)


def idle(run: Run) -> Iterator[Figure]:
    """A hundred open pulls at rest; then some branches move, to see that they were watched."""
    count = QUICK_OPEN if run.quick else OPEN
    span = QUICK_REST_SECONDS if run.quick else REST_SECONDS
    with _daemon(run, "pulls-idle", "process", "unchecked") as mine:
        none = _quiet(mine, span / 3)
        begin = time.monotonic()
        there = ask(mine, "open", within=OPEN_SECONDS + 60, count=count, seconds=OPEN_SECONDS)
        took = time.monotonic() - begin
        _quiet(mine, QUIET_SPAN)
        rest = ask(mine, "rest", seconds=span)
        moved = ask(mine, "move", seconds=SEEN_SECONDS)
    if there["open"] != count or moved["missed"] or there["alive"]:
        message = f"{there['open']} of {count} pulls open, {there['alive']} agents alive, not seen: {moved['missed']}"
        raise ContenderError(message)
    notes = {
        "seconds": rest["seconds"],
        "repositories": there["repositories"],
        "wake-ups a second": rest["woken"] / rest["seconds"],
        "resident MB": rest["resident"],
        "the same daemon before, without pulls, %": none,
        "moved branches seen after, s": " / ".join(f"{each:.1f}" for each in moved["seen"]),
        "until all were open, s": took,
    }
    share = 100 * rest["cpu"] / rest["seconds"]
    title = f"idle with {count} open pulls, share of a core"
    yield Figure("pulls-idle", title, "%", [share], target=Target("<=", 0.4), notes=notes)


def _quiet(daemon: Contender, span: float) -> float:
    """Wait until a daemon has done what it had to do; the share of a core that it takes then."""
    share = QUIET + 1
    for _ in range(QUIET_ROUNDS):
        rest = ask(daemon, "rest", seconds=span)
        share = 100 * rest["cpu"] / rest["seconds"]
        if share < QUIET:
            break
    return share
