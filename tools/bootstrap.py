"""Makes `.venv` with exactly what a lock names, and does nothing when that is there already; stdlib only.

`bootstrap.py run` installs what the daemon needs, `bootstrap.py dev` also what checks and tests need, `bootstrap.py
bench` also the other projects' queues that the bench compares with. What the system lacks is installed with apt when
we are root, otherwise the command that does it is printed and the exit status is 2.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
USAGE = 2
#: What each command sees to, in this order: the bench's lock names only what it adds to the developer's.
KINDS = {"run": ("run",), "dev": ("dev",), "bench": ("dev", "bench")}
#: Whose installation is enough for a kind: the developer's set holds the daemon's.
HELD_BY = {"run": ("run", "dev"), "dev": ("dev",), "bench": ("bench",)}
#: Programs that single tests need: those tests are skipped, counted and listed where one is missing.
FOR_TESTS = ("tmux", "git")


def stamp(kind: str) -> str:
    """What an installation of this kind depends on, as one word."""
    # A system upgrade may put another Python behind the name that `.venv` points to.
    digest = hashlib.sha256(os.path.realpath(VENV / "bin" / "python").encode())
    for path in (ROOT / "requirements" / f"{kind}.txt", ROOT / "pyproject.toml"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def installed(kind: str) -> bool:
    """Whether `.venv` is what the lock names."""
    if not (VENV / "bin" / "holdfast").exists():
        return False
    marks = [(VENV / f".{name}.stamp", name) for name in HELD_BY[kind]]
    return any(path.exists() and path.read_text(encoding="utf-8") == stamp(name) for path, name in marks)


def apt(packages: list[str]) -> list[list[str]]:
    """The commands that install Debian packages."""
    return [["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *packages]]


def system(packages: list[str]) -> bool:
    """Install Debian packages if we may; whether that was done."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    print(f"installing {', '.join(packages)} with apt-get", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in apt(packages):
        if subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False).returncode != 0:
            return False
    return True


def by_hand(packages: list[str]) -> str:
    """What a person types to install Debian packages."""
    return " && ".join("sudo " + " ".join(command) for command in apt(packages))


def need_venv() -> None:
    """Make sure that this Python can make virtual environments."""
    if all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")):
        return
    packages = ["python3-venv"]
    if not system(packages):
        print(f"This python3 cannot make virtual environments. Run this, then try again:\n\n  {by_hand(packages)}\n")
        raise SystemExit(USAGE)


def need_programs() -> None:
    """Install the programs that tests need; without them those tests are skipped by name."""
    missing = [name for name in FOR_TESTS if shutil.which(name) is None]
    if missing and not system(missing):
        print(f"Not installed: {', '.join(missing)}. Tests that need them are skipped and listed. To run them too:\n")
        print(f"  {by_hand(missing)}\n")


def install(kind: str) -> None:
    """Bring `.venv` to what the lock names; every file is checked against its hash."""
    print(f"installing requirements/{kind}.txt into .venv", flush=True)
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not (VENV / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    subprocess.run([*pip, "--require-hashes", "-r", str(ROOT / "requirements" / f"{kind}.txt")], check=True)
    # The build backend came with the lock, so nothing is fetched here.
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--no-index", "-e", str(ROOT)], check=True)
    (VENV / f".{kind}.stamp").write_text(stamp(kind), encoding="utf-8")


def main() -> int:
    """Install what is missing."""
    if len(sys.argv) != 2 or sys.argv[1] not in KINDS:  # noqa: PLR2004 - its name and one word
        print(f"usage: bootstrap.py {'|'.join(KINDS)}")
        return USAGE
    if sys.version_info < (3, 11):  # noqa: UP036 - whatever python3 the machine has runs this file
        print(f"Holdfast needs Python 3.11 or newer, this is {sys.version.split()[0]}: make PYTHON=python3.11 ...")
        return USAGE
    kinds = KINDS[sys.argv[1]]
    try:
        for kind in kinds:
            if not installed(kind):
                need_venv()
                install(kind)
        if "dev" in kinds:
            need_programs()
    except subprocess.CalledProcessError as failed:
        print(f"this failed, see above: {' '.join(failed.cmd)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
