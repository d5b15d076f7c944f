"""`holdfast doctor`: what is missing on this machine, and how to get it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path

import typer

from holdfast.cli import output, place
from holdfast.cli.failures import CommandError
from holdfast.cli.place import DataOption, JsonOption

_PYTHON = (3, 11)
#: Agents that are always there and that nobody means who does not say so.
BUILT_IN = frozenset({"scripted", "command"})
_ROOM = 512 * 1024 * 1024


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    name: str
    status: str  # ok, missing (something will not work) or optional (something further would)
    found: str
    remedy: str = ""


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command()(doctor)


def doctor(data: DataOption = None, json_: JsonOption = False) -> None:
    """Look at this machine: what is missing, and how to get it."""
    findings = list(_look(place.data_folder(data)))
    if json_:
        output.as_json([asdict(finding) for finding in findings])
    else:
        output.table([asdict(each) for each in findings], ("name", "status", "found", "remedy"), empty="Nothing.")
    missing = [each.name for each in findings if each.status == "missing"]
    if missing:
        message = f"Missing: {', '.join(missing)}. The remedies are listed above."
        raise CommandError(message)


def _look(folder: Path) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= _PYTHON
    yield Finding("python", "ok" if good else "missing", version, "" if good else "Install Python 3.11 or newer.")
    yield _program("git", needed=True)
    yield _tmux()
    yield from _agents()
    yield _sqlite()
    yield _postgres()
    try:
        nearest = next(each for each in (folder, *folder.parents) if each.exists())
        free = shutil.disk_usage(nearest).free
    except OSError as error:  # a folder on the way is closed to this user, or a name is none
        found = f"{folder} cannot be looked at ({error.strerror})"
        yield Finding("data folder", "missing", found, "Run this as the user whose folder it is, or choose --data DIR.")
        return
    yield _folder(folder, nearest)
    yield _room(nearest, free)
    yield _daemon(folder)


def _program(name: str, *, needed: bool) -> Finding:
    path = shutil.which(name)
    if path:
        return Finding(name, "ok", path)
    managers: dict[str, Callable[[str], str]] = {
        "apt-get": "apt-get install {}".format,
        "dnf": "dnf install {}".format,
        "pacman": "pacman -S {}".format,
        "apk": "apk add {}".format,
        "brew": "brew install {}".format,
    }
    how = next((say(name) for manager, say in managers.items() if shutil.which(manager)), f"Install {name}.")
    prefix = "" if os.geteuid() == 0 or how.startswith(("brew", "Install")) else "sudo "
    return Finding(name, "missing" if needed else "optional", "not found", prefix + how)


def _tmux() -> Finding:
    found = _program("tmux", needed=False)
    if found.status != "ok":
        return replace(found, found="not found: agents run as processes of ours, which `attach` shows less well")
    try:
        told = subprocess.run(  # noqa: S603 - the path that was just found
            [found.found, "-V"], capture_output=True, text=True, timeout=10, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return replace(
            found, status="optional", found=f"{found.found} does not run: {error}", remedy="Install it anew."
        )
    return replace(found, found=f"{told.stdout.strip()} ({found.found})")


def _agents() -> Iterator[Finding]:
    """The agents that a person would set to work; one of them is enough."""
    from holdfast.fleet.agents.registry import AGENTS, installed

    path = os.environ.get("PATH", os.defpath)
    for each in AGENTS.values():
        if each.binary is None or each.name in BUILT_IN:
            continue
        where = installed(each, {}, path)
        name = f"agent {each.name}"
        yield Finding(name, "ok", where) if where else Finding(name, "optional", "not found", each.install)


def _sqlite() -> Finding:
    try:
        apsw = import_module("apsw")
    except ImportError as error:
        return Finding("sqlite", "missing", str(error), f"{sys.executable} -m pip install apsw")
    return Finding("sqlite", "ok", f"{apsw.sqlite_lib_version()} (apsw {apsw.apsw_version()})")


def _postgres() -> Finding:
    try:
        psycopg = import_module("psycopg")
    except ImportError as error:
        remedy = f"{sys.executable} -m pip install 'holdfast[postgres]'"
        return Finding("postgresql driver", "optional", str(error).splitlines()[0], remedy)
    return Finding("postgresql driver", "ok", psycopg.__version__)


def _folder(folder: Path, nearest: Path) -> Finding:
    if os.access(nearest, os.W_OK | os.X_OK):
        return Finding("data folder", "ok", str(folder))
    return Finding("data folder", "missing", f"{nearest} cannot be written", "Choose another with --data DIR.")


def _room(nearest: Path, free: int) -> Finding:
    found = f"{free // (1024 * 1024)} MB free"
    if free >= _ROOM:
        return Finding("disk", "ok", found)
    return Finding("disk", "missing", found, f"Free some room near {nearest}.")


def _daemon(folder: Path) -> Finding:
    try:
        running = place.holder(folder)
    except (CommandError, OSError) as error:  # another user's; the rest was worth looking at all the same
        return Finding("daemon", "missing", "cannot be asked", str(error))
    return Finding("daemon", "ok", f"pid {running.pid}, {running.url}" if running else "not running")
