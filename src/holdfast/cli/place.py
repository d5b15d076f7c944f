"""Where things are: the data folder, the running daemon's address, the token. Imports nothing heavy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.failures import CommandError, NotRunningError, UsageError

if TYPE_CHECKING:
    from holdfast.core.store.lock import Holder


def given_path(text: str) -> Path:
    """A path as the person wrote it, made absolute; an empty one would silently mean the folder one stands in."""
    if not text:
        message = "it is empty; give a path."
        raise typer.BadParameter(message)
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:  # ~somebody, of whom this machine has not heard
        message = f"{text!r}: {error}"
        raise typer.BadParameter(message) from None


DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        envvar="HOLDFAST_DATA",
        parser=given_path,
        metavar="<path>",
        help="The data folder; the platform's own without it.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]


def data_folder(given: Path | None) -> Path:
    """The folder meant: the one given, or the platform's user data folder."""
    if given is not None:
        return given
    from platformdirs import user_data_path

    return user_data_path("holdfast", appauthor=False)


def holder(data: Path) -> Holder | None:
    """The daemon that runs on this folder, if one does."""
    from holdfast.core.store import lock

    try:
        return lock.holder(data) if data.is_dir() else None
    except PermissionError:
        message = (
            f"The data folder {data} belongs to another user; run as that user, or set HOLDFAST_URL and HOLDFAST_TOKEN."
        )
        raise CommandError(message) from None


def running(data: Path) -> Holder:
    """The daemon that runs on this folder; without one the command cannot do its work."""
    found = holder(data)
    if found is None:
        message = f"No daemon runs on {data}. Start it with: holdfast up{_data_flag(data)} --detach"
        raise NotRunningError(message)
    return found


def address(data: Path) -> str:
    """Where the daemon listens: HOLDFAST_URL, or what the running daemon wrote down."""
    if given := os.environ.get("HOLDFAST_URL"):
        return given.rstrip("/")
    found = running(data)
    if not found.url:
        message = f"The daemon of {data} (pid {found.pid}) is starting and has no address yet. Try again in a moment."
        raise NotRunningError(message)
    return found.url


def token(data: Path) -> str:
    """The bearer token: HOLDFAST_TOKEN, or that of the data folder for the daemon that runs on it, and for no other."""
    if given := os.environ.get("HOLDFAST_TOKEN"):
        if not _sendable(given):
            message = "HOLDFAST_TOKEN holds characters that no token has. Set it to the token alone."
            raise UsageError(message)
        return given
    if url := os.environ.get("HOLDFAST_URL"):
        message = (
            f"HOLDFAST_URL is set, so set HOLDFAST_TOKEN to a token of the daemon at {url}; "
            "the one of the data folder is sent to nobody but the daemon that runs there."
        )
        raise UsageError(message)
    return first_token(data)


def first_token(data: Path) -> str:
    """The token that the daemon of this folder made on its first start."""
    file = data / "token"
    try:
        found = file.read_text("ascii", errors="replace").strip()
    except OSError as error:
        message = (
            f"There is no token to sign in with: {file} cannot be read ({error.strerror}). "
            "Set HOLDFAST_TOKEN, or run this as the user who runs the daemon."
        )
        raise CommandError(message) from None
    if not _sendable(found):
        message = f"{file} holds no token. Make one with `holdfast token create` elsewhere, and set HOLDFAST_TOKEN."
        raise CommandError(message)
    return found


def _sendable(token: str) -> bool:
    return token.isascii() and token.isprintable() and not set(token) & {" "} and token != ""


def _data_flag(data: Path) -> str:
    import shlex

    return "" if data == data_folder(None) else f" --data {shlex.quote(str(data))}"
