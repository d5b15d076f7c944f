"""Starts a holder: takes the name, leaves the daemon behind, and lets the agent go once its identity is on the disk.

The agent's process waits until then. A death at any instruction leaves either nothing, or an agent that can be found.
"""

# ruff: noqa: PTH110, PTH123, PTH208 - pathlib takes longer to load than all that a holder does before its agent runs

from __future__ import annotations

import fcntl
import os
import signal
import sys
import termios
from contextlib import suppress

from holdfast.fleet.runtimes.holder import files, wire
from holdfast.fleet.runtimes.holder.hold import Holder, Terms
from holdfast.fleet.runtimes.holder.record import Recorder

_IUTF8 = 0o40000
#: What Python ignores, and an agent should find as everybody else does.
_IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)
#: A holder has no terminal to hang up, and goes on whatever somebody types elsewhere.
_DEAF = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1)


class Order:
    """What to run, and where everything is; it comes over a pipe, for it holds secrets."""

    def __init__(self, given: list[bytes]) -> None:
        """`given` are the words that say it; the socket's path comes a second time, as JSON."""
        place, path, path_json, columns, rows, self.cwd, self.program, count, *rest = given
        self.terms = Terms(os.fsdecode(place), os.fsdecode(path), int(columns), int(rows))
        self.socket_json = path_json.decode()
        self.argv = rest[: int(count)]
        self.env = dict(zip(rest[int(count) :: 2], rest[int(count) + 1 :: 2], strict=True))


def start() -> None:
    """Be a starter, and then, in a process of its own, the holder."""
    _close_others()
    given = wire.read_words(0)
    if given is None:
        return
    order = Order(given)
    given.clear()
    place = order.terms.place
    held = files.lock(place + files.LOCK)
    if held is None or os.path.exists(place + files.PLACE):
        os.write(1, wire.TAKEN)
        return
    os.write(1, wire.LOCKED)
    recording = wire.read_words(0)
    if recording is None:  # the daemon is gone, or has thought better of it
        files.remove(place + files.LOCK)
        return
    if os.fork():
        os._exit(0)
    os.setsid()
    status = 1
    try:
        status = _hold(order, Recorder(os.fsdecode(recording[0]), int(recording[1])))
    finally:
        if status:
            _mourn(place)
        os._exit(status)


def _close_others() -> None:
    """Keep nothing of the daemon's open but the pipes: some of its event loops give their programs more than that."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:  # noqa: PLR2004 - the standard three
            with suppress(OSError):  # that of the listing itself is closed already
                os.close(int(name))


def _mourn(place: str) -> None:
    """Leave behind what a holder died of."""
    import traceback  # noqa: PLC0415 - large, and needed when all is lost only

    words = traceback.format_exc().encode()
    for tell in (lambda: os.write(2, words), lambda: files.write(place + files.BROKEN, words)):
        with suppress(OSError):
            tell()


def _hold(order: Order, recorder: Recorder) -> int:
    with open("/proc/self/comm", "wb") as comm:
        comm.write(b"holdfast-holder")
    for number in _DEAF:
        signal.signal(number, signal.SIG_IGN)
    terms = order.terms
    master, slave = os.openpty()
    _prepare(slave, terms)
    listener = wire.listen(terms.socket)
    go, let = os.pipe()
    failed, fails = os.pipe()
    agent = os.fork()
    if not agent:
        os.close(let)
        _become(order, slave, go, fails)
    os.close(fails)
    os.close(go)
    me, it = files.identity(os.getpid()), files.identity(agent)
    held = f'{{"version":1,"socket":{order.socket_json},"holder":{me},"agent":{it}}}\n'
    files.write(terms.place + files.PLACE, held.encode())
    os.write(let, b"!")
    why = os.read(failed, 4096)
    if why:
        os.waitpid(agent, 0)
        for path in (terms.socket, terms.place + files.PLACE, terms.place + files.LOCK):
            files.remove(path)
        _answer(wire.REFUSED + why)
        return 0
    os.close(let)
    os.close(failed)
    order.env.clear()  # it is the agent's alone
    holder = Holder(terms, (master, slave), agent, listener, recorder)
    _answer(wire.DONE)
    holder.run()
    return 0


def _answer(words: bytes) -> None:
    """Tell the daemon, if it is still there, and let go of everything that was its own."""
    with suppress(OSError):
        os.write(1, words)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.close(nothing)
    os.chdir("/")


def _prepare(slave: int, terms: Terms) -> None:
    size = terms.rows.to_bytes(2, sys.byteorder) + terms.columns.to_bytes(2, sys.byteorder) + bytes(4)
    fcntl.ioctl(slave, termios.TIOCSWINSZ, size)
    modes = termios.tcgetattr(slave)
    modes[0] |= _IUTF8
    termios.tcsetattr(slave, termios.TCSANOW, modes)


def _become(order: Order, slave: int, go: int, fails: int) -> None:
    """Be the agent, once the holder says so; never returns."""
    try:
        for number in (*_IGNORED, *_DEAF):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        os.chdir(order.cwd)
        for standard in (0, 1, 2):
            os.dup2(slave, standard)
        if os.read(go, 1):
            os.execve(order.program, order.argv, order.env)  # noqa: S606 - no shell is wanted
    except OSError as error:
        os.write(fails, str(error.errno or 0).encode())
    finally:
        os._exit(127)
