"""One control-mode client of a tmux server: commands pipelined in, answers matched strictly, all bounded in time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from holdfast.fleet.runtimes.port import RuntimeFailed

#: Given the answers so far, how many lines the next one has; None where its end is where it says.
Expect = Callable[[Sequence[Sequence[bytes]]], int | None]

#: The longest line that is waited for; nothing that is asked for comes near it.
_LINE = 4_194_304
#: What stands for itself inside a tmux string. Everything else of ASCII is written as its octal code.
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-+=.,:/@%^&*()[]<>?|!")
_WORDS = [chr(code) if code in _PLAIN else f"\\{code:03o}" for code in range(256)]


def quote(text: str | bytes) -> str:
    """The text as one word of a tmux command, whatever it holds but NUL."""
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    return '"' + "".join([_WORDS[code] for code in data]) + '"'


class Refused(RuntimeFailed):
    """tmux answered the command with an error."""


class Broken(RuntimeFailed):
    """The client has ended: with its server, or by itself."""


@dataclass(frozen=True, slots=True)
class Script:
    """A sequence of commands: run one after the other until one fails, each giving one answer."""

    commands: tuple[str, ...]
    #: Commands that commands of it run, such as those of `if-shell`: they answer too.
    inner: int = 0
    expect: Expect | None = None


@dataclass(eq=False)
class _Question:
    """A script that was sent, and the answers that it has got."""

    script: Script
    answer: asyncio.Future[list[list[bytes]]]
    answers: list[list[bytes]] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return len(self.answers) == len(self.script.commands) + self.script.inner


class Answers:
    """Reads what a control client says: blocks of lines between `%begin` and the `%end` or `%error` that matches it.

    Between blocks there is news that nobody here needs. An `%end` with another time or number than its `%begin` is
    text: what an agent shows on its screen may look like anything.
    """

    def __init__(self, begun: Callable[[], int | None], ended: Callable[[bool, bool, list[bytes]], None]) -> None:
        self._begun = begun
        self._ended = ended
        #: What the client said when it left, if it gave a reason.
        self.farewell = ""
        self._rest = b""
        self._mark: bytes | None = None
        self._lines: list[bytes] = []
        self._expected: int | None = None

    def feed(self, data: bytes) -> None:
        """Take in what has come."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line)
        if len(self._rest) > _LINE:
            raise RuntimeFailed("tmux sent a line without an end; the connection is not what it should be.")

    def _line(self, line: bytes) -> None:
        if self._mark is None:
            if line.startswith(b"%exit"):
                self.farewell = line[len(b"%exit ") :].decode("utf-8", "replace")
            elif line.startswith(b"%begin "):
                self._mark, self._lines = line[len(b"%begin ") :], []
                self._expected = self._begun() if self._ours else None
            return
        word, _, mark = line.partition(b" ")
        early = self._expected is not None and len(self._lines) < self._expected
        # An error comes instead of the lines that were expected, not after the first of them.
        if mark == self._mark and (
            (word == b"%end" and not early) or (word == b"%error" and (not early or len(self._lines) <= 1))
        ):
            ours, self._mark = self._ours, None
            self._ended(ours, word == b"%end", self._lines)
        else:
            self._lines.append(line)

    @property
    def _ours(self) -> bool:
        """Whether the block answers a command of this client; others are of hooks and of its own start."""
        return self._mark is not None and self._mark.endswith(b" 1")


class Control(asyncio.SubprocessProtocol):
    """A connection to a tmux server that is up. Ends with the server, with `close`, or when it breaks."""

    def __init__(self) -> None:
        self._questions: deque[_Question] = deque()
        self._answers = Answers(self._begun, self._ended)
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.SubprocessTransport | None = None
        self._input: asyncio.WriteTransport | None = None
        self._gone = asyncio.Event()
        self._moved = asyncio.Event()
        self._last_words = ""

    @classmethod
    async def connect(cls, argv: Sequence[str], env: Mapping[str, str], *, seconds: float) -> Control:
        """Start the client and wait until the server has taken it in."""
        loop = asyncio.get_running_loop()
        control = cls()
        transport, _ = await loop.subprocess_exec(
            lambda: control, *argv, env=dict(env), stderr=asyncio.subprocess.DEVNULL, start_new_session=True
        )
        control._transport = transport
        try:
            async with asyncio.timeout(seconds):
                await control._ready
        except TimeoutError:
            await control.close()
            raise RuntimeFailed(f"the tmux server took no connection within {seconds:g} s.") from None
        except BaseException:
            await control.close()
            raise
        return control

    @property
    def open(self) -> bool:
        """Whether commands can be sent."""
        return self._input is not None and not self._gone.is_set()

    async def ask(self, *commands: str, seconds: float) -> list[list[bytes]]:
        """Run a sequence of commands; the lines of each one's answer. The first that fails raises `Refused`."""
        (answers,) = await self.run(Script(commands), seconds=seconds)
        return answers

    async def run(self, *scripts: Script, seconds: float) -> list[list[list[bytes]]]:
        """Run scripts one after the other, sent at once.

        What was not answered in time may still be done when the server goes on; till then nothing more is sent to it.
        """
        asked: list[_Question] = []
        try:
            async with asyncio.timeout(seconds):
                while self._questions and self._questions[0].answer.cancelled():
                    self._moved.clear()
                    await self._moved.wait()
                asked += self._send(scripts)
                return [await question.answer for question in asked]
        except TimeoutError:
            raise RuntimeFailed(f"the tmux server did not answer within {seconds:g} s.") from None
        finally:
            for question in asked:
                question.answer.cancel()

    def _send(self, scripts: Sequence[Script]) -> list[_Question]:
        if self._input is None or not self.open:
            raise self._broken()
        loop = asyncio.get_running_loop()
        asked = [_Question(script, loop.create_future()) for script in scripts]
        self._questions += asked
        lines = "".join(" ; ".join(script.commands) + "\n" for script in scripts)
        self._input.write(lines.encode("utf-8", "surrogateescape"))
        return asked

    async def close(self) -> None:
        """End the client; the server and all in it go on."""
        if self._transport is not None and not self._gone.is_set():
            if self._input is not None:
                self._input.close()
            try:
                async with asyncio.timeout(1):
                    await self._gone.wait()
            except TimeoutError:  # of a server that hangs: the client waits for it
                self._transport.kill()
                await self._gone.wait()
        if self._transport is not None:
            self._transport.close()

    # --- what asyncio calls ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client runs."""
        # uvloop's transports behave as asyncio's without being of their classes.
        process = cast("asyncio.SubprocessTransport", transport)
        self._input = cast("asyncio.WriteTransport", process.get_pipe_transport(0))

    def pipe_data_received(self, fd: int, data: bytes) -> None:  # noqa: ARG002 - asyncio's signature
        """It said something."""
        try:
            self._answers.feed(data)
        except RuntimeFailed as error:
            self._last_words = error.message
            if self._transport is not None:
                self._transport.kill()

    def process_exited(self) -> None:
        """It ended: with its server, or by itself."""
        self._gone.set()
        self._moved.set()
        error = self._broken()
        if not self._ready.done():
            self._ready.set_exception(error)
            self._ready.exception()  # whoever connects awaits it, if it has not given up
        while self._questions:
            question = self._questions.popleft()
            if not question.answer.done():
                question.answer.set_exception(error)
                question.answer.exception()

    def _begun(self) -> int | None:
        if not self._questions or self._questions[0].script.expect is None:
            return None
        return self._questions[0].script.expect(self._questions[0].answers)

    def _ended(self, ours: bool, well: bool, lines: list[bytes]) -> None:  # noqa: FBT001 - called by the reader alone
        if not ours:
            if not self._ready.done():
                self._last_words = "" if well else _text(lines)
                if well:
                    self._ready.set_result(None)
            return
        if not self._questions:
            return
        question = self._questions[0]
        question.answers.append(lines)
        if well and not question.complete:
            return
        self._questions.popleft()
        self._moved.set()
        if question.answer.done():
            return
        if well:
            question.answer.set_result(question.answers)
        else:
            question.answer.set_exception(Refused(f"tmux refused a command: {_text(lines)}"))
            question.answer.exception()

    def _broken(self) -> Broken:
        words = self._last_words or self._answers.farewell
        reason = f": {words}" if words else ""
        return Broken(f"the connection to the tmux server is gone{reason}; it is made again when needed.")


def _text(lines: Sequence[bytes]) -> str:
    return " ".join(line.decode("utf-8", "replace") for line in lines)
