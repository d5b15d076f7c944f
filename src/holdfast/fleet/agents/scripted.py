"""The agent `scripted`: built in, does what a script says; for tests, demonstrations and measurements."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast.core.errors import Invalid
from holdfast.fleet.agents.command import carries
from holdfast.fleet.agents.declare import Agent, Heard, Input, Plan, SignalKind, Start

PROGRAM = Path(__file__).with_name("scripted_program.py")

_KINDS: Mapping[str, SignalKind] = {
    "submit": "working",
    "stop": "idle",
    "ask": "waiting_input",
    "permission": "blocked",
    "resolved": "working",
    "done": "done",
    "end": "exited",
}


def _option(options: Mapping[str, Any], name: str) -> str:
    value = options.get(name, "")
    if not isinstance(value, str) or "\0" in value:
        message = f"The option {name} of the scripted agent is {str(value)[:80]!r}; it takes a text."
        raise Invalid(message, field=f"options.{name}")
    return value


def _plan(start: Start) -> Plan:
    files: dict[Path, bytes] = {}
    path, steps = _option(start.options, "script"), _option(start.options, "steps")
    if steps:
        script = start.home / "script"
        files[script] = steps.encode()
    else:
        script = start.workspace / path
    talk = ("--resume", start.resume) if start.resume is not None else ("--conversation", start.fresh)
    words = ["--home", str(start.home), "--hook", json.dumps(start.hook), *talk]
    if path or steps:
        words += ["--script", str(script)]
    text = start.prompt if start.resume is None else start.notice
    if text is not None:
        if carries(text):
            words += ["--prompt", text]
        else:
            written = start.home / f"prompt-{start.launch}"
            files[written] = text.encode("utf-8", "surrogatepass")
            words += ["--prompt-file", str(written)]
    argv = (sys.executable, "-I", "-S", "-E", str(PROGRAM), *words)
    return Plan(argv=argv, files=files, conversation=start.resume or start.fresh)


def _read(event: str, payload: Mapping[str, Any]) -> Heard:
    def text(name: str) -> str:
        value = payload.get(name)
        return value if isinstance(value, str) else ""

    kind = _KINDS.get(event)
    if event == "start" and not text("prompted"):
        kind = "idle"
    submitted = text("prompt") if event == "submit" else None
    return Heard(kind, text("conversation") or None, submitted, text("question") or text("tool") or text("reason"))


SCRIPTED = Agent(
    name="scripted",
    doc=(
        "Built in, and no agent at all: it does what the option `script` (a file) or `steps` (its text) says, "
        "without a model. For trying Holdfast out, and for its tests."
    ),
    standing="verified",
    binary=sys.executable,
    install="It comes with Holdfast.",
    plan=_plan,
    resumes=True,
    speaks="hooks",
    read=_read,
    events=("start", *_KINDS),
    input=Input(
        ready=re.compile(r"^>( |$)"),
        dialog=re.compile(r"^\? Allow .* \[y/n\]"),
        pasted=re.compile(r"\[Pasted text: \d+ characters, \d+ lines\]"),
    ),
)
