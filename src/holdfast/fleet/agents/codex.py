"""The agent `codex`: Codex by OpenAI, told of our hooks, and that we vouch for them, on its command line."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from holdfast.fleet.agents import carried
from holdfast.fleet.agents.declare import Agent, Heard, Input, Plan, SignalKind, Start

#: For some events it lowers a longer time to this one, and what it vouches for is the lowered one.
_HOOK_SECONDS = 3
#: How it names hooks of the command line.
_SOURCE = "/<session-flags>/config.toml"
_EVENTS = (
    "SessionStart",
    "UserPromptSubmit",
    "PreToolUse",
    "PermissionRequest",
    "PostToolUse",
    "SubagentStop",
    "Stop",
    "Interrupt",
    "SessionEnd",
)
_PLAIN: Mapping[str, SignalKind] = {
    "PostToolUse": "working",
    "SubagentStop": "working",
    "Stop": "idle",
    "Interrupt": "idle",
    "SessionEnd": "exited",
}


def _plan(start: Start) -> Plan:
    words = carried.program(start, "codex")
    word, typed = carried.said(start)
    flags = [
        # Its shared background server would run the agent beyond its terminal, with the hooks of whoever started it.
        "--no-daemon",
        "-c",
        "features.daemon_auto_start=false",
        *_hooks(start),
        *carried.model(start, "--model"),
        *carried.further(start),
    ]
    if carried.trusts(start):
        flags += ["-c", f"projects={{{_quoted(str(start.workspace))}={{trust_level={_quoted('trusted')}}}}}"]
    if start.resume is not None:
        words, flags = (*words, "resume"), [*flags, start.resume]
    return Plan(
        argv=(*words, *flags, *(("--", word) if word is not None else ())),
        conversation=start.resume,
        typed=typed,
    )


def _hooks(start: Start) -> list[str]:
    """The hooks as overrides of its configuration; and, as it wants people to review hooks, that ours are reviewed."""
    flags: list[str] = []
    trusted: list[str] = []
    for event in _EVENTS:
        command = carried.hooked(start, "codex", event)
        hook = f"{{type={_quoted('command')},command={_quoted(command)},timeout={_HOOK_SECONDS}}}"
        flags += ["-c", f"hooks.{event}=[{{hooks=[{hook}]}}]"]
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", event).lower()
        mark = hook_hash(name, command, _HOOK_SECONDS)
        trusted.append(f"{_quoted(f'{_SOURCE}:{name}:0:0')}={{trusted_hash={_quoted(mark)}}}")
    return [*flags, "-c", f"hooks.state={{{','.join(trusted)}}}"]


def hook_hash(event: str, command: str, seconds: int) -> str:
    """What it remembers a reviewed hook by: the digest of its settings as sorted JSON."""
    hook = {"async": False, "command": command, "timeout": seconds, "type": "command"}
    form = {"event_name": event, "hooks": [hook]}
    text = json.dumps(form, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _quoted(text: str) -> str:
    """A text as TOML writes it."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _read(event: str, payload: Mapping[str, Any]) -> Heard:
    conversation = carried.texts(payload, "session_id") or None
    match event:
        case "SessionStart":
            kind: SignalKind | None = None if payload.get("source") == "compact" else "idle"
            return Heard(kind, conversation, None, carried.texts(payload, "source"))
        case "UserPromptSubmit":
            return Heard("working", conversation, carried.texts(payload, "prompt"))
        case "PreToolUse" if payload.get("tool_name") == "request_user_input":
            given = payload.get("tool_input")
            question = carried.asked(given) if isinstance(given, Mapping) else ""
            return Heard("waiting_input", conversation, None, question)
        case "PreToolUse":
            return Heard("working", conversation, None, carried.used(payload))
        case "PermissionRequest":
            return Heard("blocked", conversation, None, carried.used(payload))
        case _:
            detail = carried.texts(payload, "last_assistant_message")[:500]
            return Heard(_PLAIN.get(event), conversation, None, detail)


CODEX = Agent(
    name="codex",
    doc=(
        "Codex, by OpenAI. Everything it is told of us stands on its command line; its home, with the login, is the "
        "user's own. It runs without its shared background server, and trusts the worktree unless the option `trust` "
        "is false. It names its conversation with its first prompt. Its sandbox keeps `.git` from being written: let "
        "it commit by the option `arguments`."
    ),
    standing="verified",
    binary="codex",
    install="npm install -g @openai/codex, then run `codex login`.",
    plan=_plan,
    resumes=True,
    speaks="hooks",
    read=_read,
    events=_EVENTS,
    input=Input(
        ready=re.compile(r"^\u203a(?! \d+\. )"),
        dialog=re.compile(r"^\s*(Press enter to confirm or esc to |enter (confirm|continue|submit)\b.* esc )"),
        pasted=re.compile(r"\[Pasted Content \d+ chars\]"),
    ),
)
