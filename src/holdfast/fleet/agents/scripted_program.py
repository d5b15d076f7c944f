"""The program of the scripted agent: a terminal program that behaves as coding agents do, as a script tells it.

Run alone, by the standard library: `python -I -S -E scripted_program.py --home FOLDER ...`. What it is given it notes,
exactly, in `<home>/journal.jsonl`; what it remembers is in `<home>/conversations/`.
"""

from __future__ import annotations

import json
import os
import sys
import time

TYPE_CHECKING = False  # `typing` would double the time that this takes to start
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

    from holdfast.fleet.agents.scripted_steps import STEPS, Script, ScriptError, Step
    from holdfast.fleet.agents.scripted_terminal import Terminal
    from holdfast.fleet.signals import hook
else:
    # The package is not loaded, which would cost far more: the files beside this one are enough, by their own names.
    _HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - no `pathlib` here either
    sys.path += [_HERE, os.path.join(os.path.dirname(_HERE), "signals")]  # noqa: PTH118, PTH120
    import hook
    from scripted_steps import STEPS, Script, ScriptError, Step
    from scripted_terminal import Terminal

#: The exit status of a resumption of a conversation that nobody knows.
UNKNOWN_CONVERSATION = 3
BAD_SCRIPT = 2
_LOOK_SECONDS = 0.005


class Interrupted(Exception):
    """A person pressed the key that ends the turn."""


class Actor:
    """The agent: its terminal, what it was given, and what its script has set."""

    def __init__(self, given: dict[str, str]) -> None:
        self.given = given
        self.terminal = Terminal()
        self.launch = int(os.environ.get("HOLDFAST_LAUNCH") or 0)
        self.silent = False
        self.lost: dict[str, int] = {}
        self.swallows = 0
        #: Messages that were submitted while it was busy.
        self.waiting: list[str] = []

    # --- what it writes down, and says ---------------------------------------------------------------------------

    def path(self, name: str) -> str:
        """A file that the script names; below home unless it is absolute."""
        return os.path.join(self.given["home"], name)  # noqa: PTH118

    def note(self, kind: str, **more: Any) -> None:
        """A line of the journal."""
        line = json.dumps({"kind": kind, "launch": self.launch, "seq": hook.now(), **more})
        _append(self.path("journal.jsonl"), line)

    def remember(self, role: str, text: str) -> None:
        """A line of the conversation."""
        _append(_conversation(self.given), json.dumps({"role": role, "text": text}))

    def tell(self, event: str, payload: dict[str, str], launch: int | None = None) -> None:
        """Call the hook; the very function that real agents reach as a program, without a process in between."""
        if self.silent:
            return
        if self.lost.get(event, 0) > 0:
            self.lost[event] -= 1
            self.note("lost", event=event)
            return
        environ = {**os.environ, "HOLDFAST_LAUNCH": str(self.launch if launch is None else launch)}
        said = {"conversation": self.given["conversation"], **payload}
        command = json.loads(self.given.get("hook") or "[]")
        if not command or command[-1].endswith("/hook.py"):
            hook.tell("scripted", event, said, environ, hook.now())
            return
        import subprocess  # noqa: PLC0415 - only where the hook is another program

        words = [*command, "scripted", event]
        subprocess.run(words, input=json.dumps(said).encode(), env=environ, check=False, timeout=30)  # noqa: S603

    def leave(self, status: int) -> NoReturn:
        """End."""
        self.note("exit", status=status)
        self.terminal.close()
        sys.exit(status)

    # --- what it is given ----------------------------------------------------------------------------------------

    def rest(self, seconds: float) -> None:
        """Let time pass; what is typed meanwhile waits."""
        end = time.monotonic() + seconds
        while True:
            self._pump(max(0.0, end - time.monotonic()))
            if time.monotonic() >= end:
                return

    def until(self, so: Callable[[], bool]) -> None:
        """Let time pass until this is so."""
        while not so():
            self._pump(_LOOK_SECONDS)

    def message(self) -> str:
        """The next message, as soon as there is one."""
        while not self.waiting:
            if self.terminal.closed:
                self.leave(0)
            self._pump(3600)
        return self.waiting.pop(0)

    def take(self, text: str, kind: str = "message", **more: str) -> None:
        """A message has reached the agent."""
        self.note(kind, text=text, **more)
        self.remember("notice" if kind == "notice" else "user", text)
        self.terminal.say("» " + "\n  ".join(text[:2000].split("\n")))
        self.tell("submit", {"prompt": text})

    def dialog(self, tool: str, path: str) -> None:
        """Ask for a permission: what is typed now is the answer."""
        self.terminal.dialog, answer, answered = tool, "", False
        self.terminal.draw()
        self.tell("permission", {"tool": tool})
        while not answered and not (path and os.path.exists(self.path(path))):  # noqa: PTH110
            if self.terminal.closed:
                self.leave(0)
            for key, text in self.terminal.keys(_LOOK_SECONDS if path else 3600):
                self.note("typed_into_dialog", tool=tool, key=key, text=text)
                answered = answered or key in {"enter", "escape", "interrupt"}
                answer += text
        self.note("dialog", tool=tool, answer=answer, answered=answered)
        self.terminal.dialog = None
        allowed = not answered or answer.strip().lower() in {"", "y", "yes"}
        self.terminal.say(f"{tool}: {'allowed' if allowed else 'denied'}")
        self.tell("resolved", {"tool": tool})

    def _pump(self, seconds: float) -> None:
        for key, text in self.terminal.keys(seconds):
            self._key(key, text)

    def _key(self, key: str, text: str) -> None:
        terminal = self.terminal
        match key:
            case "text":
                terminal.box += text
            case "back":
                terminal.box = terminal.box[:-1]
            case "clear" | "escape":
                terminal.box = ""
            case "enter" if self.swallows > 0:
                self.swallows -= 1
                self.note("swallowed", text=terminal.box)
            case "enter" if terminal.box:
                self.waiting.append(terminal.box)
                terminal.box = ""
            case "interrupt":
                self.note("interrupted")
                raise Interrupted
            case "end" if not terminal.box:
                self.tell("end", {"reason": "end of input"})
                self.leave(0)
        terminal.draw()

    # --- its life ------------------------------------------------------------------------------------------------

    def turn(self, steps: Sequence[Step]) -> None:
        """Do what the script says, then wait."""
        try:
            for name, rest in steps:
                STEPS[name](self, rest)
        except Interrupted:
            self.terminal.say("interrupted")
        self.remember("agent", "done")
        self.tell("stop", {})


def _append(path: str, line: str) -> None:
    opened = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(opened, line.encode("utf-8", "surrogatepass") + b"\n")
    finally:
        os.close(opened)


def _conversation(given: dict[str, str]) -> str:
    return os.path.join(given["home"], "conversations", f"{given['conversation'].replace('/', '_')}.jsonl")  # noqa: PTH118


def _text_of(path: str) -> str:
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read().decode("utf-8", "surrogatepass")


def _first_text(given: dict[str, str]) -> str | None:
    if "prompt-file" in given:
        return _text_of(given["prompt-file"])
    # As bytes: what the locale says of them does not matter.
    return os.fsencode(given["prompt"]).decode("utf-8", "surrogateescape") if "prompt" in given else None


def _remembered(given: dict[str, str]) -> list[dict[str, str]]:
    """What was said so far: nothing in a new conversation."""
    path = _conversation(given)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120
    if "resume" not in given:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        return []
    try:
        return [json.loads(line) for line in _text_of(path).splitlines()]
    except FileNotFoundError:
        sys.stderr.write(f"No conversation {given['conversation']} is known here.\n")
        sys.exit(UNKNOWN_CONVERSATION)


def _given(words: Sequence[str]) -> dict[str, str]:
    given = {name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)}
    if "resume" in given:
        given["conversation"] = given["resume"]
    return given


def _live(actor: Actor, script: Script, turns: int) -> NoReturn:
    text, resumed = _first_text(actor.given), "resume" in actor.given
    for name, rest in script.start:
        STEPS[name](actor, rest)
    actor.terminal.open()
    source = "resume" if resumed else "startup"
    actor.note("start", source=source, conversation=actor.given["conversation"], pid=os.getpid())
    actor.tell("start", {"source": source, "prompted": "" if text is None else "yes"})
    if text is not None:
        actor.take(text, kind="notice" if resumed else "prompt")
        actor.turn((script.resume or script.every) if resumed else script.turn(turns))
        turns += not resumed
    while True:
        try:
            actor.take(actor.message())
        except Interrupted:
            continue
        actor.turn(script.turn(turns))
        turns += 1


def main(words: Sequence[str]) -> NoReturn:
    """Be the agent, until the end."""
    given = _given(words)
    actor = Actor(given)
    said = _remembered(given)
    try:
        script = Script(_text_of(given["script"]) if given.get("script") else "")
    except (ScriptError, OSError) as error:
        sys.stderr.write(f"The script {given['script']} cannot be read: {error}\n")
        sys.exit(BAD_SCRIPT)
    turns = [line["text"] for line in said if line["role"] == "user"]
    if "resume" in given:
        actor.terminal.say(f"I remember {len(turns)} messages; the last is: {(turns or [''])[-1][:200]}")
    _live(actor, script, len(turns))


if __name__ == "__main__":
    main(sys.argv[1:])
