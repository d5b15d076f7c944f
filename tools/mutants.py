"""Applies every deliberate break to a private copy and demands that the tests which name it turn red, and only then.

`mutants.py [NAME...]` runs them all, or these; `mutants.py --check` only compares the names and tries the patches.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import guarantees
from guarantees import ROOT, Guard

PARALLEL = 2
SECONDS_A_TEST = 120
SECONDS_A_BREAK = 900
FAILED = 1  # pytest's exit status when tests ran and some of them failed


@dataclass(frozen=True)
class Verdict:
    """What became of one break."""

    name: str
    tests: int
    seconds: float
    wrong: str = ""


def outcomes(root: Path, tests: list[str], *words: str) -> tuple[dict[str, list[str]], int, str]:
    """Run tests on a tree: the outcomes of each with all its parameters, pytest's exit status, the end of its words."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "outcomes.json"
        limits = [f"--timeout={SECONDS_A_TEST}", f"--outcomes={target}"]
        try:
            done = guarantees.pytest(root, "-q", *limits, *words, *tests, seconds=SECONDS_A_BREAK)
        except subprocess.TimeoutExpired:
            return {}, -1, "the run did not end in time"
        seen = json.loads(target.read_text(encoding="utf-8")) if target.exists() else {}
    grouped: dict[str, list[str]] = {}
    for test, outcome in seen.items():
        grouped.setdefault(test.split("[", 1)[0].split("@", 1)[0], []).append(outcome)
    return grouped, done.returncode, done.stdout[-3000:]


def baseline(tests: list[str]) -> list[str]:
    """The tests that are not green before anything is broken."""
    with tempfile.TemporaryDirectory() as folder:
        root = guarantees.copy(Path(folder) / "tree")
        seen, _, end = outcomes(root, tests, "-n", str(PARALLEL), "--dist=loadgroup")
    wrong = [test for test in tests if set(seen.get(test, ["not run"])) != {"passed"}]
    if wrong:
        print(end)
    return wrong


def judge(seen: dict[str, list[str]], tests: list[str], status: int) -> str:
    """Why a break counts as not caught: empty when every test that names it is red on at least one engine."""
    if status not in (0, FAILED):
        return f"the tests did not run to their end (pytest {status})"
    green = [test for test in tests if "failed" not in seen.get(test, [])]
    return f"stays green: {', '.join(green)}" if green else ""


def run(name: str, guards: list[Guard]) -> Verdict:
    """Break a copy and see."""
    tests = sorted({guard.test for guard in guards if name in guard.breaks})
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        root = guarantees.copy(Path(folder) / "tree")
        why = guarantees.apply(root, name)
        if not why:
            seen, status, end = outcomes(root, tests)
            why = judge(seen, tests, status)
            if why and status not in (0, FAILED):
                why += "\n" + end
    verdict = Verdict(name, len(tests), time.monotonic() - started, why)
    print(f"  {'red ' if not why else 'GREEN'} {name} ({verdict.seconds:.0f} s)", flush=True)
    return verdict


def table(verdicts: list[Verdict]) -> str:
    """All verdicts, one a line."""
    width = max(len(verdict.name) for verdict in verdicts)
    rows = [f"{'break':<{width}}  tests  seconds  verdict"]
    for verdict in verdicts:
        words = verdict.wrong or "red, as it must be"
        rows.append(f"{verdict.name:<{width}}  {verdict.tests:>5}  {verdict.seconds:>7.1f}  {words}")
    return "\n".join(rows)


def main() -> int:
    """Cross-check, then run what was asked for."""
    asked = sys.argv[1:]
    guards = guarantees.collect()
    wrong = guarantees.cross_check(ROOT, guards)
    if wrong and (not asked or asked == ["--check"]):  # one who tries a single break may still be writing the others
        print("\n".join(wrong))
        return 1
    names = guarantees.breaks()
    if asked == ["--check"]:
        print(f"breaks: {len(names)} breaks, {len(guards)} guarantees, each names the other")
        return 0
    unknown = sorted(set(asked) - set(names))
    if unknown:
        print(f"no break is called {', '.join(unknown)}; there are: {', '.join(names)}")
        return 2
    chosen = asked or names
    tests = sorted({guard.test for guard in guards if set(guard.breaks) & set(chosen)})
    unguarded = [name for name in chosen if not any(name in guard.breaks for guard in guards)]
    if unguarded:
        print(f"no test's guards marker names {', '.join(unguarded)}")
        return 1
    print(f"{len(chosen)} breaks, {len(tests)} tests; first without any break", flush=True)
    red = baseline(tests)
    if red:
        print(f"not green before anything was broken: {', '.join(red)}")
        return 1
    with ThreadPoolExecutor(PARALLEL) as pool:
        verdicts = list(pool.map(lambda name: run(name, guards), chosen))
    print(table(verdicts))
    bad = [verdict for verdict in verdicts if verdict.wrong]
    print(f"mutants: {len(verdicts) - len(bad)} caught, {len(bad)} not caught")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
