"""The command line of the bench: `python -m bench [--only NAME] [--quick] [--json]`; a missed target is no failure."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from bench import daemon, fleet, propagation, pulls, report, store, stream
from bench.contender import ROOT, ContenderError
from bench.figures import Figure, percentile
from bench.machine import Others, about, allow_many_files, fsync_ms, scratch
from bench.run import Measure, Run

RESULTS = ROOT / "bench" / "results"
MEASURES: dict[str, Measure] = {
    "units": store.grouped,
    "single": store.single,
    "latency": stream.latency,
    "fanout": stream.fan_out,
    "start": daemon.start,
    "idle": daemon.idle,
    "queue-sqlite": propagation.sqlite,
    "queue-postgres": propagation.on_postgres,
    "pick-up": propagation.pick_up,
    "fleet-one": fleet.one,
    "fleet-10": fleet.ten,
    "fleet-40": fleet.forty,
    "pulls-nudge": pulls.nudge,
    "pulls-reduce": pulls.reduce,
    "pulls-idle": pulls.idle,
}


def measured(name: str, run: Run) -> list[Figure]:
    """The figures of one measurement; what went wrong is a figure, too."""
    print(f"# {name} ...", file=sys.stderr, flush=True)
    figures: list[Figure] = []
    begin = time.perf_counter()
    try:
        figures.extend(MEASURES[name](run))
    except (ContenderError, OSError, ValueError, KeyError) as error:
        figures.append(Figure(name, name, "", problem=f"{type(error).__name__}: {error}"))
    print(f"# {name}: {time.perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)
    return figures


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(MEASURES), help="this measurement; may be repeated")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: under a minute, noisier")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--page", type=Path, help="write the table as a Markdown page, too")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where the databases go; must be a real disk")
    return parser.parse_args()


def main() -> None:
    """Measure, print, keep."""
    given = _arguments()
    if sys.platform != "linux":
        print("the bench reads /proc and waits by epoll: it runs on Linux only")
        return
    allow_many_files()
    others = Others()
    with scratch(given.folder) as folder:
        machine = about(folder)
        machine["fsync_p50_ms"] = percentile(fsync_ms(folder), 0.5)
        run = Run(folder, given.quick, others)
        figures = [figure for name in given.only or MEASURES for figure in measured(name, run)]
    machine["measured_at"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    machine["quick"] = given.quick
    machine["others_cpu_percent"] = others.percent()
    text = report.as_json(figures, machine)
    report.save(text, RESULTS / "latest.json")
    report.save(text, RESULTS / f"{machine['measured_at'].replace(':', '')}.json")
    if given.page:
        report.save(report.page(figures, machine, shlex.join(sys.argv[1:])), given.page)
    if given.json:
        print(text)
        return
    said = (report.table(figures, machine), report.notes(figures), report.kills(figures), report.versions(machine))
    print(*filter(None, said), sep="\n\n")
    print(report.warning(machine), end="")


if __name__ == "__main__":
    main()
