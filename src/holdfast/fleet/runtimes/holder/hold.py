"""The life of a holder: moves what the agent shows to the recording, the screen and its guests, and waits for its end.

One thread, no timers: it runs only when something happens. Nothing that others do or fail to do makes it wait.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import sys
import termios
from contextlib import suppress

from holdfast.fleet.runtimes.holder import files, wire
from holdfast.fleet.runtimes.holder.guests import Guest
from holdfast.fleet.runtimes.holder.keyboard import Keyboard
from holdfast.fleet.runtimes.holder.record import Recorder
from holdfast.fleet.runtimes.holder.terminal import Terminal

_READ = 65_536
#: Reads from the terminal in one turn, so that an agent that floods it lets guests be heard.
_TURNS = 16
_LAST_TURNS = 64
#: Where the local modes stand in what `tcgetattr` tells.
_FLAGS = 3
#: Guests at a time; beyond them the one that is there longest without being attached goes.
_GUESTS = 32
_BROKEN = select.EPOLLHUP | select.EPOLLERR


class Terms:
    """What a holder has to know for as long as it lives."""

    def __init__(self, place: str, socket_path: str, columns: int, rows: int) -> None:
        """`place` is where its files begin; the size is that of a terminal which nobody has joined."""
        self.place = place
        self.socket = socket_path
        self.columns = columns
        self.rows = rows


class Holder:
    """Owns the terminal of one agent."""

    def __init__(
        self, terms: Terms, ends: tuple[int, int], agent: int, listener: socket.socket, recorder: Recorder
    ) -> None:
        """`ends` are those of the terminal: ours, and the agent's."""
        master, self._slave = ends
        self.terms = terms
        self.terminal = Terminal(terms.columns, terms.rows)
        self.keyboard = Keyboard(master)
        #: How the agent ended, as JSON, once it has.
        self.ended = b""
        self._master = master
        self._agent = agent
        self._listener = listener
        self._recorder = recorder
        self._guests: dict[int, Guest] = {}
        self._epoll = select.epoll()
        self._over = False
        os.set_blocking(master, False)

    def run(self) -> None:
        """Hold until a guest says that it is over."""
        watched = os.pidfd_open(self._agent)
        waker, called = os.pipe()
        os.set_blocking(called, False)
        signal.signal(signal.SIGUSR1, lambda *_: os.write(called, b"!"))
        for descriptor in (self._master, watched, waker, self._listener.fileno()):
            self._epoll.register(descriptor, select.EPOLLIN)
        while not self._over:
            for descriptor, events in self._epoll.poll():
                if descriptor == self._master:
                    self._terminal_is_ready(events)
                elif descriptor == watched:
                    self._epoll.unregister(watched)
                    self._agent_is_gone()
                elif descriptor == waker:
                    os.read(waker, _READ)
                    self._listen_anew()
                elif descriptor == self._listener.fileno():
                    self._guest_comes()
                elif (guest := self._guests.get(descriptor)) is not None:
                    self._guest_is_ready(guest, events)
            self._settle()

    def end(self) -> None:
        """Take every trace of the place away; the lock, which says that it is held, last."""
        for path in (self.terms.socket, *(self.terms.place + suffix for suffix in (files.END, files.PLACE))):
            files.remove(path)
        files.remove(self.terms.place + files.LOCK)
        self._over = True

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size; the agent is told by the kernel."""
        size = rows.to_bytes(2, sys.byteorder) + columns.to_bytes(2, sys.byteorder) + bytes(4)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)
        self.terminal.resize(columns, rows)

    def reads_lines(self) -> bool:
        """Whether the terminal gathers what is typed into lines, and cuts the long ones."""
        try:
            return bool(termios.tcgetattr(self._master)[_FLAGS] & termios.ICANON)
        except termios.error:
            return False  # nobody has it open any more

    # --- the agent ---------------------------------------------------------------------------------------------------

    def _terminal_is_ready(self, events: int) -> None:
        if events & (select.EPOLLIN | _BROKEN):
            self._read(_TURNS)

    def _read(self, turns: int) -> None:
        """Take what the agent shows; the end of a terminal that nobody has open any more is no end of ours."""
        parts = []
        try:
            for _ in range(turns):
                parts.append(os.read(self._master, _READ))  # noqa: PERF401 - what came before an error counts
        except BlockingIOError:
            pass
        except OSError:
            self.keyboard.close()
            self._watch_terminal()
        data = b"".join(parts)
        if data:
            self._recorder.write(data)
            self.keyboard.type(self.terminal.feed(data))
            for guest in self._guests.values():
                if guest.attached:
                    guest.show(data)

    def _agent_is_gone(self) -> None:
        self._read(_LAST_TURNS)  # what it has shown last is recorded before its end is known
        self.look_for_end()
        # Open until now, so that an agent may let go of its terminal and open it again. What it started may still have
        # it; when nobody has, reading says so.
        os.close(self._slave)

    def look_for_end(self) -> None:
        """Learn how the agent ended, if it has, and bring that to the disk."""
        if self.ended:
            return
        pid, status = os.waitpid(self._agent, os.WNOHANG)
        if not pid:
            return
        code = os.waitstatus_to_exitcode(status)
        self.ended = b'{"status":%d}' % code if code >= 0 else b'{"signal":%d}' % -code
        with suppress(OSError):  # it is told to whoever asks, for as long as this process lives
            files.write(self.terms.place + files.END, self.ended)

    # --- guests ------------------------------------------------------------------------------------------------------

    def _listen_anew(self) -> None:
        """Make the socket again: somebody has taken its file, or its whole folder, away."""
        try:
            new = wire.listen(self.terms.socket)
        except OSError:
            return
        self._epoll.unregister(self._listener.fileno())
        self._listener.close()
        self._listener = new
        self._epoll.register(new.fileno(), select.EPOLLIN)

    def _guest_comes(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        if wire.peer(connection)[1] not in {os.geteuid(), 0}:
            connection.close()
            return
        for guest in list(self._guests.values())[: max(0, len(self._guests) - _GUESTS + 1)]:
            if not guest.attached:
                self._leave(guest)
        connection.setblocking(False)
        self._guests[connection.fileno()] = Guest(self, connection)
        self._epoll.register(connection.fileno(), select.EPOLLIN)

    def _guest_is_ready(self, guest: Guest, events: int) -> None:
        if events & (select.EPOLLIN | _BROKEN):
            guest.hear()

    def _leave(self, guest: Guest) -> None:
        self._epoll.unregister(guest.descriptor)
        del self._guests[guest.descriptor]
        self.keyboard.forget(guest)
        guest.connection.close()
        if guest.attached and not any(each.attached for each in self._guests.values()):
            self.resize(self.terms.columns, self.terms.rows)

    def _settle(self) -> None:
        """Write what can be written, and wait for room for the rest."""
        self.keyboard.flush()
        for guest in list(self._guests.values()):
            if not guest.flush():
                self._leave(guest)
            elif guest.waits != bool(guest.outbox):
                guest.waits = bool(guest.outbox)
                self._epoll.modify(guest.descriptor, select.EPOLLIN | (select.EPOLLOUT if guest.waits else 0))
        self._watch_terminal()

    def _watch_terminal(self) -> None:
        """Listen to the terminal for what there is to do."""
        # Registered anew only where that changes.
        wanted = 0 if self.keyboard.closed else select.EPOLLIN | (select.EPOLLOUT if self.keyboard.waits else 0)
        if wanted == self.keyboard.watched:
            return
        self.keyboard.watched = wanted
        if wanted:
            self._epoll.modify(self._master, wanted)
        else:
            self._epoll.unregister(self._master)
