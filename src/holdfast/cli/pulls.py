"""`holdfast pulls`: pull requests of any forge, their checks, what people say of them, and their merge."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from holdfast.cli import client, output, watching
from holdfast.cli.failures import CommandError, UsageError
from holdfast.cli.place import DataOption, JsonOption

app = typer.Typer(
    help="Pull requests: their checks, what people say of them, their merge.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Pull = dict[str, Any]
ROUTE = "/api/v1/pulls"
_COLUMNS = ("id", "status", "session", "checks", "review", "branch", "base", "title")
_NONE = (
    "There are no pulls. One opens when an agent says that it is done and its branch is ahead of its base, "
    "or with: holdfast pulls open SESSION"
)
PullArgument = Annotated[str, typer.Argument(metavar="ID", help="A pull, such as shop.1.")]
AuthorOption = Annotated[str | None, typer.Option("--author", help="Who says it; the token's name without it.")]


def _where(pull: str) -> str:
    return f"{ROUTE}/{client.segment(pull)}"


# --- see ---------------------------------------------------------------------------------------------------------


@app.command("ls")
def list_(
    project: Annotated[str | None, typer.Option(help="Only those of this project.")] = None,
    session: Annotated[str | None, typer.Option(help="Only those of this session.")] = None,
    state: Annotated[str | None, typer.Option(help="Only those that are open, merged or closed.")] = None,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """List pulls, and how each stands."""
    rows = list(client.connect(data).pages(ROUTE, project=project, session=session, state=state))
    if json_:
        output.as_json(rows)
    else:
        output.table([row | {"checks": _checks(row)} for row in rows], _COLUMNS, empty=_NONE)


def _checks(pull: Pull) -> str:
    states = pull["check_states"]
    return ", ".join(f"{states[name]} {name}" for name in sorted(states)) or pull["green"]


@app.command()
def show(pull: PullArgument, data: DataOption = None, json_: JsonOption = False) -> None:
    """Show one pull: its checks with the ends of their logs, what people said, what its agent was told."""
    found = client.connect(data).get(_where(pull))
    if json_:
        output.as_json(found)
        return
    shown = (
        "id",
        "title",
        "status",
        "session",
        "branch",
        "base",
        "head",
        "review",
        "fit",
        "conflicts",
        "refused",
        "url",
    )
    output.facts((name, found[name]) for name in shown if found[name])
    for check in found["checks"]:
        how = "" if check["exit_status"] is None else f", exit status {check['exit_status']}"
        output.say(f"\ncheck {check['name']}: {check['state']}{how}")
        if check["state"] in {"failed", "errored"}:
            if check["step"]:
                output.say(f"  {check['step']}")
            for line in check["tail"].rstrip().splitlines()[-_LINES:]:
                output.say(f"  | {line}")
    for comment in found["comments"]:
        _say_comment(comment)
    if found["nudges"]:
        output.say("")
    for nudge in found["nudges"]:
        how = nudge["message_state"] or nudge["state"]
        why = f": {nudge['reason']}" if nudge["reason"] else ""
        output.say(f"told {nudge['reaction']}, {how}{why}, {nudge['owed_at']}")


_LINES = 40


def _say_comment(comment: dict[str, Any]) -> None:
    place = (
        "" if comment["path"] is None else f" at {comment['path']}" + (f":{comment['line']}" if comment["line"] else "")
    )
    kind = {"approval": " approves", "changes_requested": " asks for changes"}.get(comment["kind"], "")
    over = ", resolved" if comment["state"] == "resolved" else ""
    output.say(f"\n{comment['author']}{kind}{place} (thread {comment['thread']}{over}):")
    for line in comment["body"].splitlines():
        output.say(f"  {line}")


# --- do ----------------------------------------------------------------------------------------------------------


@app.command("open")
def open_(
    session: Annotated[
        str | None, typer.Argument(metavar="SESSION", help="The session; an agent's own without it.")
    ] = None,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """Open a pull of a session's branch now, rather than when its agent rests."""
    wanted = session or os.environ.get("HOLDFAST_SESSION")
    if not wanted:
        message = "Which session? Give its id, such as shop-1; `holdfast ls` lists them."
        raise UsageError(message)
    found = client.connect(data).post(f"/api/v1/sessions/{client.segment(wanted)}/pulls", None)
    if json_:
        output.as_json(found)
    else:
        output.say(f"Looking at {found['branch']} of {wanted}. See: holdfast pulls ls --session {wanted}")


@app.command()
def merge(
    pull: PullArgument,
    how: Annotated[
        str | None, typer.Option("--how", help="ff, merge or squash; as the project says without it.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is merged or refused.")] = True,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """Merge a pull into its base."""
    daemon = client.connect(data)
    after = watching.head(daemon)
    found: Pull = daemon.post(f"{_where(pull)}/merge", {} if how is None else {"how": how})
    if wait:
        found = _until_merged(data, after, pull)
    if json_:
        output.as_json(found)
    elif found["state"] == "merged":
        output.say(f"{pull} is merged into {found['base']}: {str(found['merge_commit'])[:12]}")
    elif not found["refused"]:
        output.say(f"{pull} is to be merged. See: holdfast pulls show {pull}")
    if found["state"] != "merged" and found["refused"]:
        message = f"{pull} was not merged: {found['refused']}"
        raise CommandError(message)


def _until_merged(data: Any, after: int, pull: str) -> Pull:
    watch = watching.Watch(data, after)
    while True:
        found: Pull = client.connect(data).get(_where(pull))
        if found["wanted"] is None:
            return found
        watch.wait(lambda change: change["entity_id"] == pull)


@app.command()
def comment(
    pull: PullArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to say.")],
    path: Annotated[str | None, typer.Option(help="The file that it is about.")] = None,
    line: Annotated[int | None, typer.Option(min=1, help="The line of that file.")] = None,
    thread: Annotated[str | None, typer.Option(help="The conversation that it goes on with.")] = None,
    author: AuthorOption = None,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """Say something to a pull, maybe to a line of it; its agent is told."""
    body = {"text": text, "path": path, "line": line, "thread": thread, "author": author}
    _done(data, pull, "comments", body, f"Said to {pull}.", json_=json_)


@app.command()
def review(
    pull: PullArgument,
    approve: Annotated[bool, typer.Option("--approve", help="It is good as it is.")] = False,
    request_changes: Annotated[bool, typer.Option("--request-changes", help="It is not yet.")] = False,
    text: Annotated[str, typer.Option("--text", "-m", help="Why.")] = "",
    author: AuthorOption = None,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """Approve a pull, or ask for changes."""
    if approve == request_changes:
        message = "Give one of --approve and --request-changes."
        raise UsageError(message)
    body = {"verdict": "approve" if approve else "request_changes", "text": text, "author": author}
    said = f"{pull} is approved." if approve else f"Changes of {pull} are asked for."
    _done(data, pull, "reviews", body, said, json_=json_)


@app.command()
def resolve(
    pull: PullArgument,
    thread: Annotated[str, typer.Argument(metavar="THREAD", help="What `holdfast pulls show` calls it.")],
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """End a conversation on a pull."""
    _done(data, pull, "resolve", {"thread": thread}, f"Thread {thread} of {pull} is resolved.", json_=json_)


@app.command()
def close(pull: PullArgument, data: DataOption = None, json_: JsonOption = False) -> None:
    """Close a pull without a merge; its branch stays."""
    _done(data, pull, "close", None, f"{pull} is closed. Its branch stays.", json_=json_)


@app.command()
def rerun(pull: PullArgument, data: DataOption = None, json_: JsonOption = False) -> None:
    """Run the checks of a pull's head once more."""
    _done(data, pull, "rerun", None, f"The checks of {pull} run again.", json_=json_)


def _done(data: Any, pull: str, verb: str, body: dict[str, Any] | None, said: str, *, json_: bool) -> None:
    given = None if body is None else {name: value for name, value in body.items() if value is not None}
    found = client.connect(data).post(f"{_where(pull)}/{verb}", given)
    if json_:
        output.as_json(found)
    else:
        output.say(said)
