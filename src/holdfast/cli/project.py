"""`holdfast project`: the repositories that are looked after."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli import client, output
from holdfast.cli.failures import UsageError
from holdfast.cli.options import options
from holdfast.cli.place import DataOption, JsonOption, given_path

app = typer.Typer(help="Registered repositories.", no_args_is_help=True, rich_markup_mode=None)

_ROUTE = "/api/v1/projects"
ChecksHowOption = Annotated[str | None, typer.Option("--checks-how", help="Whether checks run in_order or at_once.")]
MergeByOption = Annotated[str | None, typer.Option("--merge-by", help="Who merges: person, or policy.")]
MergeHowOption = Annotated[str | None, typer.Option("--merge-how", help="How: ff, merge or squash.")]
ReactionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--reaction",
        metavar="NAME.KEY=VALUE",
        help="What is different for a reaction: ci-failed.cap=2, ci-failed.off=true; may be repeated.",
    ),
]
_COLUMNS = ("id", "path", "agent", "forge", "base", "checks", "max_sessions", "created_at")


@app.command()
def add(  # noqa: PLR0913 - one parameter is one option
    path: Annotated[
        Path, typer.Argument(parser=given_path, metavar="PATH", help="A git repository with at least one commit.")
    ],
    *,
    id_: Annotated[str | None, typer.Option("--id", help="Its name here; the folder's own without it.")] = None,
    agent: Annotated[str | None, typer.Option(help="The agent that works on it unless told otherwise.")] = None,
    forge: Annotated[str | None, typer.Option(help="Where its pull requests live: local or github.")] = None,
    check: Annotated[
        list[str] | None, typer.Option(help="A command that must succeed before a merge; may be repeated.")
    ] = None,
    max_sessions: Annotated[int | None, typer.Option(min=1, help="How many sessions may run at once.")] = None,
    base: Annotated[str | None, typer.Option(help="Where branches begin; where its HEAD is without it.")] = None,
    setup: Annotated[
        list[str] | None, typer.Option(help="A command that makes a new worktree ready; may be repeated.")
    ] = None,
    copy: Annotated[
        list[str] | None, typer.Option(help="Files that git does not have, such as .env, to copy; may be repeated.")
    ] = None,
    link: Annotated[
        list[str] | None, typer.Option(help="Such files and folders to link to instead; may be repeated.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", "-o", metavar="KEY=VALUE", help="For its agents; may be repeated.")
    ] = None,
    checks_how: ChecksHowOption = None,
    merge_by: MergeByOption = None,
    merge_how: MergeHowOption = None,
    reaction: ReactionOption = None,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """Register a repository."""
    wanted: dict[str, Any] = {
        "path": str(path),
        "id": id_,
        "agent": agent,
        "forge": forge,
        "checks": check or None,
        "max_sessions": max_sessions,
        "base": base,
        "setup": setup or None,
        "copy": copy or None,
        "link": link or None,
        "options": options(option or []) or None,
        "checks_how": checks_how,
        "merge_by": merge_by,
        "merge_how": merge_how,
        "reactions": reactions(reaction or []) or None,
    }
    body = {key: value for key, value in wanted.items() if value is not None}
    made = client.connect(data).post(_ROUTE, body)
    if json_:
        output.as_json(made)
    else:
        output.say(f"Added project {made['id']} at {made['path']}.")


def reactions(given: list[str]) -> dict[str, dict[str, Any]]:
    """What `--reaction` says, as the API takes it."""
    found: dict[str, dict[str, Any]] = {}
    for each in given:
        name, dot, rest = each.partition(".")
        key, equals, value = rest.partition("=")
        if not (name and dot and key and equals):
            message = f"--reaction {each!r} is not NAME.KEY=VALUE, such as ci-failed.cap=2."
            raise UsageError(message)
        found.setdefault(name, {})[key] = {"true": True, "false": False}.get(
            value, int(value) if value.isdigit() else value
        )
    return found


@app.command("set")
def set_(  # noqa: PLR0913 - one parameter is one option
    project: Annotated[str, typer.Argument(metavar="ID")],
    *,
    agent: Annotated[str | None, typer.Option(help="The agent that works on it unless told otherwise.")] = None,
    check: Annotated[
        list[str] | None, typer.Option(help="A command that must succeed before a merge, in place of those it has.")
    ] = None,
    no_checks: Annotated[bool, typer.Option("--no-checks", help="Nothing is checked any more.")] = False,
    max_sessions: Annotated[int | None, typer.Option(min=1, help="How many sessions may run at once.")] = None,
    base: Annotated[str | None, typer.Option(help="Where branches begin.")] = None,
    checks_how: ChecksHowOption = None,
    merge_by: MergeByOption = None,
    merge_how: MergeHowOption = None,
    reaction: ReactionOption = None,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """Change a project; what is not given stays."""
    if check and no_checks:
        message = "--check and --no-checks contradict each other; give one of them."
        raise UsageError(message)
    daemon, where = client.connect(data), f"{_ROUTE}/{client.segment(project)}"
    wanted: dict[str, Any] = {
        "agent": agent,
        "checks": [] if no_checks else check or None,
        "max_sessions": max_sessions,
        "base": base,
        "checks_how": checks_how,
        "merge_by": merge_by,
        "merge_how": merge_how,
    }
    if reaction:
        before = daemon.get(where)["reactions"]
        changed = reactions(reaction)
        wanted["reactions"] = before | {name: before.get(name, {}) | value for name, value in changed.items()}
    body = {key: value for key, value in wanted.items() if value is not None}
    if not body:
        message = "There is nothing to change. Give at least one option; see: holdfast project set --help"
        raise UsageError(message)
    found = daemon.patch(where, body)
    if json_:
        output.as_json(found)
    else:
        output.say(f"Changed {', '.join(sorted(body))} of project {project}.")


@app.command("ls")
def list_(data: DataOption = None, json_: JsonOption = False) -> None:
    """List the projects."""
    rows = list(client.connect(data).pages(_ROUTE))
    if json_:
        output.as_json(rows)
    else:
        output.table(rows, _COLUMNS, empty="There are no projects. Add one with: holdfast project add PATH")


@app.command()
def show(
    project: Annotated[str, typer.Argument(metavar="ID")], data: DataOption = None, json_: JsonOption = False
) -> None:
    """Show one project."""
    found = client.connect(data).get(f"{_ROUTE}/{client.segment(project)}")
    if json_:
        output.as_json(found)
    else:
        output.facts(found.items())


@app.command()
def rm(project: Annotated[str, typer.Argument(metavar="ID")], data: DataOption = None) -> None:
    """Forget a project; the repository itself is left as it is."""
    client.connect(data).delete(f"{_ROUTE}/{client.segment(project)}")
    output.say(f"Removed project {project}. Its repository was not touched.")
