"""The other project whose fleet is measured: installed from its own lock into a virtual environment of its own."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from bench.contender import ROOT, ContenderError

NAME, DISTRIBUTION = "CLI Agent Orchestrator", "cli-agent-orchestrator"
LOCK = ROOT / "requirements" / "bench-fleet.txt"
VENV = ROOT / ".venv" / ".bench-fleet"


def version() -> str:
    """As the lock has it."""
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    return next(line.partition("==")[2].split()[0] for line in lines if line.startswith(f"{DISTRIBUTION}=="))


def installed() -> Path:
    """Its virtual environment, made when it is not there or not what the lock says; every file by its hash."""
    wanted = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()
    stamp = VENV / ".stamp"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return VENV
    print(f"installing {LOCK.relative_to(ROOT)} into {VENV.relative_to(ROOT)}", file=sys.stderr, flush=True)
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
        subprocess.run([*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(LOCK)], check=True)
    except subprocess.CalledProcessError as failed:
        message = f"{NAME} could not be installed: {' '.join(map(str, failed.cmd))[:300]}"
        raise ContenderError(message) from None
    stamp.write_text(wanted, encoding="utf-8")
    return VENV
