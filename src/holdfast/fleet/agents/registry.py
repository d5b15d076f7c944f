"""Every agent that there is, by name, and whether this machine has it."""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Mapping
from typing import Any

from holdfast.core.errors import Invalid
from holdfast.fleet.agents.claude_code import CLAUDE_CODE
from holdfast.fleet.agents.codex import CODEX
from holdfast.fleet.agents.command import COMMAND, words_of
from holdfast.fleet.agents.declare import Agent
from holdfast.fleet.agents.gemini import GEMINI
from holdfast.fleet.agents.opencode import OPENCODE
from holdfast.fleet.agents.scripted import SCRIPTED

#: In the order in which people are shown them.
AGENTS: Mapping[str, Agent] = {known.name: known for known in (CLAUDE_CODE, CODEX, GEMINI, OPENCODE, COMMAND, SCRIPTED)}


def agent(name: str) -> Agent:
    """The agent of this name."""
    found = AGENTS.get(name)
    if found is None:
        near = difflib.get_close_matches(name, AGENTS, 1, 0.5)
        asked = f" Did you mean {near[0]!r}?" if near else ""
        message = f"There is no agent {name[:80]!r}.{asked} Known are: {', '.join(AGENTS)}."
        raise Invalid(message, field="agent")
    return found


def program(agent: Agent, options: Mapping[str, Any]) -> str | None:
    """What is to be found on the PATH: the program that the options name, or else the agent's own."""
    named = words_of(options)
    return named[0] if named else agent.binary


def installed(agent: Agent, options: Mapping[str, Any], path: str) -> str | None:
    """Where the agent's program is, on a PATH (not necessarily the daemon's own); None where it is not."""
    wanted = program(agent, options)
    return shutil.which(wanted, path=path) if wanted else None
