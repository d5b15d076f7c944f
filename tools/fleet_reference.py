"""The pages of docs/reference about the fleet: its sessions, its reactions, and the agents it knows."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from holdfast.fleet.agents import scripted_steps
from holdfast.fleet.agents.registry import AGENTS
from holdfast.fleet.reactions import table as reaction_table
from holdfast.fleet.sessions import status, transitions

#: What `make test-agents` has seen of the real programs.
DRIVEN = Path(__file__).resolve().parent.parent / "tests" / "agents" / "driven.json"
Table = Callable[[Iterable[str], Iterable[Iterable[object]]], str]


def sessions(note: str) -> str:
    """The table of transitions, and the rules of the status."""
    return (
        f"# Sessions\n\n{note}\nA session begins as `not_started`; `holdfast explain ID` tells how its status came "
        "about.\n\n"
        f"## Transitions\n\n{transitions.reference()}\n"
        f"## Status\n\nThe first rule that answers decides.\n\n{status.reference()}"
    )


def reactions(note: str) -> str:
    """The table of reactions."""
    return (
        f"# Reactions\n\n{note}\nWhat the facts of a session and of its pulls owe, once each, in this order. A project "
        "sets `text`, `cap`, `to` and `off` of each: `holdfast project set ID --reaction ci-failed.cap=2`. A text may "
        "name `{session}`, `{project}`, `{pull}`, `{branch}`, `{base}` and `{title}`. Each is told by a propagation "
        f"`reaction.<name>`; what is beyond its cap is told to people once.\n\n{reaction_table.reference()}"
    )


def _seen(name: str, one: dict[str, Any]) -> str:
    lines = "".join(f"- {what}\n" for what in one["seen"])
    return f"## {name} {one['version']}\n\nDriven by its real program, in {one['terminal']}. Seen:\n\n{lines}\n"


def agents(note: str, table: Table) -> str:
    """Every agent: what is known of it, and what was seen of its real program."""
    driven: dict[str, Any] = json.loads(DRIVEN.read_text("utf-8")) if DRIVEN.exists() else {}
    rows = []
    for each in AGENTS.values():
        version = driven.get(each.name, {}).get("version", "")
        events = ", ".join(f"`{event}`" for event in each.events)
        goes_on = "yes" if each.resumes else "no"
        rows.append((f"`{each.name}`", each.doc, each.standing, version, goes_on, each.speaks, events, each.install))
    head = ("agent", "", "standing", "version driven", "resumes", "speaks by", "hooks", "how to get it")
    steps = [(f"`{name}`", (inspect.getdoc(step) or "").splitlines()[0]) for name, step in scripted_steps.STEPS.items()]
    seen = "".join(_seen(name, one) for name, one in driven.items())
    return (
        f"# Agents\n\n{note}\n`verified` is what `make test-agents` has driven by its real program: a prompt, an edit, "
        "a second message, an end, a resumption. The others are `declared` by what their documentation says.\n\n"
        f"{table(head, rows)}\n{seen}## The steps of `scripted`\n\n"
        "The option `steps` is a text of sections (`start:`, `resume:`, `turn:`, `every:`), each line of them a "
        f"step.\n\n{table(('step', 'what it does'), steps)}"
    )
