"""`holdfast init`: registers the repository one stands in, with the agent and the checks that are found there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli import agents, client, output
from holdfast.cli.doctor import BUILT_IN
from holdfast.cli.place import DataOption, JsonOption, given_path

_PROJECTS = "/api/v1/projects"
_LARGEST = 1_000_000
_MAKE_TEST = re.compile(r"^test\s*:(?!=)", re.MULTILINE)


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command()(init)


def init(
    path: Annotated[
        Path | None, typer.Argument(parser=given_path, metavar="PATH", help="A repository; the one you stand in.")
    ] = None,
    id_: Annotated[str | None, typer.Option("--id", help="Its name here; the folder's own without it.")] = None,
    agent: Annotated[str | None, typer.Option(help="The agent; the first that is installed without it.")] = None,
    check: Annotated[
        list[str] | None, typer.Option(help="A command that must succeed before a merge; what is found without it.")
    ] = None,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """Register this repository: find agents and checks, and say what to type next."""
    daemon = client.connect(data)
    folder = Path.cwd() if path is None else path
    top = _top(folder)
    there = next((each for each in daemon.pages(_PROJECTS) if Path(each["path"]) == top), None)
    installed = [each for each in daemon.pages(agents.ROUTE) if each["path"] and each["name"] not in BUILT_IN]
    # Who was driven by our tests comes first.
    installed.sort(key=lambda each: (each["standing"] != "verified", each["name"]))
    project = there
    if project is None:
        chosen = agent or (installed[0]["name"] if installed else None)
        checks = check or list(_checks(top))
        wanted = {"path": str(folder), "id": id_, "agent": chosen, "checks": checks}
        project = daemon.post(_PROJECTS, {name: value for name, value in wanted.items() if value})
    if json_:
        output.as_json({"added": there is None, "project": project, "agents": [each["name"] for each in installed]})
        return
    _say(project, installed, new=there is None)


def _top(folder: Path) -> Path:
    """The top folder of the repository around this one; the folder itself where none is, for the daemon to refuse."""
    real = folder.resolve()
    return next((each for each in (real, *real.parents) if (each / ".git").exists()), real)


def _say(project: dict[str, Any], installed: list[dict[str, Any]], *, new: bool) -> None:
    name = project["id"]
    output.say(f"{'Added' if new else 'There already:'} project {name} at {project['path']}")
    output.say(f"  agent   {project['agent'] or 'none'}" + _others(project, installed))
    output.say(f"  checks  {', '.join(project['checks']) or 'none found; see holdfast project add --check'}")
    output.say("Next:")
    chosen = "" if project["agent"] else f" --agent {installed[0]['name'] if installed else 'AGENT'}"
    if not installed and not project["agent"]:
        output.say("  holdfast agents ls                          # no agent is installed: how to get one")
    output.say(f'  holdfast spawn {name}{chosen} --prompt "..."   # set an agent to work, in a worktree of its own')
    output.say("  holdfast ls --watch                         # see what they all do")
    output.say("  holdfast channels ls                        # be told when one needs you")


def _others(project: dict[str, Any], installed: list[dict[str, Any]]) -> str:
    others = [each["name"] for each in installed if each["name"] != project["agent"]]
    return f" (also installed: {', '.join(others)})" if others else ""


# --- checks ------------------------------------------------------------------------------------------------------


def _checks(top: Path) -> Iterator[str]:
    """The commands by which the people of this repository test it, as far as its files tell; one is enough."""
    if any(_MAKE_TEST.search(_text(top / name)) for name in ("GNUmakefile", "makefile", "Makefile")):
        yield "make test"
        return
    if _has_script(_text(top / "package.json"), "test"):
        yield f"{_packager(top)} test"
    pyproject = _text(top / "pyproject.toml")
    if any((top / name).is_file() for name in ("pytest.ini", "conftest.py", "tests/conftest.py")) or (
        "pytest" in pyproject
    ):
        yield "python -m pytest"
    if (top / "Cargo.toml").is_file():
        yield "cargo test"
    if (top / "go.mod").is_file():
        yield "go test ./..."


def _text(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(_LARGEST).decode("utf-8", "replace")
    except OSError:
        return ""


def _has_script(package: str, name: str) -> bool:
    try:
        script = json.loads(package)["scripts"][name]
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    return isinstance(script, str) and "no test specified" not in script  # what `npm init` writes


def _packager(top: Path) -> str:
    locks = {"pnpm-lock.yaml": "pnpm", "yarn.lock": "yarn", "bun.lock": "bun run", "bun.lockb": "bun run"}
    return next((tool for name, tool in locks.items() if (top / name).is_file()), "npm")
