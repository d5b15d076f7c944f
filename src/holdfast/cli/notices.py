"""`holdfast notices` and `holdfast channels`: what people are to know, and the ways by which it reaches them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli import client, output, watching
from holdfast.cli.events import FollowOption
from holdfast.cli.failures import CommandError, RefusedError, UsageError
from holdfast.cli.place import DataOption, JsonOption
from holdfast.cli.watching import head

app = typer.Typer(help="What people are to know.", no_args_is_help=True, rich_markup_mode=None)
channels_app = typer.Typer(help="How notices reach people.", no_args_is_help=True, rich_markup_mode=None)

ROUTE = "/api/v1/notices"
_CHANNELS = "/api/v1/channels"
_COLUMNS = ("id", "state", "kind", "subject", "raised_at", "text")
_CHANNEL_COLUMNS = ("channel", "type", "where", "kinds", "takes", "standing")
_NONE = "Nothing needs you. Here stands what does, until it is over or you acknowledge it."
_NONE_AT_ALL = "There were no notices yet."
_NO_CHANNELS = (
    'No channels are set: notices are only kept and shown. Add a table [channels.desk] with type = "desktop" to the '
    "settings file, then restart the daemon."
)  # fmt: skip
#: A trial takes no longer than one try of a send, and a look at what became of it every so often.
_TRIAL_SECONDS, _LOOK_SECONDS = 30.0, 0.2


@app.command("ls")
def list_(
    follow: FollowOption = False,
    all_: Annotated[bool, typer.Option("--all", help="Also those that are over or acknowledged.")] = False,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """List notices, newest first; with -f oldest first, and then those to come."""
    daemon = client.connect(data)
    start = head(daemon) if follow else 0
    rows = list(daemon.pages(ROUTE, state="all" if all_ else "open"))
    if not follow:
        if json_:
            output.as_json(rows)
        else:
            output.table(rows, _COLUMNS, empty=_NONE_AT_ALL if all_ else _NONE)
        return
    for row in reversed(rows):
        _print(row, json_=json_)
    for row in _changed(data, start):
        _print(row, json_=json_)


def _changed(data: Path | None, after: int) -> Iterator[dict[str, Any]]:
    for change in watching.follow(data, after):
        if change["entity"] == "notice" and not change["event"].endswith("_removed"):
            payload = change["payload"]
            row = dict(json.loads(payload) if isinstance(payload, str) else payload)
            row.pop("changed", None)
            yield row | {"state": _state(row)}


def _state(row: dict[str, Any]) -> str:
    return "resolved" if row["resolved_at"] else "acked" if row["acked_at"] else "open"


def _print(row: dict[str, Any], *, json_: bool) -> None:
    if json_:
        output.as_json(row, indent=None)
        return
    state = "still open" if row["state"] == "open" and row["escalated_at"] else row["state"]
    output.say(output.cell(f"{row['id']}  {row['raised_at']}  {state}  {row['kind']}  {row['subject']}  {row['text']}"))


@app.command()
def ack(
    notices: Annotated[
        list[int] | None, typer.Argument(metavar="ID", min=1, help="The numbers that `holdfast notices ls` shows.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every open notice.")] = False,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """Acknowledge notices: nobody is told of them again."""
    if bool(notices) == all_:
        message = "Say which notices: give their IDs, or --all (one of the two)."
        raise UsageError(message)
    daemon = client.connect(data)
    numbers = notices or [int(row["id"]) for row in daemon.pages(ROUTE, state="open")]
    done: list[dict[str, Any]] = []
    refused = 0
    for number in numbers:
        try:
            done.append(daemon.post(f"{ROUTE}/{number}/ack", None))
        except RefusedError as error:
            if len(numbers) == 1 or error.code != "not_found":
                raise
            output.complain(f"holdfast: {error}")
            refused += 1
    if json_:
        output.as_json(done)
    else:
        for row in done:
            output.say(f"Acknowledged notice {row['id']} ({row['kind']}, {row['subject']}).")
        if not done and not refused:
            output.say("No notice was open.")
    if refused:
        message = f"{refused} of {len(numbers)} notices are not there."
        raise CommandError(message)


@channels_app.command("ls")
def list_channels(data: DataOption = None, json_: JsonOption = False) -> None:
    """List the channels of the settings, and whether they can be given anything."""
    rows = list(client.connect(data).pages(_CHANNELS))
    if json_:
        output.as_json(rows)
        return
    shown = [row | {"channel": row["name"], "takes": _takes(row), "standing": _standing(row)} for row in rows]
    output.table(shown, _CHANNEL_COLUMNS, empty=_NO_CHANNELS)


def _takes(row: dict[str, Any]) -> str:
    stages = [name for name in ("raised", "escalated") if row[name]]
    return ", ".join(stages) or "nothing"


def _standing(row: dict[str, Any]) -> str:
    if row["unavailable"]:
        return f"unavailable: {row['unavailable']}"
    return "gone: it said that it takes nothing any more" if row["gone"] else "ready"


@channels_app.command("test")
def try_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name that the settings give it.")],
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """Send a trial through a channel, and say what came of it."""
    daemon = client.connect(data)
    number = daemon.post(f"{_CHANNELS}/{client.segment(name)}/test", None)["propagation"]
    row = _over(daemon, number)
    if json_:
        output.as_json({"channel": name, "propagation": number, "state": row["state"], "reason": row["reason"]})
    elif row["state"] == "done":
        output.say(f"Channel {name} has taken it.")
    if row["state"] == "done":
        return
    if row["state"] in {"cancelled", "dead"}:
        message = f"Channel {name} has not taken it: {row['reason'] or row['error'] or 'nobody knows why'}."
        raise CommandError(message)
    why = f": {row['error']}" if row["error"] else ""
    message = f"Nothing has come of it yet ({row['state']}{why}). See: holdfast jobs show {number}"
    raise CommandError(message)


def _over(daemon: client.Client, number: int) -> dict[str, Any]:
    """The propagation when it is over, or as it is when nobody waits any longer."""
    from time import monotonic

    from holdfast.core.clock import pause

    end = monotonic() + _TRIAL_SECONDS
    while True:
        row: dict[str, Any] = daemon.get(f"/api/v1/propagations/{number}")
        if row["state"] in {"done", "cancelled", "dead"} or row["attempts"] or monotonic() >= end:
            return row
        pause(_LOOK_SECONDS)
