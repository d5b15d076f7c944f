"""The agent `command`: any program at all, known by its output alone unless it says more by `holdfast hook`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, get_args

from holdfast.core.errors import Invalid
from holdfast.fleet.agents.declare import SIGNAL_KINDS, Agent, Heard, Input, Plan, SignalKind, Start

PROMPT = "{prompt}"
#: How the prompt reaches the program: typed into its terminal, as a word of its command line, or not at all.
WAYS = ("typed", "argument", "none")
#: The kernel takes no longer word; what is longer is typed.
ARGUMENT_BYTES = 100_000


def words_of(options: Mapping[str, Any]) -> tuple[str, ...]:
    """The option `command` as words: a list as it is, a text split as a shell splits it."""
    command = options.get("command")
    words: tuple[Any, ...] = ()
    match command:
        case None:
            return words
        case str():
            try:
                words = tuple(shlex.split(command))
            except ValueError as error:
                message = f"The option command {command[:200]!r} cannot be split into words: {error}."
                raise Invalid(message, field="options.command") from None
        case list() | tuple():
            words = tuple(command)
        case _:
            pass
    if not words or not words[0] or not all(isinstance(word, str) and "\0" not in word for word in words):
        message = f"The option command {str(command)[:200]!r} is no command: give a text, or a list of texts."
        raise Invalid(message, field="options.command")
    return words


def carries(text: str) -> bool:
    """Whether a word of a command line can be this text; half of a surrogate pair is no text to the kernel either."""
    try:
        return "\0" not in text and len(text.encode()) <= ARGUMENT_BYTES
    except UnicodeEncodeError:
        return False


def _way(options: Mapping[str, Any], words: tuple[str, ...]) -> str:
    chosen = options.get("prompt", "argument" if any(PROMPT in word for word in words) else "typed")
    if chosen not in WAYS:
        message = f"The option prompt is {str(chosen)[:80]!r}; it can be {', '.join(WAYS)}."
        raise Invalid(message, field="options.prompt")
    return str(chosen)


def _plan(start: Start) -> Plan:
    words = words_of(start.options)
    if not words:
        message = 'The agent "command" needs the option command: what is to be run, such as ["my-agent", "--fast"].'
        raise Invalid(message, field="options.command")
    text = start.prompt if start.prompt is not None else start.notice
    way = _way(start.options, words)
    if way != "argument":
        return Plan(argv=words, typed=text if way == "typed" else None)
    said = text or ""
    if not carries(said):
        message = (
            f"A prompt of more than {ARGUMENT_BYTES} bytes, or with a null byte, is no word of a command line. "
            'Shorten it, or set the option prompt to "typed".'
        )
        raise Invalid(message, field="prompt")
    placed = any(PROMPT in word for word in words[1:])
    argv = tuple(word.replace(PROMPT, said) for word in words[1:])
    return Plan(argv=(words[0], *argv, *(() if placed or not said else (said,))))


def _read(event: str, payload: Mapping[str, Any]) -> Heard:
    if event not in get_args(SignalKind):
        return Heard()
    kind: SignalKind = next(kind for kind in SIGNAL_KINDS if kind == event)
    texts = {name: payload.get(name) for name in ("conversation", "submitted", "detail")}
    found = {name: text for name, text in texts.items() if isinstance(text, str)}
    return Heard(kind, found.get("conversation"), found.get("submitted"), found.get("detail", ""))


COMMAND = Agent(
    name="command",
    doc=(
        "Any program. The option `command` says what is run, `prompt` whether the prompt is typed, put where "
        "`{prompt}` stands on the command line, or kept back. It may say more of itself: `holdfast hook command idle`."
    ),
    standing="declared",
    binary=None,
    install="Install the program yourself and name it in the option `command`.",
    plan=_plan,
    resumes=False,
    speaks="output",
    read=_read,
    events=SIGNAL_KINDS,
    input=Input(while_working=True),  # terminals keep what is typed ahead
)
