"""Knows which test guards what, which breaks there are and whether both agree; runs tests in private copies."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BREAKS = Path("tests/breaks")
_NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", ".demo", "build", "__pycache__", ".*_cache", ".hypothesis", "results"
)


@dataclass(frozen=True)
class Guard:
    """One guarantee, the test that proves it, the failure it catches and the breaks that turn it red."""

    test: str
    guarantee: str
    against: str
    breaks: tuple[str, ...]


def environment(root: Path) -> dict[str, str]:
    """An environment in which every process, also one that a test starts, runs the code below `root`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
    return {**kept, "PYTHONPATH": str(root / "src"), "PYTHONDONTWRITEBYTECODE": "1"}


def pytest(root: Path, *words: str, seconds: float) -> subprocess.CompletedProcess[str]:
    """Run pytest on a tree."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words]
    return subprocess.run(
        command, cwd=root, env=environment(root), capture_output=True, text=True, check=False, timeout=seconds
    )


def collect(root: Path = ROOT) -> list[Guard]:
    """Every guarantee that a test names, in the order of the tests."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "guards.json"
        done = pytest(root, "--collect-only", "-q", f"--guards-list={target}", "tests", seconds=300)
        if not target.exists() or done.returncode != 0:
            raise SystemExit(f"the tests cannot be collected:\n{done.stdout[-4000:]}\n{done.stderr[-2000:]}")
        rows = json.loads(target.read_text(encoding="utf-8"))
    found = [Guard(row["test"], row["guarantee"], row["against"], tuple(row["breaks"])) for row in rows]
    return sorted(found, key=lambda guard: (guard.test, guard.guarantee))


def breaks(root: Path = ROOT) -> list[str]:
    """The name of every break."""
    return sorted(path.stem for path in (root / BREAKS).glob("*.patch"))


def patch(name: str) -> str:
    """Where a break lies."""
    return f"{BREAKS}/{name}.patch"


def apply(root: Path, name: str, *how: str) -> str:
    """Apply a break to a tree; empty, or why it cannot be applied."""
    ceiling = {**os.environ, "GIT_CEILING_DIRECTORIES": str(root.parent)}
    command = ["git", "apply", *how, str(root / patch(name))]
    done = subprocess.run(command, cwd=root, env=ceiling, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else (done.stderr.strip() or f"git apply ended with {done.returncode}")


def disagreements(guards: list[Guard], names: list[str]) -> list[str]:
    """Breaks that no test names, and tests that name a break that is not there."""
    named = {name for guard in guards for name in guard.breaks}
    wrong = [f"{patch(name)}: no test's guards marker names it" for name in names if name not in named]
    for guard in guards:
        wrong.extend(f"{guard.test}: {patch(name)} is not there" for name in guard.breaks if name not in names)
    return wrong


def cross_check(root: Path, guards: list[Guard]) -> list[str]:
    """What is wrong with the breaks without running a test: names that disagree, patches that no longer apply."""
    names = breaks(root)
    wrong = disagreements(guards, names)
    for name in names:
        why = apply(root, name, "--check")
        if why:
            wrong.append(f"{patch(name)} does not apply: {why}")
    return wrong


def copy(target: Path) -> Path:
    """A private copy of the tree."""
    shutil.copytree(ROOT, target, ignore=_NOT_COPIED, symlinks=True)
    target.parent.chmod(0o755)  # some tests look from a user without rights, who must be able to read the code
    return target
