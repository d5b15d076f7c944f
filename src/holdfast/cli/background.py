"""Runs the daemon in the background and ends it: starts the process, waits until it serves, remembers its options."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from holdfast.cli import place
from holdfast.cli.client import Client
from holdfast.cli.failures import USAGE, CommandError, NotRunningError, UsageError

if TYPE_CHECKING:
    from holdfast.core.store.lock import Holder

LOG = "holdfast.log"
_OPTIONS = "up.json"
_DATABASE = "HOLDFAST_DATABASE"
#: A big migration goes on for longer than this; then the daemon is left to it and the person is told.
_START_SECONDS = 60.0
#: Beyond the grace that the settings can state, for `down` to give up.
_STOP_SECONDS = 620.0
_STEP = 0.02
_TAIL_LINES = 12


@dataclass(frozen=True)
class Started:
    """A daemon that serves."""

    pid: int
    url: str


@dataclass(frozen=True)
class Options:
    """The options of an `up`: its words, and variables for what must not stand on a command line."""

    words: list[str]
    #: HOLDFAST_* that are settings.
    variables: dict[str, str]


def options_of(given: dict[str, object], *, config: Path | None, demo: bool, accept_loss: bool) -> Options:
    """The options that `up` was given, by its command line and its environment."""
    flags = {"listen": "--listen", "roles": "--role", "host": "--host"}
    words: list[str] = []
    for name, flag in flags.items():
        if given.get(name) is not None:
            words += [flag, str(given[name])]
    if config is not None:
        words += ["--config", str(config)]
    switches = {"--demo": demo, "--insecure-listen": bool(given.get("insecure_listen")), "--accept-loss": accept_loss}
    words += [flag for flag, wanted in switches.items() if wanted]
    variables = _settings()
    if given.get("database") is not None:
        variables[_DATABASE] = str(given["database"])
    return Options(words, variables)


def _settings() -> dict[str, str]:
    """The variables of this environment that are settings; a path in them means the same wherever it is read later."""
    from holdfast.settings import NOT_SETTINGS, PATHS, PREFIX, variable

    ours = {name: value for name, value in os.environ.items() if name.startswith(PREFIX) and name not in NOT_SETTINGS}
    paths = {name: str(Path(ours[name]).absolute()) for name in map(variable, PATHS) if ours.get(name)}
    return ours | paths


def last_options(data: Path) -> Options:
    """The options of the last `up` of this folder that came up; this environment's where none is remembered."""
    file = data / _OPTIONS
    try:
        found = json.loads(file.read_text("utf-8"))
        variables = {str(name): str(value) for name, value in found["variables"].items()}
        return Options([str(word) for word in found["words"]], variables)
    except FileNotFoundError:
        return Options([], _settings())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # To go on without them would move the daemon to another address or store without a word.
        message = f"What the daemon was started with cannot be read from {file}. Run: holdfast down, holdfast up ..."
        raise CommandError(message) from None


def remember(data: Path, options: Options) -> None:
    """Keep the options of a daemon that has come up, for `restart`."""
    from holdfast.core.store.files import make_private, put_in_place

    # Loss is accepted once, by a person, not again by every restart.
    words = [word for word in options.words if word != "--accept-loss"]
    new = data / f"{_OPTIONS}.new"
    make_private(new)  # a database URL may hold a password
    new.write_text(json.dumps({"words": words, "variables": options.variables}), "utf-8")
    put_in_place(new, data / _OPTIONS)


def start(data: Path, options: Options) -> Started:
    """Start the daemon and wait until it serves."""
    running = place.holder(data)
    if running is not None:
        message = f"A daemon runs on {data} already: {running}. See: holdfast status"
        raise CommandError(message)
    dropped = set(_settings()) - set(options.variables)
    env = {name: value for name, value in os.environ.items() if name not in dropped} | options.variables
    with _log(data) as log:
        told = log.tell()
        process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "holdfast", "up", "--data", str(data), *options.words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=data,
            env=env,
            start_new_session=True,
        )
    return _until_serving(data, process, told)


def require_folder(data: Path) -> None:
    """Refuse a data folder that is a file, or below one, before anything is looked for in it."""
    from holdfast.core.store.files import refusal

    for each in (data, *data.parents):
        try:
            if each.is_dir():
                return
            if each.exists():
                raise refusal(each, NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
        except OSError as error:
            raise refusal(data, error) from None


def _log(data: Path) -> BinaryIO:
    from holdfast.core.store.files import refusal

    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        return open(data / LOG, "ab", opener=_private)
    except OSError as error:
        raise refusal(data, error) from None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _until_serving(data: Path, process: subprocess.Popen[bytes], told: int) -> Started:
    from holdfast.core.clock import pause

    for _ in range(int(_START_SECONDS / _STEP)):
        if (status := process.poll()) is not None:
            message = f"The daemon ended with status {status} while it started. It said:\n{_tail(data / LOG, told)}"
            raise UsageError(message) if status == USAGE else CommandError(message)
        found = place.holder(data)
        if found is not None and found.pid == process.pid and found.url and _serves(found.url):
            return Started(process.pid, found.url)
        pause(_STEP)
    message = (
        f"The daemon (pid {process.pid}) is still starting after {_START_SECONDS:.0f} s; it was left to it. "
        f"Its log is {data / LOG}; holdfast status tells when it is ready."
    )
    raise CommandError(message)


def _serves(url: str) -> bool:
    """Whether the daemon answers for real: while it starts, the stand-in answers everything but /healthz with 503."""
    with suppress(NotRunningError, CommandError):
        return Client(url, None).serves()  # 401 without a token: the real one is there
    return False


def _tail(log: Path, offset: int) -> str:
    with log.open("rb") as file:
        file.seek(offset)
        lines = file.read().decode("utf-8", errors="replace").splitlines()
    return "\n".join(lines[-_TAIL_LINES:])


def stop(data: Path, running: Holder) -> None:
    """Ask the daemon to end and wait until its lock is free."""
    from holdfast.core.clock import pause

    try:
        os.kill(running.pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError:
        message = f"The daemon (pid {running.pid}) belongs to another user. Run this as that user."
        raise CommandError(message) from None
    for _ in range(int(_STOP_SECONDS / _STEP)):
        found = place.holder(data)
        if found is None or found.pid != running.pid:
            return
        pause(_STEP)
    message = f"The daemon did not end. Its log is {data / LOG}. It is safe to: kill -9 {running.pid}"
    raise CommandError(message)
