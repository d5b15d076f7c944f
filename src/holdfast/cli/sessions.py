"""`holdfast spawn`, `ls`, `show`, `explain`, `timeline`, `kill`, `restore`, `cleanup`: sessions of agents."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli import client, output, spans, watching
from holdfast.cli.failures import CommandError, RefusedError, UsageError
from holdfast.cli.options import options
from holdfast.cli.place import DataOption, JsonOption

Session = dict[str, Any]
ROUTE = "/api/v1/sessions"
_COLUMNS = ("id", "status", "agent", "activity", "launch", "memory", "cpu", "title")
_OVER = frozenset({"terminated", "done"})
#: The statuses of a session that has not come to its first word yet.
_COMING = frozenset({"queued", "spawning"})
_NONE = "There are no sessions. Start one with: holdfast spawn PROJECT --prompt TEXT"
_ALL_OVER = "Every session has ended and is cleaned up. See them with: holdfast ls --all"
_BREATH = 0.1
_CLEAR = "\x1b[2J\x1b[H"
SessionArgument = Annotated[str, typer.Argument(metavar="ID", help="A session, such as shop-1.")]
WaitOption = Annotated[bool, typer.Option("--wait", help="Wait until it is so, and say what it passes through.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    for command in (spawn, show, explain, timeline, kill, restore, cleanup):
        app.command()(command)
    app.command("ls")(list_)


# --- start -------------------------------------------------------------------------------------------------------


def spawn(  # noqa: PLR0913 - one parameter is one option
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="A project that `holdfast project ls` shows.")],
    *,
    agent: Annotated[str | None, typer.Option(help="The agent; the project's own without it.")] = None,
    prompt: Annotated[str | None, typer.Option(help="What it is to do; - reads it from standard input.")] = None,
    prompt_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="A file with what it is to do; - is standard input.")
    ] = None,
    branch: Annotated[str | None, typer.Option(help="The branch to make; holdfast/<id> without it.")] = None,
    base: Annotated[str | None, typer.Option(help="Where the branch begins; the project's base without it.")] = None,
    title: Annotated[str | None, typer.Option(help="What it is called; the prompt's first line without it.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", "-o", metavar="KEY=VALUE", help="For the agent; may be repeated.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it works, or has failed.")] = False,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """Start a session, or queue it where there is no room; prints its id."""
    wanted = {
        "project": project,
        "agent": agent,
        "prompt": _prompt(prompt, prompt_file),
        "branch": branch,
        "base": base,
        "title": title,
        "options": options(option or []) or None,
    }
    daemon = client.connect(data)
    after = watching.head(daemon) if wait else 0
    made = daemon.post(ROUTE, {key: value for key, value in wanted.items() if value is not None})
    if not json_:
        output.say(made["id"])
        sys.stdout.flush()
        _hint(made)
    if wait:
        made = watching.until(data, after, made["id"], _begun, _progress)
    if json_:
        output.as_json(made)
    if wait:
        _require_begun(made)


def _prompt(given: str | None, file: str | None) -> str | None:
    if given is not None and file is not None:
        message = "--prompt and --prompt-file say the same thing; give one of them."
        raise UsageError(message)
    if given == "-":
        return typed("-")
    return given if file is None else typed(file)


def typed(file: str) -> str:
    """The text of a file, or of standard input where it is called `-`."""
    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).expanduser().read_bytes()
    except OSError as error:
        message = f"{file!r} cannot be read ({error.strerror}). Give a file with text, or - for standard input."
        raise UsageError(message) from None
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        message = f"{'Standard input' if file == '-' else repr(file)} holds no UTF-8 text, which agents are given."
        raise UsageError(message) from None
    if not text:
        message = f"{'Standard input' if file == '-' else repr(file)} is empty: there is nothing to say."
        raise UsageError(message)
    return text


def _begun(session: Session) -> bool:
    return session["status"] not in _COMING


def _hint(session: Session) -> None:
    if session["status"] == "queued" and sys.stderr.isatty():
        output.complain(f"It is number {session['queue_position']} in the queue. See: holdfast ls --watch")


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        output.complain(text)


def _require_begun(session: Session) -> None:
    name = session["id"]
    if session["state"] == "terminated":
        reason = (session["reason"] or "nobody knows why").replace("_", " ")
        message = f"Session {name} has ended: {reason}. See: holdfast explain {name}"
        raise CommandError(message)
    if session["status"] == "no_signal":
        message = f"Session {name} lives, and its agent was not heard of. Look at it: holdfast logs {name} --screen"
        raise CommandError(message)


# --- see ---------------------------------------------------------------------------------------------------------


def list_(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on as they change.")] = False,
    project: Annotated[str | None, typer.Option(help="Only those of this project.")] = None,
    all_: Annotated[bool, typer.Option("--all", "-a", help="Also those that ended and are cleaned up.")] = False,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """List sessions: what each does, who says so, and how long ago that was."""
    if watch:
        _watch(data, project, all_=all_, json_=json_)
        return
    rows, hidden = _sessions(client.connect(data), project, all_=all_)
    if json_:
        output.as_json(rows)
    else:
        output.table(map(_row, rows), _COLUMNS, empty=_ALL_OVER if hidden else _NONE)


def _sessions(daemon: client.Client, project: str | None, *, all_: bool) -> tuple[list[Session], int]:
    """The sessions that somebody may still want something of, in the order of their numbers; and how many others."""
    found = list(daemon.pages(ROUTE, project=project, include="usage"))
    found.sort(key=lambda row: (row["project"], int(row["id"].rpartition("-")[2])))
    shown = [row for row in found if all_ or row["state"] not in _OVER or row["workspace"] or row["queue_position"]]
    return shown, len(found) - len(shown)


def _row(session: Session) -> dict[str, Any]:
    usage, place = session.get("usage"), session["queue_position"]
    return session | {
        "status": f"{session['status']} ({place})" if place else session["status"],
        "activity": _doing(session),
        "memory": usage and spans.size(usage["memory_bytes"]),
        "cpu": usage and f"{usage['cpu_seconds']:.1f} s",
    }


def _doing(session: Session) -> str | None:
    """What it does, as far as somebody has said so: of what has ended, that is no news."""
    if session["queue_position"]:
        return f"waits: {session['queue_reason']}"
    if session["ended_at"]:
        return f"ended {spans.age(session['ended_at'])} ago"
    said = session["activity"]
    return said and f"{said['state']} {spans.age(said['at'])} ({said['source']})"


def _watch(data: Path | None, project: str | None, *, all_: bool, json_: bool) -> None:
    from holdfast.core.clock import pause

    watching.leave_at_once()
    daemon = client.connect(data)
    following = watching.Watch(data, watching.head(daemon), scope=project)
    before: dict[str, str] = {}
    drawn = sys.stdout.isatty() and not json_
    while True:
        rows, hidden = _sessions(client.connect(data), project, all_=all_)
        if drawn:
            sys.stdout.write(_CLEAR)
            output.table(map(_row, rows), _COLUMNS, empty=_ALL_OVER if hidden else _NONE)
            sys.stdout.flush()
        else:
            before = _changed(rows, before, json_=json_)
        following.wait(lambda change: change["entity"] == "session")
        pause(_BREATH)  # what comes in one breath is drawn once


def _changed(rows: list[Session], before: dict[str, str], *, json_: bool) -> dict[str, str]:
    """Print the rows that are not as they were, one a line; what they are now. What only grows is no news."""
    after: dict[str, str] = {}
    for row in rows:
        lasting = {name: value for name, value in row.items() if name != "usage"}
        after[row["id"]] = json.dumps(lasting, sort_keys=True)
        if before.get(row["id"]) == after[row["id"]]:
            continue
        if json_:
            output.as_json(row, indent=None)
        else:
            output.table([_row(row)], _COLUMNS, empty="")
    sys.stdout.flush()
    return after


def show(session: SessionArgument, data: DataOption = None, json_: JsonOption = False) -> None:
    """Show all that is known of one session, and what its processes take."""
    found = client.connect(data).get(f"{ROUTE}/{client.segment(session)}", include="usage")
    if json_:
        output.as_json(found)
        return
    usage = found.pop("usage", None)
    taken = usage and {
        "memory": spans.size(usage["memory_bytes"]),
        "cpu": f"{usage['cpu_seconds']:.1f} s",
        "processes": usage["processes"],
    }
    output.facts((found | (taken or {})).items())


def explain(session: SessionArgument, data: DataOption = None, json_: JsonOption = False) -> None:
    """Say why a session is shown as it is: what is known, from whom, how old it is, and which rule decided."""
    found = client.connect(data).get(f"{ROUTE}/{client.segment(session)}/explain")
    if json_:
        output.as_json(found)
        return
    for line in found["lines"]:
        output.say(line)


def timeline(
    session: SessionArgument,
    limit: Annotated[int, typer.Option(min=1, help="The most moments to show, the newest of them.")] = 100,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """Say what happened to a session, oldest first: launches, steps, signals, messages, quarantines."""
    found = list(islice(client.connect(data).pages(f"{ROUTE}/{client.segment(session)}/timeline"), limit))[::-1]
    if json_:
        output.as_json(found)
    else:
        output.table(found, ("at", "source", "launch", "what", "actor"), empty="Nothing has happened yet.")


# --- end, go on, clean up ----------------------------------------------------------------------------------------


def kill(
    sessions: Annotated[list[str], typer.Argument(metavar="ID...")],
    wait: WaitOption = False,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """End sessions: their agents, and all that these left running. The worktrees stay until they are cleaned up."""
    _each(data, sessions, "kill", "Asked for the end of {}.", _ended if wait else None, json_=json_)


def restore(
    session: Annotated[str | None, typer.Argument(metavar="ID")] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Every session that was lost, with its runtime or machine.")
    ] = False,
    wait: WaitOption = False,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """Start the agents of ended sessions again, in their worktrees and conversations."""
    if (session is None) != all_:
        message = "Say which session: give its ID, or --all."
        raise UsageError(message)
    over = _gone_on if wait else None
    if session is not None:
        asked = _each(data, [session], "restore", "Asked for {} to go on.", over, json_=json_)
    else:
        none = "Nothing was lost: no session waits to be restored."
        asked = _all(data, "restore", "to go on", none, over, json_=json_)
    lost = [each["id"] for each in asked if each["state"] in _OVER]
    if wait and lost:
        message = f"Not restored, and left as they were: {', '.join(lost)}. See: holdfast explain {lost[0]}"
        raise CommandError(message)


def cleanup(
    sessions: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="All that have ended without.")] = None,
    wait: WaitOption = False,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """Keep the work of ended sessions under a ref, then remove their worktrees."""
    over = _cleaned if wait else None
    if sessions:
        _each(data, sessions, "cleanup", "Asked for {} to be cleaned up.", over, json_=json_)
    else:
        _all(data, "cleanup", "to be cleaned up", "No session that has ended has a worktree.", over, json_=json_)


def _ended(session: Session) -> bool:
    return session["state"] in _OVER and session["queue_position"] is None


def _gone_on(session: Session) -> bool:
    """Whether it was restored, or was not and is as it had been."""
    return session["status"] not in _COMING and (session["is_alive"] or session.get("wanted") is None)


def _cleaned(session: Session) -> bool:
    return session["workspace"] is None


Over = Callable[[Session], bool] | None


def _each(data: Path | None, sessions: list[str], act: str, said: str, over: Over, *, json_: bool) -> list[Session]:
    """Ask it of one after the other, what they are then; one that is refused keeps none of the others from it."""
    daemon = client.connect(data)
    after = watching.head(daemon)
    asked: list[Session] = []
    for session in sessions:
        try:
            asked.append(daemon.post(f"{ROUTE}/{client.segment(session)}/{act}", None))
        except RefusedError as error:
            if len(sessions) == 1 or error.code not in {"conflict", "not_found"}:
                raise
            output.complain(f"holdfast: {error}")
            continue
        if not json_:
            output.say(said.format(session))
    if over is not None:
        asked = [watching.until(data, after, each["id"], over, _progress) for each in asked]
    if json_:
        output.as_json(asked)
    if len(asked) < len(sessions):
        message = f"{len(sessions) - len(asked)} of {len(sessions)} sessions were left as they are."
        raise CommandError(message)
    return asked


def _all(data: Path | None, act: str, what: str, none: str, over: Over, *, json_: bool) -> list[Session]:
    """Ask it of all that it can be asked of; what those are then that were waited for."""
    daemon = client.connect(data)
    after = watching.head(daemon)
    asked: list[str] = daemon.post(f"{ROUTE}/{act}", None)["sessions"]
    if not json_:
        output.say(f"Asked for {len(asked)} {what}: {', '.join(asked)}" if asked else none)
    found = [] if over is None else [watching.until(data, after, each, over, _progress) for each in asked]
    if json_:
        output.as_json(asked)
    return found
