"""`holdfast hook AGENT EVENT`: tells the daemon what an agent's hook says. Alone: the standard library, no package.

An agent waits for its hooks, and some feed what a hook prints to their model. So this prints nothing, ends with 0
whatever happens, and bounds every wait. What it is told is in the session's spool file before the daemon is called:
a daemon that is down, stopped or slow loses nothing. What the spool does not take is counted in a file beside it.

A spool file is one JSON object a line. Its lines are appended under a lock that the daemon takes to empty it. A hook
that does not get the lock in time writes a file of its own beside it, and counts on nobody.
"""

from __future__ import annotations

import fcntl
import os
import select
import sys
import time

TYPE_CHECKING = False  # `typing` would cost as much as all the rest
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

#: The boot clock, whose nanoseconds put signals in order: the one of `core/clock.py`, which cannot be loaded here.
BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
#: When this process began, as near as it can tell.
_BEGUN = time.clock_gettime_ns(BOOT)

#: The largest payload that is passed on; longer texts in it are cut, and say so.
PAYLOAD_BYTES = 256 * 1024
#: The largest spool file; what comes beyond it is counted in `<spool>.dropped`, a byte each.
SPOOL_BYTES = 4 * 1024 * 1024
#: How many files of their own hooks may write while nobody gives the lock back.
ASIDE_FILES = 64
DROPPED = ".dropped"
#: What stands at the end of a text that was cut.
CUT = "…[cut: {} characters in all]"

_STDIN_BYTES = 8 * 1024 * 1024
_STDIN_FIRST, _STDIN_QUIET, _STDIN_WHOLE = 0.2, 0.025, 1.0
_LOCK_SECONDS, _LOCK_STEP = 0.04, 0.002
_POST_SECONDS = 0.05
_DEPTH = 24
_NAME = 200
_CUTS = (1 << 18, 1 << 16, 1 << 13, 1 << 10, 1 << 6, 1 << 3)
_HTTP = "http://"


def command() -> tuple[str, ...]:
    """The command by which agents reach this file: without site packages it starts in a few milliseconds."""
    return (sys.executable, "-I", "-S", "-E", os.path.abspath(__file__))  # noqa: PTH100 - `pathlib` costs too much


def now() -> int:
    """The sequence of a signal that is given now; the daemon itself reads `core/clock.py`."""
    return time.clock_gettime_ns(BOOT)


def _stamp() -> str:
    """The wall clock as it is written everywhere; the module that owns it cannot be loaded here."""
    seconds, rest = divmod(time.clock_gettime_ns(time.CLOCK_REALTIME), 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest // 1000:06d}Z"


def tell(agent: str, event: str, payload: object, environ: Mapping[str, str], seq: int) -> None:
    """Put one signal into the spool that the environment names, then to the daemon."""
    detail = _bounded(payload)
    number = environ.get("HOLDFAST_LAUNCH", "")
    launch = int(number) if number.isascii() and number.isdecimal() else 0
    head = b'{"launch":%d,"seq":%d,"event":%b,"detail":' % (launch, seq, _dump(event[:_NAME]))
    tail = b',"agent":%b,"at":%b}\n' % (_dump(agent[:_NAME]), _dump(_stamp()))
    spool = environ.get("HOLDFAST_SPOOL", "")
    if spool:
        try:
            _keep(spool, head + detail + tail, f"{launch}-{seq}")
        except OSError:
            count_dropped(spool)
    _post(environ, head + detail + b"}")


def count_dropped(spool: str) -> None:
    """Count a signal that the spool did not take; an appended byte needs no lock."""
    try:
        opened = os.open(spool + DROPPED, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(opened, b".")
        finally:
            os.close(opened)
    except OSError:
        return  # the disk is full: the daemon may still hear it by its call


# --- the spool ---------------------------------------------------------------------------------------------------


def _keep(spool: str, line: bytes, name: str) -> None:
    opened = os.open(spool, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if not _locked(opened):
            _keep_aside(spool, line, name)
            return
        size = os.fstat(opened).st_size
        if size + len(line) > SPOOL_BYTES:
            count_dropped(spool)
            return
        if size and os.pread(opened, 1, size - 1) != b"\n":
            line = b"\n" + line  # somebody's line was torn: it spoils no other
        if os.write(opened, line) != len(line):
            os.ftruncate(opened, size)
            count_dropped(spool)
    finally:
        os.close(opened)


def _locked(opened: int) -> bool:
    end = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            select.select((), (), (), _LOCK_STEP)
        else:
            return True


def _keep_aside(spool: str, line: bytes, name: str) -> None:
    """Whoever holds the lock is stopped, and may empty the spool when it goes on."""
    folder, _, stem = spool.rpartition("/")
    if sum(entry.startswith(stem + ".") for entry in os.listdir(folder)) >= ASIDE_FILES:  # noqa: PTH208 - no `pathlib`
        count_dropped(spool)
        return
    opened = os.open(f"{spool}.{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if os.write(opened, line) != len(line):
            os.ftruncate(opened, 0)
            count_dropped(spool)
    finally:
        os.close(opened)


# --- the call ----------------------------------------------------------------------------------------------------


def _post(environ: Mapping[str, str], body: bytes) -> None:
    """Tell the daemon now, if it can be reached without a name service and without TLS; else it reads the spool.

    A token goes only where it was meant to: to check a certificate takes longer than an agent should wait.
    """
    url, session, token = (environ.get(f"HOLDFAST_{name}", "") for name in ("URL", "SESSION", "TOKEN"))
    if not (url.startswith(_HTTP) and session and token and f"{url}{session}{token}".isascii()):
        return
    if not f"{url}{session}{token}".isprintable():
        return
    authority, _, path = url.removeprefix(_HTTP).partition("/")
    host, _, port = authority.rpartition(":")
    if not port.isdecimal():
        return
    prefix = f"/{path}".rstrip("/")
    head = (
        f"POST {prefix}/api/v1/sessions/{session}/signals HTTP/1.1\r\nHost: {authority}\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    try:
        _call("127.0.0.1" if host == "localhost" else host.strip("[]"), int(port), head.encode("ascii") + body)
    except (OSError, OverflowError):
        return  # it is in the spool


def _call(host: str, port: int, request: bytes) -> None:
    import _socket  # noqa: PLC0415 - only where there is a daemon to call; `socket` itself takes four times as long

    family = _socket.AF_INET6 if ":" in host else _socket.AF_INET
    _socket.inet_pton(family, host)  # a name is refused here: to look it up cannot be bounded
    end = time.monotonic() + _POST_SECONDS
    line = _socket.socket(family, _socket.SOCK_STREAM)
    try:
        line.settimeout(_POST_SECONDS)
        line.connect((host, port))
        line.settimeout(max(0.001, end - time.monotonic()))
        line.sendall(request)
        # What it answers does not matter, but that it has answered: the next hook of this agent comes after it.
        line.settimeout(max(0.001, end - time.monotonic()))
        line.recv(1)
    finally:
        line.close()


# --- the payload -------------------------------------------------------------------------------------------------


def _dump(value: object) -> bytes:
    import json  # noqa: PLC0415 - costs half of what a start does: not before the clock has been read

    # Half of a surrogate pair is no text, and would make the whole line unreadable.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _bounded(payload: object) -> bytes:
    """The payload as JSON that any reader takes: an object, of bounded size, depth and numbers."""
    whole = payload if isinstance(payload, dict) else {"value": payload}
    for limit in _CUTS:
        encoded = _dump(_cut(whole, limit, 0))
        if len(encoded) <= PAYLOAD_BYTES:
            return encoded
    return _dump({"cut": CUT.format(len(_dump(whole)))})


def _cut(value: object, limit: int, depth: int) -> Any:
    match value:
        case str() if len(value) > limit:
            return value[:limit] + CUT.format(len(value))
        case dict() | list() if depth == _DEPTH:
            return CUT.format(len(value))
        case dict():
            return {str(key)[:limit]: _cut(value[key], limit, depth + 1) for key in list(value)[:limit]}
        case list():
            return [_cut(item, limit, depth + 1) for item in value[:limit]]
        case int() if abs(value) >= 1 << 63:
            return str(value)
    return value


def parsed(raw: bytes) -> object:
    """What an agent gave as payload; what cannot be read is passed on as the text that it is."""
    import json  # noqa: PLC0415

    if not raw.strip():
        return {}
    text = raw.decode("utf-8", "replace")
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return {"unreadable": text}


def _given(descriptor: int) -> bytes:
    """What is on the standard input: until its end, or until it is a whole object and nothing more comes."""
    if os.isatty(descriptor):
        return b""
    ready = select.poll()
    ready.register(descriptor, select.POLLIN | select.POLLHUP)
    end = time.monotonic() + _STDIN_WHOLE
    got = b""
    while len(got) < _STDIN_BYTES and time.monotonic() < end:
        if ready.poll(1000 * (_STDIN_QUIET if got else _STDIN_FIRST)):
            try:
                part = os.read(descriptor, 1 << 20)
            except OSError:
                part = b""  # it is closed, or is no place to read from
            if not part:
                break
            got += part
        elif not got or (got.rstrip().endswith(b"}") and "unreadable" not in str(parsed(got))[:20]):
            break
    return got


def main(words: Sequence[str]) -> None:
    """Tell what this process was called for, and end it with 0. The payload is the third word, or standard input."""
    told = False
    try:
        if len(words) > 1:
            payload = os.fsencode(words[2]) if len(words) > 2 else _given(0)  # noqa: PLR2004 - agent, event, payload
            tell(words[0], words[1], parsed(payload), os.environ, _BEGUN)
        told = True
    finally:
        # Without a word: what the interpreter would print of an error could reach the agent's screen or its model.
        if not told and os.environ.get("HOLDFAST_SPOOL"):
            count_dropped(os.environ["HOLDFAST_SPOOL"])
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
