"""What a script of the scripted agent can tell it to do: one function a step, and how a script is read.

A script has sections, each begun by `start:`, `resume:`, `turn:` or `every:`, of one step a line; `#` begins a comment.
`start:` is done before the input box is shown, `resume:` on the notice that a resumed agent is given, each `turn:` on
one message in order, over all launches of a conversation, and `every:` on those for which there is no `turn:` left.
"""

from __future__ import annotations

import os
import select
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.fleet.agents.scripted_program import Actor

Step = tuple[str, str]
_HEADINGS = ("start", "resume", "turn", "every")
_DEFAULT: tuple[Step, ...] = (("work", ""),)
_LEFT_SECONDS = 600.0


class ScriptError(Exception):
    """A script says something that is no step."""


class Script:
    """The steps of each section."""

    def __init__(self, text: str) -> None:
        self.start: list[Step] = []
        self.resume: list[Step] = []
        self.every: list[Step] = []
        self.turns: list[list[Step]] = []
        section = self.start
        for number, line in enumerate(text.splitlines(), 1):
            words = line.strip()
            if not words or words.startswith("#"):
                continue
            if words.removesuffix(":") in _HEADINGS and words.endswith(":"):
                section = self._section(words[:-1])
                continue
            name, _, rest = words.partition(" ")
            if name not in STEPS:
                message = f"line {number}: {name!r} is no step; known are {', '.join(STEPS)}"
                raise ScriptError(message)
            section.append((name, rest.strip()))

    def turn(self, number: int) -> list[Step]:
        """What is done on the message of this number, from 0."""
        steps = self.turns[number] if number < len(self.turns) else self.every
        return steps or list(_DEFAULT)

    def _section(self, heading: str) -> list[Step]:
        if heading == "turn":
            self.turns.append([])
            return self.turns[-1]
        return {"start": self.start, "resume": self.resume, "every": self.every}[heading]


# --- the steps ---------------------------------------------------------------------------------------------------


def _work(actor: Actor, rest: str) -> None:
    """`work [SECONDS] [LINES]`: takes this long and prints this many lines meanwhile."""
    words = rest.split()
    seconds, lines = float(words[0]) if words else 0.02, int(words[1]) if len(words) > 1 else 1
    if not lines:
        actor.rest(seconds)
    for line in range(lines):
        actor.rest(seconds / lines)
        actor.terminal.say(f"working, line {line + 1} of {lines}")


def _say(actor: Actor, rest: str) -> None:
    """`say TEXT`: prints it."""
    actor.terminal.say(rest)


def _edit(actor: Actor, rest: str) -> None:
    """`edit FILE TEXT`: adds a line to a file of the worktree."""
    name, _, text = rest.partition(" ")
    with open(name, "a", encoding="utf-8") as file:  # noqa: PTH123 - `pathlib` costs more than the agent's start
        file.write(f"{text}\n")
    actor.terminal.say(f"edited {name}")


def _commit(actor: Actor, rest: str) -> None:
    """`commit [MESSAGE]`: commits everything that has changed."""
    import subprocess  # noqa: PLC0415 - costs more than the agent's start

    own = ("-c", "user.name=Scripted", "-c", "user.email=scripted@holdfast.invalid", "-c", "commit.gpgsign=false")
    for words in (("add", "-A"), (*own, "commit", "-q", "-m", rest or "Work of the scripted agent")):
        subprocess.run(["git", *words], stdin=subprocess.DEVNULL, check=True, timeout=60)  # noqa: S603, S607
    actor.terminal.say("committed")


def _ask(actor: Actor, rest: str) -> None:
    """`ask QUESTION`: waits for the answer, which is the next message."""
    actor.terminal.say(f"question: {rest}")
    actor.tell("ask", {"question": rest})
    actor.take(actor.message(), answers=rest)


def _permit(actor: Actor, rest: str) -> None:
    """`permit TOOL [FILE]`: opens a dialog, which typing answers; it also closes when the file appears."""
    tool, _, path = rest.partition(" ")
    actor.dialog(tool, path)


def _fail(actor: Actor, rest: str) -> None:
    """`fail [STATUS]`: breaks off without a signal."""
    actor.terminal.say("fatal: the script says so")
    actor.leave(int(rest or 1))


def _exit(actor: Actor, rest: str) -> None:
    """`exit [STATUS]`: ends, and says so."""
    actor.tell("end", {"reason": "exit"})
    actor.leave(int(rest or 0))


def _die(actor: Actor, rest: str) -> None:
    """`die SIGNAL`: ends by a signal, such as KILL or SEGV."""
    actor.terminal.close()
    number = signal.Signals[f"SIG{rest}"]
    if number is not signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _hang(actor: Actor, _rest: str) -> None:
    """`hang`: works for ever and says nothing."""
    while True:
        actor.rest(3600)


def _silent(actor: Actor, _rest: str) -> None:
    """`silent`: gives no signals any more."""
    actor.silent = True


def _lose(actor: Actor, rest: str) -> None:
    """`lose EVENT [TIMES]`: the next signals of this name get lost."""
    event, _, times = rest.partition(" ")
    actor.lost[event] = int(times or 1)


def _late(actor: Actor, rest: str) -> None:
    """`late EVENT [LAUNCH]`: a hook of an earlier launch comes only now."""
    event, _, launch = rest.partition(" ")
    actor.tell(event, {"late": "yes"}, launch=int(launch or actor.launch - 1))


def _done(actor: Actor, _rest: str) -> None:
    """`done`: says that all of its work is done."""
    actor.tell("done", {})


def _swallow(actor: Actor, rest: str) -> None:
    """`swallow [TIMES]`: the next presses of Enter do nothing."""
    actor.swallows = int(rest or 1)


def _ignore(_actor: Actor, rest: str) -> None:
    """`ignore SIGNAL...`: signals such as TERM and HUP do nothing."""
    for name in rest.split():
        signal.signal(signal.Signals[f"SIG{name}"], signal.SIG_IGN)


def _flood(actor: Actor, rest: str) -> None:
    """`flood BYTES`: prints that much, as fast as it goes."""
    actor.terminal.flood(int(rest), lambda: actor.rest(0))


def _leave(actor: Actor, rest: str) -> None:
    """`leave tty|daemon [SECONDS]`: a process that keeps the terminal, or has left its session, and goes on."""
    how, _, seconds = rest.partition(" ")
    readable, writable = os.pipe()
    if os.fork() == 0:
        try:
            _left_behind(actor, how, float(seconds or _LEFT_SECONDS), (readable, writable))
        finally:
            os._exit(0)
    os.close(writable)
    os.read(readable, 1)  # its end is there when it has said which process it is
    os.close(readable)


def _left_behind(actor: Actor, how: str, seconds: float, pipe: tuple[int, int]) -> None:
    if how == "daemon":
        os.setsid()
        if os.fork() != 0:
            return
        nothing = os.open("/dev/null", os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    actor.note("left", how=how, pid=os.getpid())
    for end in pipe:
        os.close(end)
    select.select((), (), (), seconds)


def _wait(actor: Actor, rest: str) -> None:
    """`wait FILE`: goes on when the file is there, or, if it is a fifo, when somebody has written to it."""
    path = actor.path(rest)
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113 - no `pathlib` here
        opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        ready = select.poll()
        ready.register(opened, select.POLLIN)
        actor.until(lambda: bool(ready.poll(0)))
        os.close(opened)
    else:
        actor.until(lambda: os.path.exists(path))  # noqa: PTH110


def _touch(actor: Actor, rest: str) -> None:
    """`touch FILE`: makes it, so that others see how far this is."""
    os.close(os.open(actor.path(rest), os.O_WRONLY | os.O_CREAT, 0o600))


#: Every step by its name; the first line of its function says what it does.
STEPS: dict[str, Callable[[Actor, str], None]] = {
    "work": _work,
    "say": _say,
    "edit": _edit,
    "commit": _commit,
    "ask": _ask,
    "permit": _permit,
    "fail": _fail,
    "exit": _exit,
    "die": _die,
    "hang": _hang,
    "silent": _silent,
    "lose": _lose,
    "late": _late,
    "done": _done,
    "swallow": _swallow,
    "ignore": _ignore,
    "flood": _flood,
    "leave": _leave,
    "wait": _wait,
    "touch": _touch,
}
