"""`holdfast jobs`: the effects that are owed to the world, what became of them, and what a person does about it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli import client, output
from holdfast.cli.failures import CommandError, RefusedError, UsageError
from holdfast.cli.place import DataOption, JsonOption

app = typer.Typer(help="Effects that are owed, dead, or done with.", no_args_is_help=True, rich_markup_mode=None)

_ROUTE = "/api/v1/propagations"
_COLUMNS = ("id", "kind", "key", "state", "attempts", "next_attempt_at", "reason", "error")
_MOST = 500
_NONE = "There are no jobs. One stands here from the moment that an effect is owed, until it is old and done with."
_NONE_SUCH = "No job is like that. See them all with: holdfast jobs ls"
_NONE_DEAD = "No job is dead. Here stand those that failed for good, until you redrive or cancel them."
Ids = Annotated[list[int], typer.Argument(metavar="ID", min=1, help="The numbers that `holdfast jobs ls` shows.")]


class State(StrEnum):
    """What a job can be."""

    PENDING = "pending"
    LEASED = "leased"
    WAITING = "waiting"
    DONE = "done"
    DEAD = "dead"
    CANCELLED = "cancelled"


@app.command("ls")
def list_(
    state: Annotated[State | None, typer.Option(help="Only jobs in this state.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only jobs of this kind, such as fleet.spawn.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The most jobs to show, the newest of them.")] = 100,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """List jobs, newest first."""
    found = _newest(client.connect(data), limit + 1, state=None if state is None else state.value, kind=kind)
    rows = found[:limit]
    if json_:
        output.as_json(rows)
        return
    everything = state is None and kind is None
    empty = _NONE if everything else _NONE_DEAD if state is State.DEAD and kind is None else _NONE_SUCH
    output.table(rows, _COLUMNS, empty=empty)
    if len(found) > limit and sys.stdout.isatty():
        output.say(f"There are more. See them with: --limit {limit * 10}")


def _newest(daemon: client.Client, limit: int, **filters: str | None) -> list[dict[str, Any]]:
    if limit <= _MOST:
        found: list[dict[str, Any]] = daemon.get(_ROUTE, limit=limit, **filters)["items"]
        return found
    return list(islice(daemon.pages(_ROUTE, **filters), limit))


@app.command()
def show(
    job: Annotated[int, typer.Argument(metavar="ID", min=1)], data: DataOption = None, json_: JsonOption = False
) -> None:
    """Show all that is known of one job; secrets in its payload are left out."""
    found = client.connect(data).get(f"{_ROUTE}/{job}")
    if json_:
        output.as_json(found)
    else:
        output.facts(found.items())


@app.command()
def redrive(
    jobs: Annotated[
        list[int] | None, typer.Argument(metavar="ID", min=1, help="Dead jobs; or say which with --kind or --all.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Every dead job of this kind.")] = None,
    reason: Annotated[
        str | None, typer.Option(help="Only those that died of this: max_attempts, max_starts or unknown_kind.")
    ] = None,
    before: Annotated[
        str | None, typer.Option(metavar="MOMENT", help="Only those that died before, such as 2026-11-21T07:06:45Z.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every dead job, of every kind.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """Start dead jobs afresh: their counts begin anew, and they are due at once."""
    _check_choice(jobs, kind, narrowed=reason is not None or before is not None, all_=all_)
    if jobs:
        _each(data, jobs, "redrive", lambda row: f"Redrove job {row['id']} of {row['kind']}.", json_=json_)
        return
    daemon = client.connect(data)
    if all_ and not yes:
        _ask("Redrive every dead job of every kind?")
    given = {"kind": kind, "reason": reason, "before": before}
    _redrive_many(daemon, {name: value for name, value in given.items() if value is not None or name == "kind"}, json_)


def _check_choice(jobs: list[int] | None, kind: str | None, *, narrowed: bool, all_: bool) -> None:
    ways = [bool(jobs), kind is not None, all_]
    if sum(ways) != 1:
        message = "Say which jobs: give their IDs, or --kind KIND, or --all (one of the three)."
        raise UsageError(message)
    if jobs and narrowed:
        message = "--reason and --before narrow down --kind or --all; jobs that are named by ID need neither."
        raise UsageError(message)


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        message = "Nobody is there to be asked. Say --yes if every dead job is meant, or narrow it down with --kind."
        raise UsageError(message)
    if not typer.confirm(question, default=False, err=True):
        message = "Nothing was done."
        raise CommandError(message)


def _redrive_many(daemon: client.Client, body: dict[str, Any], json_: bool) -> None:
    redriven, refused, cursor = 0, [], None
    while True:
        came = daemon.post(f"{_ROUTE}/redrive", body | ({} if cursor is None else {"cursor": cursor}))
        redriven += came["redriven"]
        refused += came["refused"]
        cursor = came["next"]
        if cursor is None:
            break
        if sys.stderr.isatty():
            output.complain(f"{redriven} so far")
    if json_:
        output.as_json({"redriven": redriven, "refused": refused})
        return
    for each in refused:
        output.complain(f"holdfast: {each['message']}")
    output.say(f"Redrove {redriven} jobs." + (f" {len(refused)} stay dead." if refused else ""))


@app.command()
def cancel(jobs: Ids, data: DataOption = None, json_: JsonOption = False) -> None:
    """Take back jobs that are not under way: pending, waiting or dead ones."""
    _each(data, jobs, "cancel", lambda row: f"Cancelled job {row['id']} of {row['kind']}.", json_=json_)


def _each(data: Path | None, jobs: list[int], act: str, said: Callable[[dict[str, Any]], str], *, json_: bool) -> None:
    """Do it to one after the other; one that is refused keeps none of the others from it."""
    daemon = client.connect(data)
    done: list[dict[str, Any]] = []
    refused = 0
    for job in jobs:
        try:
            row = daemon.post(f"{_ROUTE}/{job}/{act}", None)
        except RefusedError as error:
            if len(jobs) == 1 or error.code not in {"conflict", "not_found"}:
                raise
            output.complain(f"holdfast: {error}")
            refused += 1
            continue
        done.append(row)
        if not json_:
            output.say(said(row))
    if json_:
        output.as_json(done)
    if refused:
        message = f"{refused} of {len(jobs)} jobs were left as they are."
        raise CommandError(message)


@app.command()
def release(data: DataOption = None, json_: JsonOption = False) -> None:
    """Let the effects of a restored store happen; until then they are held."""
    came = client.connect(data).post(f"{_ROUTE}/release", None)
    if json_:
        output.as_json(came)
    elif came["released"]:
        output.say("Released. What is due happens from now on; see it with: holdfast jobs ls")
    else:
        output.say("No effects were held: only those of a store that was restored from a backup are.")


@app.command()
def schedule(json_: JsonOption = False) -> None:
    """Print every table of delays between tries, and its horizon: from the first failure to the last."""
    from msgspec import to_builtins

    from holdfast.core.propagation.view import schedules, spoken

    tables = schedules()
    if json_:
        output.as_json([to_builtins(table) for table in tables])
        return
    rows = [
        {
            "schedule": table.name,
            "tries": table.attempts,
            "horizon": table.horizon,
            "delays": ", ".join(map(spoken, table.delays)),
            "meant_for": table.doc,
        }
        for table in tables
    ]
    output.table(rows, ("schedule", "tries", "horizon", "delays", "meant_for"), empty="There are no schedules.")
