"""`make run` and `make stop`: the daemon on demo data of its own, beside the code and apart from everything else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from holdfast.cli import place

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / ".demo"
USAGE = 2


def holdfast(*words: str) -> int:
    """Run our own command line on the demo's data; its exit status."""
    command = [sys.executable, "-m", "holdfast", *words]
    # A token or an address of another daemon must not be used on this one.
    kept = {name: value for name, value in os.environ.items() if name not in {"HOLDFAST_TOKEN", "HOLDFAST_URL"}}
    return subprocess.run(command, env={**kept, "HOLDFAST_DATA": str(DATA)}, check=False).returncode


def shown(path: Path) -> str:
    """A path as one types it here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def up() -> int:
    """Start the daemon, or say that it runs, and what to type next."""
    found = place.holder(DATA)
    if found is not None:
        print(f"It runs already: {found.url or 'starting'} (pid {found.pid}, since {found.started_at}).")
    else:
        status = holdfast("up", "--detach", "--demo")
        if status != 0:
            return status
    program, data = shown(ROOT / ".venv" / "bin" / "holdfast"), shown(DATA)
    print("\nNext, type:\n")
    print(f"  {program} ls --watch --data {data}    # two agents: one breaks a check and mends it, one asks")
    print(f"  {program} pulls ls --data {data}      # what the first one did, and how its check went")
    print(f"  {program} notices ls --data {data}    # what waits for you: a merge, and a question")
    print(f"  {program} open --data {data}          # all of it on one page")
    print("\n`make stop` ends it.")
    return 0


def down() -> int:
    """Stop the daemon if it runs."""
    return holdfast("down") if place.holder(DATA) is not None else 0


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["up"]:
            sys.exit(up())
        case ["down"]:
            sys.exit(down())
        case _:
            print("usage: demo.py up|down")
            sys.exit(USAGE)
