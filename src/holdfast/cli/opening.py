"""`holdfast open`: the page in a browser, signed in."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import quote

import typer

from holdfast.cli import output
from holdfast.cli.client import connect
from holdfast.cli.place import DataOption

#: How long it is waited for what opens browsers: one that goes on is a browser itself.
_SECONDS = 5.0


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command("open")(open_page)


def open_page(
    print_: Annotated[
        bool, typer.Option("--print", help="Print the address instead: it is good once, for seconds.")
    ] = False,
    data: DataOption = None,
) -> None:
    """Open the page in a browser that is signed in to read."""
    daemon = connect(data)
    made = daemon.post("/api/v1/tickets", None)
    if not isinstance(made.get("ticket"), str):
        raise daemon.stranger()
    page = f"{daemon.url.rstrip('/')}/"
    address = f"{page}?ticket={quote(made['ticket'], safe='')}"
    if print_:
        output.say(address)
    elif _opened(address):
        output.say(f"Opened {page} in your browser.")
    else:
        output.complain("No browser could be opened here. This address signs one in, once, within seconds:")
        output.say(address)


def _opened(address: str) -> bool:
    """Whether something took the address."""
    import subprocess

    command = _opener(os.environ, sys.platform)
    if not command:
        return False
    words = [word.replace("%s", address) for word in command]
    if words == command:
        words.append(address)
    quiet = subprocess.DEVNULL
    try:
        process = subprocess.Popen(  # noqa: S603 - the person's own choice, or a program of the system
            words, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
        )
    except OSError:
        return False
    try:
        return process.wait(_SECONDS) == 0
    except subprocess.TimeoutExpired:
        return True


def _opener(env: Mapping[str, str], platform: str) -> list[str]:
    """What opens an address here: the person's BROWSER, or the system's own way where there is a screen."""
    import shutil

    if chosen := env.get("BROWSER", ""):
        try:
            return shlex.split(chosen.partition(os.pathsep)[0])
        except ValueError:  # a quote that is not closed
            return []
    if platform == "darwin":
        return ["open"]
    if any(env.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")) and shutil.which("xdg-open"):
        return ["xdg-open"]
    return ["wslview"] if shutil.which("wslview") else []
