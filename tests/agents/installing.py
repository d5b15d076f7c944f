"""Owns the private folder in which the agents are: installed from npm by the lock file beside this one."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
#: Below a folder that git ignores and `make clean` removes.
FOLDER = HERE.parent.parent / "build" / "agents"
_FILES = ("package.json", "package-lock.json")


def versions() -> dict[str, str]:
    """The packages and their exact versions."""
    found: dict[str, str] = json.loads((HERE / "npm" / "package.json").read_text())["dependencies"]
    return found


def install() -> Path:
    """The folder of the agents' programs; npm runs only when the lock file has changed."""
    folder, stamp = FOLDER / "npm", FOLDER / "npm" / "installed"
    digest = hashlib.sha256(b"".join((HERE / "npm" / name).read_bytes() for name in _FILES)).hexdigest()
    programs = folder / "node_modules" / ".bin"
    if stamp.exists() and stamp.read_text() == digest:
        return programs
    folder.mkdir(parents=True, exist_ok=True)
    for name in _FILES:
        shutil.copyfile(HERE / "npm" / name, folder / name)
    # Not `npm ci`: it refuses a lock made where a registry lacks the programs of other platforms. What the lock names
    # is installed as it says, or not at all.
    npm = [
        "npm",
        "install",
        "--no-save",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
        f"--cache={FOLDER / 'npm-cache'}",
    ]
    subprocess.run(npm, cwd=folder, check=True, timeout=900)
    stamp.write_text(digest)
    return programs
