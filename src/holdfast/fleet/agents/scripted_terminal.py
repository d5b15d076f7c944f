"""The terminal of the scripted agent: an input box that takes typing and bracketed pastes, lines above it, a dialog."""

from __future__ import annotations

import codecs
import os
import select
import termios
import tty

TYPE_CHECKING = False  # `typing` would double the time that the agent takes to start
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PASTE_ON, _PASTE_OFF = b"\x1b[?2004h", b"\x1b[?2004l"
_PASTE_BEGIN, _PASTE_END = b"\x1b[200~", b"\x1b[201~"
_CLEAR_LINE = "\r\x1b[K"
_ESCAPE = 0x1B
#: How long an escape byte may stand alone before it is the key and not the begin of a sequence.
_ESCAPE_SECONDS = 0.05
#: A longer text, or one of several lines, is shown by its size.
_SHOWN = 120
_KEYS = {0x0D: "enter", 0x03: "interrupt", 0x04: "end", 0x15: "clear", 0x7F: "back", 0x08: "back"}


class Keyboard:
    """Turns the bytes of a terminal into keys and texts. Reads nothing itself."""

    def __init__(self) -> None:
        self._raw = bytearray()
        self._pasted: bytearray | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def waits(self) -> bool:
        """Whether what has come may be the begin of more."""
        return self._pasted is None and self._raw[:1] == b"\x1b"

    def feed(self, data: bytes) -> Iterator[tuple[str, str]]:
        """What these bytes come to: (`text` or the key, the text)."""
        self._raw += data
        while self._raw:
            taken = self._paste() if self._pasted is not None else self._plain()
            if taken is None:
                return
            if taken[0]:
                yield taken

    def alone(self) -> Iterator[tuple[str, str]]:
        """Nothing more came: an escape byte was the key."""
        if self.waits:
            del self._raw[0]
            yield "escape", ""
            yield from self.feed(b"")

    def _paste(self) -> tuple[str, str] | None:
        assert self._pasted is not None
        end = self._raw.find(_PASTE_END)
        if end < 0:
            keep = len(self._raw) - len(_PASTE_END) + 1
            if keep > 0:
                self._pasted += self._raw[:keep]
                del self._raw[:keep]
            return None
        whole = bytes(self._pasted + self._raw[:end])
        del self._raw[: end + len(_PASTE_END)]
        self._pasted = None
        # Terminals and multiplexers send the line feeds of a paste as carriage returns.
        return "text", whole.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")

    def _plain(self) -> tuple[str, str] | None:
        first = self._raw[0]
        if first == _ESCAPE:
            return self._sequence()
        if first in _KEYS:
            del self._raw[0]
            return _KEYS[first], ""
        end = next((at for at, byte in enumerate(self._raw) if byte == _ESCAPE or byte in _KEYS), len(self._raw))
        text = self._decoder.decode(bytes(self._raw[:end]))
        del self._raw[:end]
        return "text" if text else "", text

    def _sequence(self) -> tuple[str, str] | None:
        if self._raw.startswith(_PASTE_BEGIN):
            del self._raw[: len(_PASTE_BEGIN)]
            self._pasted = bytearray()
            return "", ""
        if len(self._raw) == 1:
            return None
        if self._raw[1] != ord("["):
            del self._raw[0]
            return "escape", ""
        end = next((at for at, byte in enumerate(self._raw[2:], 2) if 0x40 <= byte <= 0x7E), -1)  # noqa: PLR2004 - ECMA-48
        if end < 0:
            return None
        del self._raw[: end + 1]
        return "", ""


class Terminal:
    """The screen: lines that scroll, and below them the input box or a dialog."""

    def __init__(self, source: int = 0, target: int = 1) -> None:
        self._source, self._target = source, target
        self._keyboard = Keyboard()
        self._modes: list[object] | None = None
        self._shown = False
        self._pastes = 0
        self.box = ""
        #: What the dialog that is open asks.
        self.dialog: str | None = None
        self.closed = False

    def open(self) -> None:
        """Take the terminal over and show the box."""
        if os.isatty(self._source):
            self._modes = termios.tcgetattr(self._source)
            tty.setraw(self._source, termios.TCSANOW)
            modes = termios.tcgetattr(self._source)
            modes[1] |= termios.OPOST | termios.ONLCR
            termios.tcsetattr(self._source, termios.TCSANOW, modes)
        self._write(_PASTE_ON)
        self._shown = True
        self.draw()

    def close(self) -> None:
        """Give the terminal back as it was."""
        self._write(_PASTE_OFF + b"\r\n")
        if self._modes is not None:
            termios.tcsetattr(self._source, termios.TCSANOW, self._modes)  # type: ignore[arg-type]

    def keys(self, seconds: float) -> list[tuple[str, str]]:
        """What is typed or pasted within this time; returns with the first of it."""
        wait = min(seconds, _ESCAPE_SECONDS) if self._keyboard.waits else seconds
        if self.closed:
            select.select((), (), (), wait)
            return []
        if not select.select((self._source,), (), (), max(0.0, wait))[0]:
            return list(self._keyboard.alone())
        try:
            data = os.read(self._source, 1 << 16)
        except OSError:
            data = b""  # the other side of the terminal is gone
        self.closed = not data
        return list(self._keyboard.feed(data))

    def say(self, text: str) -> None:
        """Lines above the box."""
        clear = _CLEAR_LINE if self._shown else ""
        self._write(f"{clear}{_harmless(text)}\n".encode("utf-8", "replace"))
        self.draw()

    def draw(self) -> None:
        """The box as it is now, or the dialog in its place."""
        if self._shown:
            below = f"> {self._in_box()}" if self.dialog is None else f"? Allow {self.dialog} [y/n] "
            self._write(f"{_CLEAR_LINE}{below}".encode("utf-8", "replace"))

    def flood(self, count: int, pause: Callable[[], None]) -> None:
        """Lines of this many bytes, as fast as they are taken."""
        line = (b"flood " * 17)[:99] + b"\n"
        block = line * 640
        while count > 0:
            self._write(block[:count])
            count -= len(block)
            pause()
        self.draw()

    def _in_box(self) -> str:
        if "\n" in self.box or len(self.box) > _SHOWN:
            return f"[Pasted text: {len(self.box)} characters, {self.box.count(chr(10)) + 1} lines]"
        return _harmless(self.box)

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self._target, left) :]


def _harmless(text: str) -> str:
    return "".join(char if char >= " " or char in "\n\t" else "?" for char in text.replace("\x7f", "?"))
