"""`holdfast kept`: work that was captured before its worktree was removed, and how to get it back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import client, output, spans
from holdfast.cli.place import DataOption, JsonOption, given_path

app = typer.Typer(
    help="Work that was captured before its worktree was removed.", no_args_is_help=True, rich_markup_mode=None
)

_ROUTE = "/api/v1/kept"
_COLUMNS = ("ref", "session", "branch", "files", "size", "kept_at", "restored_at")
_NONE = "No work is kept. It is whenever a session's worktree is removed: holdfast cleanup"


@app.command("ls")
def list_(
    project: Annotated[str | None, typer.Option(help="Only that of this project.")] = None,
    session: Annotated[str | None, typer.Option(help="Only that of this session.")] = None,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """List kept work, newest first."""
    rows = list(client.connect(data).pages(_ROUTE, project=project, session=session))
    rows.sort(key=lambda row: str(row["kept_at"]), reverse=True)
    if json_:
        output.as_json(rows)
    else:
        output.table([row | {"size": spans.size(row["bytes"])} for row in rows], _COLUMNS, empty=_NONE)


@app.command()
def restore(
    ref: Annotated[str, typer.Argument(metavar="REF", help="What `holdfast kept ls` shows.")],
    to: Annotated[
        Path | None,
        typer.Option(parser=given_path, metavar="<path>", help="Where to; a folder that is not there, or empty."),
    ] = None,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """Put kept work back, byte for byte, as a worktree of its repository."""
    body = {"ref": ref} | ({} if to is None else {"path": str(to)})
    came = client.connect(data).post(f"{_ROUTE}/restore", body)
    if json_:
        output.as_json(came)
        return
    on = f"branch {came['branch']}" if came["branch"] else f"commit {came['head'][:12]}, on no branch"
    why = f" ({came['why']})" if came["why"] else ""
    output.say(f"{came['files']} files of {ref} stand in {came['path']}, {on}{why}.")
