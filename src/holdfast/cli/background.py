"""Runs the daemon in the background and ends it: starts the process, waits until it serves, remembers its options."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.cli import place
from holdfast.cli.client import Client
from holdfast.cli.failures import CommandError, NotRunningError

if TYPE_CHECKING:
    from holdfast.core.store.lock import Holder

LOG = "holdfast.log"
_OPTIONS = "up.json"
#: A big migration goes on for longer than this; then the daemon is left to it and the person is told.
_START_SECONDS = 60.0
#: Beyond the grace that the settings can state, for `down` to give up.
_STOP_SECONDS = 620.0
_STEP = 0.02
_TAIL_LINES = 12
_OK = 200


@dataclass(frozen=True)
class Started:
    """A daemon that serves."""

    pid: int
    url: str


@dataclass(frozen=True)
class Options:
    """The options of an `up`: words of its command line, and what must not stand on one for all to see."""

    words: list[str]
    database: str | None = None


def options_of(given: dict[str, object], *, config: Path | None, demo: bool, accept_loss: bool) -> Options:
    """The options that `up` was given, for the process that it starts."""
    flags = {"listen": "--listen", "roles": "--role", "host": "--host"}
    words: list[str] = []
    for name, flag in flags.items():
        if given.get(name) is not None:
            words += [flag, str(given[name])]
    if config is not None:
        words += ["--config", str(config.expanduser().absolute())]
    switches = {"--demo": demo, "--insecure-listen": bool(given.get("insecure_listen")), "--accept-loss": accept_loss}
    words += [flag for flag, wanted in switches.items() if wanted]
    database = given.get("database")
    return Options(words, None if database is None else str(database))


def last_options(data: Path) -> Options:
    """The options of the last `up --detach` of this folder."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads((data / _OPTIONS).read_text("utf-8"))
        return Options([str(word) for word in found["words"]], found["database"])
    return Options([])


def start(data: Path, options: Options) -> Started:
    """Start the daemon and wait until it serves."""
    running = place.holder(data)
    if running is not None:
        message = f"A daemon runs on {data} already: {running}. See: holdfast status"
        raise CommandError(message)
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    _remember(data, options)
    env = os.environ | ({"HOLDFAST_DATABASE": options.database} if options.database else {})
    with open(data / LOG, "ab", opener=_private) as log:
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


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _remember(data: Path, options: Options) -> None:
    # Loss is accepted once, by a person, not again by every restart.
    words = [word for word in options.words if word != "--accept-loss"]
    # A database URL may hold a password: the file is for this user alone from its first byte on.
    with open(data / _OPTIONS, "w", encoding="utf-8", opener=_private) as file:
        json.dump({"words": words, "database": options.database}, file)


def _until_serving(data: Path, process: subprocess.Popen[bytes], told: int) -> Started:
    from holdfast.core.clock import pause

    for _ in range(int(_START_SECONDS / _STEP)):
        if (status := process.poll()) is not None:
            message = f"The daemon ended with status {status} while it started. It said:\n{_tail(data / LOG, told)}"
            raise CommandError(message)
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
        status, _ = Client(url, None).raw("/api/v1/status", seconds=5.0)
        return status < 500  # noqa: PLR2004 - 401 without a token: the real one is there
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
