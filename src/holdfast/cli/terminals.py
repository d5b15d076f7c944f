"""`holdfast logs`, `attach`, `diff`, `send`: a session's terminal, what it has changed, what is said to its agent."""

from __future__ import annotations

import os
import sys
from base64 import b64decode
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from holdfast.cli import client, output, watching
from holdfast.cli.failures import CommandError, UsageError
from holdfast.cli.place import DataOption, JsonOption
from holdfast.cli.sessions import ROUTE, SessionArgument, typed
from holdfast.cli.terminal_text import Plain

_PIECE = 262_144
_USUAL = 65_536
#: How long to wait for more output, and after how many waits in vain to ask whether there can be any.
_PAUSE = 0.2
_ASK_AFTER = 10


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    for command in (logs, attach, diff, send):
        app.command()(command)


# --- output ------------------------------------------------------------------------------------------------------


def logs(
    session: SessionArgument,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until it has ended.")] = False,
    most: Annotated[int, typer.Option("--bytes", min=1, max=1 << 20, help="How much of the newest output.")] = _USUAL,
    raw: Annotated[bool, typer.Option("--raw", help="As it was recorded, with all that drives a terminal.")] = False,
    screen: Annotated[bool, typer.Option("--screen", help="What its terminal shows now instead.")] = False,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """Print what a session's terminal was sent, as text."""
    where = f"{ROUTE}/{client.segment(session)}"
    daemon = client.connect(data)
    if screen:
        if follow or raw:
            message = "--screen shows one moment as text: it goes with neither -f nor --raw."
            raise UsageError(message)
        _screen(daemon, where, json_=json_)
        return
    writer = _Writer(raw=raw, json_=json_)
    chunk = daemon.get(f"{where}/output", bytes=most)
    writer.put(chunk)
    if follow:
        _follow(data, daemon, where, int(chunk["next"]), writer)
    writer.end()
    if not writer.written and sys.stdout.isatty():
        output.say(f"Nothing was recorded yet. See what it does with: holdfast show {session}")


def _screen(daemon: client.Client, where: str, *, json_: bool) -> None:
    found = daemon.get(f"{where}/screen")
    if json_:
        output.as_json(found)
        return
    lines = "\n".join(found["lines"]).rstrip().splitlines()
    for line in lines:
        output.say(line.rstrip())


def _follow(data: Path | None, daemon: client.Client, where: str, after: int, writer: _Writer) -> None:
    from holdfast.core.clock import pause

    idle, ending = 0, False
    while True:
        chunk = daemon.get(f"{where}/output", after=after, bytes=_PIECE)
        after = int(chunk["next"])
        if chunk["data"]:
            writer.put(chunk)
            idle = 0
            continue
        if ending:
            return
        idle += 1
        if idle >= _ASK_AFTER:
            idle = 0
            daemon = client.connect(data)
            ending = not daemon.get(where)["is_alive"]  # what it still said before its end is read once more
            continue
        pause(_PAUSE)


class _Writer:
    """Writes pieces of output as they were asked for."""

    def __init__(self, *, raw: bool, json_: bool) -> None:
        self._raw = raw
        self._json = json_
        self._plain = Plain()
        self.written = False

    def put(self, chunk: dict[str, Any]) -> None:
        """Write one piece."""
        piece = b64decode(chunk["data"])
        self.written = self.written or bool(piece)
        if self._json:
            text = piece.decode("utf-8", "replace")
            output.as_json({name: chunk[name] for name in ("offset", "next", "missed")} | {"text": text}, indent=None)
        elif self._raw:
            as_it_is(piece)
        else:
            if chunk["missed"]:
                output.complain(f"holdfast: {chunk['missed']} bytes are not kept any more")
            for line in self._plain.lines(piece):
                output.say(line)

    def end(self) -> None:
        """Write what is left."""
        rest = self._plain.rest()
        if rest and not self._raw and not self._json:
            output.say(rest)


def as_it_is(raw: bytes) -> None:
    """Bytes for a program, or for a person who asked for them as they are."""
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(raw)
        sys.stdout.buffer.flush()
    except OSError as error:
        # As in `output`: nothing more may be written, not even by the interpreter's end.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise output.ReaderGoneError from None
        message = f"The output cannot be written ({error.strerror})."
        raise CommandError(message) from None


# --- join --------------------------------------------------------------------------------------------------------


def attach(session: SessionArgument, data: DataOption = None, json_: JsonOption = False) -> None:
    """Join a session's terminal; the keys to leave it again are its runtime's own."""
    found = client.connect(data).get(f"{ROUTE}/{client.segment(session)}/attach")
    if json_:
        output.as_json(found)
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        message = (
            f"Only a terminal can be attached. Without one: holdfast logs {session} -f, holdfast send {session} TEXT"
        )
        raise UsageError(message)
    _become([str(word) for word in found["command"]], str(found["host"]))


def _become(command: list[str], host: str) -> NoReturn:
    # A terminal within tmux may join another server's session, which tmux itself takes for a mistake.
    env = {name: value for name, value in os.environ.items() if name not in {"TMUX", "TMUX_PANE"}}
    try:
        os.execvpe(command[0], command, env)  # noqa: S606 - the daemon's own words, and no shell
    except OSError as error:
        message = f"{command[0]!r} cannot be run here ({error.strerror}). The session lives on host {host!r}."
        raise CommandError(message) from None


# --- changes -----------------------------------------------------------------------------------------------------

_COLOURS = {"+": typer.colors.GREEN, "-": typer.colors.RED, "@": typer.colors.CYAN}


def diff(session: SessionArgument, data: DataOption = None, json_: JsonOption = False) -> None:
    """Print what a session has changed against where it began, as a patch: also what is not committed."""
    found = client.connect(data).get(f"{ROUTE}/{client.segment(session)}/diff", bytes=1 << 24)
    patch = b64decode(found["data"])
    if json_:
        output.as_json({"base": found["base"], "cut": found["cut"], "text": patch.decode("utf-8", "replace")})
    elif sys.stdout.isatty():
        for line in patch.decode("utf-8", "replace").split("\n")[:-1] or ["Nothing has changed."]:
            _say_line(output.clean(line))
    else:
        as_it_is(patch)
    if found["cut"]:
        message = f"The patch is longer than {len(patch)} bytes; this is its beginning."
        raise CommandError(message)


def _say_line(line: str) -> None:
    head = line.startswith(("diff ", "index ", "+++ ", "--- "))
    typer.echo(typer.style(line, bold=True) if head else typer.style(line, fg=_COLOURS.get(line[:1])))


# --- say ---------------------------------------------------------------------------------------------------------


class Step(StrEnum):
    """How far a message can come."""

    TYPED = "typed"
    SUBMITTED = "submitted"
    CONFIRMED = "confirmed"


_WAY = ("queued", "held", "typed", "submitted", "confirmed")


def send(
    session: SessionArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to say; - reads it from standard input.")],
    wait: Annotated[Step | None, typer.Option(help="Wait until it has come so far.")] = None,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """Say something to a session's agent: typed when it can take it, in order, and confirmed by what it does."""
    said = typed("-") if text == "-" else text
    daemon = client.connect(data)
    after = watching.head(daemon)
    made = daemon.post(f"{ROUTE}/{client.segment(session)}/messages", {"text": said})
    if wait is not None:
        made = _arrived(data, after, made, wait)
    if json_:
        output.as_json(made)
    else:
        output.say(f"Message {made['id']} is {made['state']}.")
    if wait is not None and made["state"] not in _WAY[_WAY.index(wait.value) :]:
        message = f"Message {made['id']} is {made['state']}: {made.get('reason') or 'nobody knows more'}."
        raise CommandError(message)


def _arrived(data: Path | None, after: int, made: dict[str, Any], wanted: Step) -> dict[str, Any]:
    """Follow a message until it is as far as wanted, or comes no farther."""
    watch = watching.Watch(data, after)
    while made["state"] in _WAY[: _WAY.index(wanted.value)]:
        for change in watch.changes():
            if (change["entity"], change["entity_id"]) == ("message", str(made["id"])):
                payload = change["payload"]
                if payload["state"] != made["state"] and sys.stderr.isatty():
                    output.complain(f"message {made['id']} {payload['state']}")
                made = made | {"state": payload["state"], "reason": payload.get("reason")}
    return made
