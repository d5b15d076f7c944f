"""Joins a holder from a person's own terminal: what the agent shows comes here, what is typed here goes there."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import termios
import tty

from holdfast.fleet.runtimes.holder import wire

#: Ctrl-] leaves, as it does in telnet: agents have no use for it.
_LEAVE = b"\x1d"
#: Leaves whatever modes the agent has set in this terminal: its page, its mouse, its pastes, its colours.
_TIDY = b"\x1b[?1049l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1004l\x1b[?2004l\x1b[?25h\x1b[<u\x1b[0m\r\n"
_READ = 65_536


def attach(path: str) -> int:
    """Stay until Ctrl-] or the end of the holder; the exit status for the shell."""
    if not (os.isatty(0) and os.isatty(1)):
        sys.stderr.write("Joining an agent needs a terminal on both ends of this command.\n")
        return 2
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(path)
    except OSError as error:
        sys.stderr.write(f"The holder of this agent cannot be reached at {path}: {error.strerror}.\n")
        return 1
    if wire.peer(connection)[1] != os.geteuid():
        sys.stderr.write(f"What listens at {path} belongs to another user.\n")
        return 1
    before = termios.tcgetattr(0)
    sys.stdout.write("Joined; Ctrl-] leaves, and the agent goes on.\n")
    sys.stdout.flush()
    try:
        tty.setraw(0)
        _stay(connection)
    finally:
        os.write(1, _TIDY)
        termios.tcsetattr(0, termios.TCSAFLUSH, before)
    return 0


def _stay(connection: socket.socket) -> None:
    resized, resizes = os.pipe()
    os.set_blocking(resizes, False)
    signal.signal(signal.SIGWINCH, lambda *_: os.write(resizes, b"!"))
    connection.sendall(wire.frame(wire.ATTACH, _size()))
    inbox = bytearray()
    while True:
        ready, _, _ = select.select([0, connection.fileno(), resized], [], [])
        if resized in ready:
            os.read(resized, _READ)
            connection.sendall(wire.frame(wire.RESIZE, _size()))
        if 0 in ready:
            typed = os.read(0, _READ)
            kept, left, _ = typed.partition(_LEAVE)
            if kept:
                connection.sendall(wire.frame(wire.INPUT, kept))
            if left or not typed:
                return
        if connection.fileno() in ready:
            data = connection.recv(_READ)
            if not data:
                return
            inbox += data
            for kind, payload in wire.take(inbox):
                if kind == wire.OUTPUT:
                    _show(payload)


def _show(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def _size() -> bytes:
    size = os.get_terminal_size(1)
    return b"%d %d" % (size.columns, size.lines)
