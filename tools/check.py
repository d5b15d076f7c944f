"""Everything of `make check`: runs every step, two at a time, and shows the words of those that failed."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_BIN = Path(sys.executable).parent
_PYTHON = sys.executable

# Longest first.
STEPS: dict[str, list[str]] = {
    "types (mypy)": [_PYTHON, "-m", "mypy", "--no-error-summary"],
    "lint (ruff)": [_PYTHON, "-m", "ruff", "check", "--quiet", "--output-format=concise", "."],
    "format (ruff)": [_PYTHON, "-m", "ruff", "format", "--quiet", "--check", "."],
    "imports (import-linter)": [str(_BIN / "lint-imports")],
    "gates": [_PYTHON, "tools/gates.py"],
    "breaks and their tests": [_PYTHON, "tools/mutants.py", "--check"],
    "INTEGRATION-TESTS.md": [_PYTHON, "tools/integration_tests.py", "--check"],
    "docs/reference": [_PYTHON, "tools/reference.py", "--check"],
}


def step(name: str) -> tuple[str, bool, str]:
    """Run one step: its name, whether it is well, what it said."""
    started = time.monotonic()
    done = subprocess.run(STEPS[name], cwd=ROOT, capture_output=True, text=True, check=False)
    well = done.returncode == 0
    print(f"{'ok  ' if well else 'FAIL'} {name} ({time.monotonic() - started:.1f} s)", flush=True)
    return name, well, (done.stdout + done.stderr).strip()


def main() -> int:
    """Run them all, whatever fails."""
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(step, STEPS))
    failed = [(name, words) for name, well, words in results if not well]
    for name, words in failed:
        print(f"\n--- {name}\n{words}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
