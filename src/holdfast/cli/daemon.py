"""`holdfast up`, `down`, `restart`, `status`, `version`: the daemon itself."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast import __version__
from holdfast.cli import background, output, place
from holdfast.cli.client import Client
from holdfast.cli.config import ConfigOption
from holdfast.cli.failures import CommandError
from holdfast.cli.place import DataOption, JsonOption

_READY = 200
#: So many notices are shown with the status.
_NEWEST = 3

DemoOption = Annotated[bool, typer.Option("--demo", help="Add a small demo project.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    for command in (up, down, restart, status, version):
        app.command()(command)


def up(  # noqa: PLR0913 - one parameter is one option
    *,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Run in the background.")] = False,
    listen: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Default 127.0.0.1:4680.")] = None,
    database: Annotated[
        str | None, typer.Option(metavar="URL", help="postgresql://... ; SQLite in the data folder without it.")
    ] = None,
    role: Annotated[str | None, typer.Option(help="api, worker, provisioner, or several with commas.")] = None,
    host: Annotated[str | None, typer.Option(help="The name of this host in the fleet.")] = None,
    config: ConfigOption = None,
    demo: DemoOption = False,
    insecure_listen: Annotated[
        bool, typer.Option("--insecure-listen", help="Listen beyond loopback without TLS.")
    ] = False,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Open a store that lacks acknowledged writes.")
    ] = False,
    data: DataOption = None,
) -> None:
    """Run the daemon, in the foreground or (--detach) in the background."""
    folder = place.data_folder(data)
    background.require_folder(folder)
    given: dict[str, Any] = {
        "listen": listen,
        "database": database,
        "roles": role,
        "host": host,
        "insecure_listen": insecure_listen or None,
    }
    options = background.options_of(given, config=config, demo=demo, accept_loss=accept_loss)
    if detach:
        _say_started(folder, background.start(folder, options))
        return
    from holdfast.app import serve
    from holdfast.settings import Settings

    settings = Settings.load(folder, config, os.environ, given)

    def announce(url: str) -> None:
        _remember(folder, options)
        _announce(f"Holdfast {__version__} is up at {url} (pid {os.getpid()}, data {folder})")

    tasks = [_tell_notices(folder, settings.tls_cert), *([_demo(folder, settings.tls_cert)] if demo else [])]
    raise typer.Exit(serve(settings, accept_loss=accept_loss, announce=announce, when_ready=tasks))


def _remember(folder: Path, options: background.Options) -> None:
    try:
        background.remember(folder, options)
    except (OSError, UnicodeError) as error:  # the daemon is worth having without
        output.complain(f"holdfast: restart will not know the options of this daemon: {error}")


def _announce(text: str) -> None:
    try:
        output.say(text)
    except (CommandError, output.ReaderGoneError) as error:  # it serves; nobody needs to hear of it for that
        output.complain(f"holdfast: {error} {text}".replace("  ", " "))


def _tell_notices(folder: Path, certificate: Path | None) -> Callable[[str], None]:
    def tell(url: str) -> None:
        for line in _noticed(folder, url, certificate):
            _announce(line)

    return tell


def _demo(folder: Path, certificate: Path | None) -> Callable[[str], None]:
    from holdfast.cli.demo import add_demo

    def add(url: str) -> None:
        try:
            add_demo(folder, url, certificate)
        except (CommandError, OSError) as error:  # the daemon is worth having without the demo
            output.complain(f"holdfast: the demo project was not added: {error}")

    return add


def down(data: DataOption = None) -> None:
    """End the daemon: it finishes what it has begun, then goes."""
    folder = place.data_folder(data)
    found = place.running(folder)
    background.stop(folder, found)
    output.say(f"Stopped (pid {found.pid}).")


def restart(data: DataOption = None) -> None:
    """End the daemon if it runs, then run it in the background with the options and settings it was started with."""
    folder = place.data_folder(data)
    options = background.last_options(folder)
    found = place.holder(folder)
    if found is not None:
        background.stop(folder, found)
        output.say(f"Stopped (pid {found.pid}).")
    _say_started(folder, background.start(folder, options))


def _say_started(folder: Path, started: background.Started) -> None:
    output.say(f"Holdfast {__version__} is up at {started.url} (pid {started.pid}), log in {folder / background.LOG}")
    for line in _noticed(folder, started.url):
        output.say(line)


def _noticed(folder: Path, url: str, certificate: Path | None = None) -> list[str]:
    """What people are told of, as the daemon that we have just started says; nothing where it does not."""
    return _notice_lines(_open_notices(Client(url, place.first_token(folder), certificate=certificate)))


def status(data: DataOption = None, json_: JsonOption = False) -> None:
    """Say whether the daemon is well, and what it is not well about."""
    folder = place.data_folder(data)
    client = Client(place.address(folder), None)
    code, raw = client.raw("/readyz")
    try:
        readiness = json.loads(raw)
        overall, checks = str(readiness["overall"]), list(readiness["checks"])
        rows = [check | {"critical": "yes" if check.get("critical") else "no"} for check in checks]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise client.stranger() from None
    found = place.holder(folder)
    told = _open_notices(Client(place.address(folder), place.token(folder)))
    if json_:
        about = {"url": client.url, "pid": found.pid if found else None, "data": str(folder)}
        output.as_json(
            about | {"started_at": found.started_at if found else None, "readiness": readiness, "notices": told}
        )
    else:
        running = f"pid {found.pid}, since {found.started_at}" if found else "on another machine or folder"
        output.facts([("overall", overall), ("url", client.url), ("daemon", running), ("data", folder)])
        output.table(rows, ("name", "status", "critical", "latency_ms", "last_ok_at", "last_error"), empty="No checks.")
        for line in _notice_lines(told):
            output.say(line)
    if code != _READY:
        message = f"The daemon is not ready ({overall})."
        raise CommandError(message)


def _open_notices(client: Client) -> dict[str, Any] | None:
    """How many notices are open, and the newest of them; none where that is not for us to know."""
    from holdfast.cli.notices import ROUTE

    try:
        page = client.get(ROUTE, state="open", limit=_NEWEST)
        return {"open": int(page["open"]), "newest": list(page["items"])}
    except (CommandError, KeyError, TypeError, ValueError):  # it may be starting, or another version
        return None


def _notice_lines(told: dict[str, Any] | None) -> list[str]:
    if not told or not told["open"]:
        return []
    open_ = "1 notice is open" if told["open"] == 1 else f"{told['open']} notices are open"
    lines = [f"{open_}. See, and acknowledge them: holdfast notices ls"]
    return lines + [
        output.cell(f"  {row['id']}  {row['kind']}  {row['subject']}  {row['text']}") for row in told["newest"]
    ]


def version(json_: JsonOption = False) -> None:
    """Print the versions of Holdfast and of what it stands on."""
    import platform
    from importlib import metadata

    from holdfast.core.version import commit_id

    found: dict[str, object] = {
        "holdfast": __version__,
        "commit": commit_id(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    for name in ("apsw", "psycopg", "uvicorn", "fastapi"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    if json_:
        output.as_json(found)
    else:
        output.facts(found.items())
