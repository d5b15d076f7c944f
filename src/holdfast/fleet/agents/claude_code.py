"""The agent `claude-code`: Claude Code by Anthropic, told of our hooks by a settings file of the session's own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from holdfast.fleet.agents import carried
from holdfast.fleet.agents.declare import Agent, Heard, Input, Plan, SignalKind, Start

#: It gives up on a hook after so many seconds; ours takes milliseconds.
_HOOK_SECONDS = 5
#: Its tools that wait for a person's answer.
_QUESTIONS = frozenset({"AskUserQuestion", "ExitPlanMode"})
#: What its notifications mean. `permission_prompt` is none of them: it follows a PermissionRequest after some seconds,
#: for questions just as for permissions, and by then the person may have answered.
_NOTICES: Mapping[str, SignalKind] = {
    "worker_permission_prompt": "blocked",
    "idle_prompt": "idle",
    "elicitation_dialog": "waiting_input",
}
_PLAIN: Mapping[str, SignalKind] = {
    "UserPromptSubmit": "working",
    "PostToolUse": "working",
    "PostToolUseFailure": "working",
    "SubagentStop": "working",
    "Stop": "idle",
    "StopFailure": "idle",
}
#: Ends of a session that are no end of the process: another conversation begins in it.
_GOES_ON = frozenset({"clear", "resume"})
_EVENTS = (
    "SessionStart",
    "UserPromptSubmit",
    "PreToolUse",
    "PermissionRequest",
    "PostToolUse",
    "PostToolUseFailure",
    "Notification",
    "SubagentStop",
    "Stop",
    "StopFailure",
    "SessionEnd",
)


def _plan(start: Start) -> Plan:
    settings = start.home / "claude-settings.json"
    hooks = {event: [{"hooks": [_hook(start, event)]}] for event in _EVENTS}
    talk = ("--resume", start.resume) if start.resume is not None else ("--session-id", start.fresh)
    word, typed = carried.said(start)
    argv = (
        *carried.program(start, "claude"),
        *talk,
        "--settings",
        str(settings),
        *carried.model(start, "--model"),
        *carried.further(start),
        *(("--", word) if word is not None else ()),
    )
    files = {settings: json.dumps({"hooks": hooks}, indent=1).encode()}
    return Plan(argv=argv, files=files, conversation=start.resume or start.fresh, typed=typed)


def _hook(start: Start, event: str) -> dict[str, Any]:
    return {"type": "command", "command": carried.hooked(start, "claude-code", event), "timeout": _HOOK_SECONDS}


def _read(event: str, payload: Mapping[str, Any]) -> Heard:
    conversation = carried.texts(payload, "session_id") or None
    submitted = None
    kind, detail = _PLAIN.get(event), ""
    match event:
        case "SessionStart":
            detail = carried.texts(payload, "source")
            # It compacts a long conversation while it works.
            kind = None if detail == "compact" else "idle"
        case "UserPromptSubmit":
            submitted = carried.texts(payload, "prompt")
        case "PreToolUse" | "PermissionRequest":
            kind, detail = _asked(event, payload)
        case "Notification":
            kind, detail = _NOTICES.get(carried.texts(payload, "notification_type")), carried.texts(payload, "message")
        case "Stop" | "StopFailure":
            detail = carried.texts(payload, "error") or carried.texts(payload, "last_assistant_message")
        case "SessionEnd":
            detail = carried.texts(payload, "reason")
            kind, conversation = (None if detail in _GOES_ON else "exited"), None
        case _:
            pass
    return Heard(kind, conversation, submitted, detail[:500])


def _asked(event: str, payload: Mapping[str, Any]) -> tuple[SignalKind, str]:
    """What it is about to do with a tool: use it, ask whether it may, or ask by it."""
    tool = carried.texts(payload, "tool_name")
    if tool in _QUESTIONS:
        return "waiting_input", _question(payload) or tool
    return "blocked" if event == "PermissionRequest" else "working", carried.used(payload)


def _question(payload: Mapping[str, Any]) -> str:
    given = payload.get("tool_input")
    return carried.asked(given) if isinstance(given, Mapping) else ""


CLAUDE_CODE = Agent(
    name="claude-code",
    doc=(
        "Claude Code, by Anthropic. Its hooks come with `--settings` from a file of the session, beside the user's own "
        "settings, which stay as they are. It trusts a worktree where it trusts the project's own checkout: "
        "run `claude` there once and accept. A dialog left by Esc is told by nothing but the screen."
    ),
    standing="verified",
    binary="claude",
    install=(
        "npm install -g @anthropic-ai/claude-code, then run `claude` once in the project: "
        "log in, choose a theme, trust the folder."
    ),
    plan=_plan,
    resumes=True,
    speaks="hooks",
    read=_read,
    events=_EVENTS,
    input=Input(
        # The box's own mark is followed by a no-break space, what was said before by a plain one.
        ready=re.compile("^\u276f\u00a0"),
        dialog=re.compile(r"^ ?(Esc to cancel|Enter to confirm|Enter to select) \u00b7 |^ \u276f \d+\. "),
        pasted=re.compile(r"\[Pasted text #\d+( \+\d+ lines)?\]"),
    ),
)
