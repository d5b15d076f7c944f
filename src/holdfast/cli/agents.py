"""`holdfast agents`: who can be set to work, and whether they are installed here."""

from __future__ import annotations

import typer

from holdfast.cli import client, output
from holdfast.cli.place import DataOption, JsonOption

app = typer.Typer(help="Agents that can be set to work.", no_args_is_help=True, rich_markup_mode=None)

ROUTE = "/api/v1/agents"
_COLUMNS = ("agent", "standing", "installed", "resumes", "speaks", "how_to_get_it")


@app.command("ls")
def list_(data: DataOption = None, json_: JsonOption = False) -> None:
    """List agents: `verified` ones were driven by our tests with their real programs, the others are declared."""
    rows = list(client.connect(data).pages(ROUTE))
    if json_:
        output.as_json(rows)
        return
    shown = [
        row
        | {
            "agent": row["name"],
            "installed": row["path"] or ("no" if row["binary"] else "by its options"),
            "resumes": "yes" if row["resumes"] else "no",
            "how_to_get_it": None if row["path"] else row["install"],
        }
        for row in rows
    ]
    output.table(shown, _COLUMNS, empty="There are no agents.")
