"""The agent `opencode`: told of us by a plugin of the session's own, which tells us what it does."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from holdfast.fleet.agents import carried
from holdfast.fleet.agents.declare import Agent, Heard, Input, Plan, SignalKind, Start

_EVENTS = (
    "ready",
    "session.created",
    "chat.message",
    "session.status",
    "session.error",
    "tool.execute.before",
    "permission.asked",
    "permission.replied",
    "question.asked",
    "question.replied",
    "question.rejected",
)
_PLAIN: Mapping[str, SignalKind] = {
    "ready": "idle",
    "tool.execute.before": "working",
    "permission.replied": "working",
    "question.replied": "working",
    "question.rejected": "working",
}
_PLUGIN = """\
// Written by Holdfast: tells its daemon what opencode does, and changes nothing of that.
import { spawn } from "node:child_process"

const HOOK = %(hook)s
const TOLD = new Set(%(told)s)
// Sessions of subagents: what they do is the work of the session that the terminal shows.
const within = new Set()
const status = new Map()
let turn = Promise.resolve()

function tell(event, payload) {
  turn = turn.then(() => new Promise((done) => {
    const bound = setTimeout(done, 2000)
    const end = () => { clearTimeout(bound); done() }
    const child = spawn(HOOK[0], [...HOOK.slice(1), "opencode", event], { stdio: ["pipe", "ignore", "ignore"] })
    child.on("error", end)
    child.on("close", end)
    child.stdin.on("error", () => {})
    child.stdin.end(JSON.stringify(payload))
  }))
}

export const Holdfast = async () => {
  tell("ready", {})
  return {
    "chat.message": async (input, output) => {
      if (within.has(input.sessionID)) return
      const parts = output.parts.filter((part) => part.type === "text" && !part.synthetic)
      tell("chat.message", { sessionID: input.sessionID, text: parts.map((part) => part.text).join("\\n") })
    },
    "tool.execute.before": async (input, output) => {
      if (within.has(input.sessionID)) return
      tell("tool.execute.before", { sessionID: input.sessionID, tool_name: input.tool, tool_input: output.args })
    },
    event: async ({ event }) => {
      if (!TOLD.has(event.type)) return
      const about = event.properties ?? {}
      const session = about.sessionID ?? about.info?.id
      if (event.type === "session.created" && about.info?.parentID) within.add(session)
      const asks = event.type.startsWith("permission.") || event.type.startsWith("question.")
      if (within.has(session) && !asks) return
      if (event.type === "session.status") {
        const now = JSON.stringify(about.status)
        if (status.get(session) === now) return
        status.set(session, now)
      }
      tell(event.type, within.has(session) ? { ...about, sessionID: undefined } : about)
    },
  }
}
"""


def _plan(start: Start) -> Plan:
    plugin = start.home / "opencode-plugin.js"
    told = [event for event in _EVENTS if event not in {"ready", "chat.message", "tool.execute.before"}]
    script = _PLUGIN % {"hook": json.dumps(start.hook), "told": json.dumps(told)}
    word, typed = carried.said(start)
    if start.resume is not None and word is not None:
        word, typed = None, word  # with a conversation it does not look at `--prompt`
    argv = (
        *carried.program(start, "opencode"),
        *(("--session", start.resume) if start.resume is not None else ()),
        *carried.model(start, "--model"),
        *carried.further(start),
        *((f"--prompt={word}",) if word is not None else ()),
    )
    return Plan(
        argv=argv,
        # Joined with the user's own configuration, plugins with plugins.
        env={"OPENCODE_CONFIG_CONTENT": json.dumps({"plugin": [plugin.as_uri()]})},
        files={plugin: script.encode()},
        conversation=start.resume,
        typed=typed,
    )


def _read(event: str, payload: Mapping[str, Any]) -> Heard:
    info = payload.get("info")
    named = carried.texts(info, "id") if event == "session.created" and isinstance(info, Mapping) else ""
    conversation = carried.texts(payload, "sessionID") or named or None
    match event:
        case "chat.message":
            return Heard("working", conversation, carried.texts(payload, "text"))
        case "session.status":
            return _stood(payload.get("status"), conversation)
        case "session.error":
            error = payload.get("error")
            return Heard(None, conversation, None, carried.texts(error, "name") if isinstance(error, Mapping) else "")
        case "permission.asked":
            patterns = payload.get("patterns")
            about = ", ".join(str(one) for one in patterns) if isinstance(patterns, list) else ""
            detail = f"{carried.texts(payload, 'permission')}: {about}"[:300]
            return Heard("blocked", conversation, None, detail)
        case "question.asked":
            return Heard("waiting_input", conversation, None, carried.asked(payload))
        case _:
            return Heard(_PLAIN.get(event), conversation, None, carried.used(payload))


def _stood(status: Any, conversation: str | None) -> Heard:
    """It is busy, idle, or waits to ask its model again, which is work that does not get on."""
    if not isinstance(status, Mapping):
        return Heard(None, conversation)
    kind: SignalKind = "idle" if status.get("type") == "idle" else "working"
    return Heard(kind, conversation, None, carried.texts(status, "message")[:500])


OPENCODE = Agent(
    name="opencode",
    doc=(
        "opencode. A plugin of the session, named in OPENCODE_CONFIG_CONTENT beside the user's own configuration, "
        "tells what it does. It chooses the id of its conversation; a resumed one is told by typing. It writes a "
        "file `opencode` into the repository's git folder, which is its own doing."
    ),
    standing="verified",
    binary="opencode",
    install="npm install -g opencode-ai, then run `opencode auth login`.",
    plan=_plan,
    resumes=True,
    speaks="hooks",
    read=_read,
    events=_EVENTS,
    input=Input(
        ready=re.compile(r"^\s*╹▀{8,}"),
        dialog=re.compile(r"^\s*┃\s+(△ Permission required|Allow once\s+Allow always|↑↓ select|⇆ (select|tab)\b)"),
        pasted=re.compile(r"\[Pasted ~\d+ lines\]"),
    ),
)
