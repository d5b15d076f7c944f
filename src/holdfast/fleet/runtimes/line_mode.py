"""Whether a terminal hands on what is typed key by key, or gathers it into lines first and cuts the long ones."""

from __future__ import annotations

import os
import termios

#: Bytes of a line that the kernel keeps for a program that reads lines (4,095 without the line's end), less the marks
#: that may stand around a paste. What is longer than that is lost without a word.
LINE = 4_095 - len(b"\x1b[200~\x1b[201~")
_FLAGS = 3


def reads_lines(path: str) -> bool:
    """Whether the terminal at this path gathers lines now; one that cannot be asked counts as not. Blocks briefly."""
    try:
        terminal = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return bool(termios.tcgetattr(terminal)[_FLAGS] & termios.ICANON)
    except termios.error:
        return False
    finally:
        os.close(terminal)
