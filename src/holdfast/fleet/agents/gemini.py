"""The agent `gemini`: Gemini CLI by Google, told of our hooks by a file of defaults of the session's own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from holdfast.fleet.agents import carried
from holdfast.fleet.agents.declare import Agent, Heard, Input, Plan, SignalKind, Start

_HOOK_MILLISECONDS = 5_000
_EVENTS = (
    "SessionStart",
    "BeforeAgent",
    "BeforeTool",
    "Notification",
    "AfterTool",
    "AfterAgent",
    "SessionEnd",
)
_PLAIN: Mapping[str, SignalKind] = {
    "SessionStart": "idle",
    "BeforeAgent": "working",
    "BeforeTool": "working",
    "AfterTool": "working",
    "AfterAgent": "idle",
}


def _plan(start: Start) -> Plan:
    settings = start.home / "gemini-defaults.json"
    hooks = {event: [{"matcher": "*", "hooks": [_hook(start, event)]}] for event in _EVENTS}
    talk = ("--resume", start.resume) if start.resume is not None else ("--session-id", start.fresh)
    word, typed = carried.said(start)
    argv = (
        *carried.program(start, "gemini"),
        *talk,
        *(("--skip-trust",) if carried.trusts(start) else ()),
        *carried.model(start, "--model"),
        *carried.further(start),
        *((f"--prompt-interactive={word}",) if word is not None else ()),
    )
    return Plan(
        argv=argv,
        # The lowest of its settings: the user's and an administrator's stand above it, and hooks of all of them run.
        env={"GEMINI_CLI_SYSTEM_DEFAULTS_PATH": str(settings)},
        files={settings: json.dumps({"hooks": hooks}, indent=1).encode()},
        conversation=start.resume or start.fresh,
        typed=typed,
    )


def _hook(start: Start, event: str) -> dict[str, Any]:
    command = carried.hooked(start, "gemini", event)
    return {"type": "command", "name": "holdfast", "command": command, "timeout": _HOOK_MILLISECONDS}


def _read(event: str, payload: Mapping[str, Any]) -> Heard:
    conversation = carried.texts(payload, "session_id") or None
    submitted = None
    kind, detail = _PLAIN.get(event), ""
    match event:
        case "SessionStart":
            detail = carried.texts(payload, "source")
        case "BeforeAgent":
            submitted = carried.texts(payload, "prompt")
        case "BeforeTool":
            detail = carried.used(payload)
        case "Notification":
            kind, detail = _notified(payload)
        case "AfterAgent":
            detail = carried.texts(payload, "prompt_response")
        case "SessionEnd":
            detail = carried.texts(payload, "reason")
            kind, conversation = (None if detail == "clear" else "exited"), None
        case _:
            pass
    return Heard(kind, conversation, submitted, detail[:500])


def _notified(payload: Mapping[str, Any]) -> tuple[SignalKind | None, str]:
    """It notifies of permissions, and of questions as if they were permissions too."""
    message, given = carried.texts(payload, "message"), payload.get("details")
    if payload.get("notification_type") != "ToolPermission":
        return None, message
    details = given if isinstance(given, Mapping) else {}
    about = carried.texts(details, "command") or carried.texts(details, "fileName")
    detail = ": ".join(part for part in (carried.texts(details, "title") or message, about) if part)
    return "waiting_input" if details.get("type") == "ask_user" else "blocked", detail


GEMINI = Agent(
    name="gemini",
    doc=(
        "Gemini CLI, by Google. Its hooks come as defaults from a file of the session, below the user's own settings. "
        "It reads that file only where nobody else may write in any folder above it: the data folder must not lie in a "
        "shared one such as /tmp. It trusts the worktree unless the option `trust` is false. An Enter within 40 ms of "
        "a pasted text is a line break to it. A dialog left by Esc is told by nothing but the screen."
    ),
    standing="verified",
    binary="gemini",
    install="npm install -g @google/gemini-cli, then run `gemini` once and log in, or set GEMINI_API_KEY.",
    plan=_plan,
    resumes=True,
    speaks="hooks",
    read=_read,
    events=_EVENTS,
    input=Input(
        ready=re.compile(r"^ [>*!] "),
        dialog=re.compile(r"^│ ● \d+\. |^│ Enter to select|^ ?● \d+\. "),
        pasted=re.compile(r"\[Pasted Text: \d+ (lines|chars)\]"),
        settle=0.2,  # it takes an Enter within 40 ms for a line break
    ),
)
