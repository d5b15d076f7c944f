"""`holdfast token`: who may talk to the daemon."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli import client, output
from holdfast.cli.place import DataOption, JsonOption

app = typer.Typer(help="Make, list and revoke bearer tokens.", no_args_is_help=True, rich_markup_mode=None)

_COLUMNS = ("id", "name", "scope", "created_at", "revoked_at")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for, so that you know it again.")],
    scope: Annotated[str, typer.Option(help="admin, read or session:<id>.")] = "read",
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """Make a token and print it: this is the only time that it can be seen."""
    made = client.connect(data).post("/api/v1/tokens", {"name": name, "scope": scope})
    if json_:
        output.as_json(made)
    else:
        output.say(made["token"])


@app.command("ls")
def list_(data: DataOption = None, json_: JsonOption = False) -> None:
    """List tokens; the secrets are not known to the daemon."""
    rows = list(client.connect(data).pages("/api/v1/tokens"))
    if json_:
        output.as_json(rows)
    else:
        output.table(rows, _COLUMNS, empty="There are no tokens.")


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="The id that `holdfast token ls` shows.")],
    data: DataOption = None,
) -> None:
    """End a token, at once and for good."""
    client.connect(data).delete(f"/api/v1/tokens/{client.segment(token_id)}")
    output.say(f"Revoked {token_id}.")
