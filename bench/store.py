"""Units of work beside a bare `apsw` loop, in groups of the same size, and one at a time with its fsync."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

from bench.contender import ROOT, Contender, floor
from bench.figures import Figure, Target, percentile
from bench.run import Run

CLIENTS = (32, 128, 512)


def _rate(answer: dict[str, float]) -> float:
    return answer["units"] / answer["seconds"]


def _cpu(answer: dict[str, float]) -> float:
    return answer["cpu_seconds"] / answer["units"]


class _Three:
    """Ours, the floor with ours' trigger, and the floor without: each a process with a database of its own."""

    def __init__(self, run: Run, stack: ExitStack, name: str) -> None:
        place = run.place(name)
        peers = "bench.peers.units"
        self.ours = stack.enter_context(Contender("bench.ours.units", str(place / "ours")))
        self.floor = stack.enter_context(floor(peers, str(place / "floor.db"), "--trigger"))
        self.plain = stack.enter_context(floor(peers, str(place / "plain.db")))

    def compare(
        self, rounds: Iterable[int], seconds: float, clients: int, rows: int, *, many: bool = False
    ) -> dict[str, list[float]]:
        """Units a second of each, round by round, taking turns; the floor commits groups of the size ours had."""
        ask = {"seconds": seconds, "clients": clients, "rows": rows, "many_rows": many}
        group = max(1, round(self.ours.ask("round", **ask)["group"]))  # warms up, too
        seen: dict[str, list[float]] = {"ours": [], "floor": [], "plain": [], "group": [], "cpu": []}
        for _ in rounds:
            ours = self.ours.ask("round", **ask)
            seen["ours"].append(_rate(ours))
            seen["group"].append(ours["group"])
            group = max(1, round(statistics.median(seen["group"])))
            for name, contender in (("floor", self.floor), ("plain", self.plain)):
                answer = contender.ask("round", seconds=seconds, group=group, rows=rows, many=many)
                seen[name].append(_rate(answer))
                if name == "floor":
                    seen["cpu"].append(_cpu(answer) / _cpu(ours))
        return seen


def _trigger_is_ours(ours: Contender) -> str:
    """Whether the floor's copied trigger text is still what is generated."""
    copied = (ROOT / "bench" / "peers" / "triggers.sql").read_text()
    squeezed = " ".join(copied.split())
    missing = [text for text in ours.ask("triggers")["triggers"] if " ".join(text.split()) not in squeezed]
    return "the same as ours" if not missing else f"NOT ours any more ({len(missing)} differ): copy it again"


def grouped(run: Run) -> Iterator[Figure]:
    """Units of one row and of ten rows, with group commit."""
    shapes = [(1, clients, False) for clients in CLIENTS] + [(10, 128, False), (10, 128, True)]
    if run.quick:
        shapes = [(1, 128, False), (10, 128, False)]
    with ExitStack() as stack:
        three = _Three(run, stack, "units")
        trigger = _trigger_is_ours(three.ours)
        for rows, clients, many in shapes:
            seen = three.compare(run.rounds(5), 0.5, clients, rows, many=many)
            name = f"units-{rows}{'-many' if many else ''}-{clients}"
            how = f"{rows} row{'s' * (rows > 1)}{' in one call' if many else ''}, {clients} clients"
            notes = {
                "group": statistics.median(seen["group"]),
                "ratio by processor time": statistics.median(seen["cpu"]),
                "floor's trigger": trigger,
            }
            target = Target("ratio >=", 0.35 if rows == 1 else 0.55)
            yield Figure(name, f"units of {how}", "/s", seen["ours"], seen["floor"], target, notes)
            yield Figure(name + "-plain", "  to a floor without trigger", "/s", seen["ours"], seen["plain"])


def single(run: Run) -> Iterator[Figure]:
    """One durable write from asking to knowing, nobody else about."""
    ours: list[list[float]] = []
    bare: list[list[float]] = []
    count = 20  # short turns: the disk's own mood changes within a second
    with ExitStack() as stack:
        three = _Three(run, stack, "single")
        for contender in (three.ours, three.floor):
            contender.ask("single", count=count)
        for _ in run.rounds(60, 20):
            ours.append(three.ours.ask("single", count=count)["ms"])
            bare.append(three.floor.ask("single", count=count)["ms"])
    for share, target in ((0.5, Target("<= floor +", 0.2)), (0.99, None)):
        mine, floors = ([percentile(taken, share) for taken in side] for side in (ours, bare))
        above = {"ours - floor, ms": statistics.median(mine) - statistics.median(floors)}
        yield Figure(
            f"single-p{share * 100:.0f}", f"one durable write, p{share * 100:.0f}", "ms", mine, floors, target, above
        )
