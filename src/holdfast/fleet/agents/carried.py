"""What the plans of all real agents share: whose words start it, where its prompt goes, how its hook is written."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from holdfast.core.errors import Invalid
from holdfast.fleet.agents.command import ARGUMENT_BYTES, words_of
from holdfast.fleet.agents.declare import Start


def program(start: Start, binary: str) -> tuple[str, ...]:
    """The words that run the agent: those of the option `command`, or its own name."""
    return words_of(start.options) or (binary,)


def further(start: Start) -> tuple[str, ...]:
    """The option `arguments`: words for the agent that we do not read."""
    words = start.options.get("arguments", ())
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) and "\0" not in word for word in words):
        message = f'The option arguments is {str(words)[:80]!r}; give a list of texts, such as ["--verbose"].'
        raise Invalid(message, field="options.arguments")
    return tuple(words)


def model(start: Start, flag: str) -> tuple[str, ...]:
    """The option `model`, behind the agent's own flag for it."""
    name = start.options.get("model")
    if name is None:
        return ()
    if not isinstance(name, str) or not name or "\0" in name:
        message = f"The option model is {str(name)[:80]!r}; give the name of a model as the agent knows it."
        raise Invalid(message, field="options.model")
    return (flag, name)


def trusts(start: Start) -> bool:
    """Whether the agent is told to trust the worktree: unless the option `trust` says no."""
    chosen = start.options.get("trust", True)
    if not isinstance(chosen, bool):
        message = f"The option trust is {str(chosen)[:80]!r}; it can be true or false."
        raise Invalid(message, field="options.trust")
    return chosen


def said(start: Start) -> tuple[str | None, str | None]:
    """What the agent is told first, as (a word of its command line, a text to be typed): one of them, or neither."""
    text = start.prompt if start.resume is None else start.notice
    if not text:
        return None, None
    return (text, None) if _is_word(text) else (None, text)


def _is_word(text: str) -> bool:
    """Whether a command line can carry it."""
    try:
        return "\0" not in text and len(text.encode()) <= ARGUMENT_BYTES
    except UnicodeEncodeError:
        return False


def hooked(start: Start, agent: str, event: str) -> str:
    """The command of one hook, as a shell reads it."""
    return shlex.join((*start.hook, agent, event))


def texts(payload: Mapping[str, Any], name: str) -> str:
    """A text of a payload, empty where it is no text or not there."""
    value = payload.get(name)
    return value if isinstance(value, str) else ""


def used(payload: Mapping[str, Any]) -> str:
    """Which tool an event is about, and on what, in a few words for people."""
    tool, given = texts(payload, "tool_name"), payload.get("tool_input")
    about = ""
    if isinstance(given, Mapping):
        names = ("command", "file_path", "path", "url", "pattern", "description", "prompt")
        about = next((texts(given, name) for name in names if texts(given, name)), "")
    return ": ".join(part for part in (tool, " ".join(about.split())[:200]) if part)


def asked(payload: Mapping[str, Any]) -> str:
    """The first question that a payload's `questions` ask."""
    given = payload.get("questions")
    first = given[0] if isinstance(given, list) and given else None
    return texts(first, "question")[:500] if isinstance(first, Mapping) else ""
