"""What every runtime gives an agent, or refuses: its environment, a short folder for sockets, the checks before."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from holdfast.core.errors import Invalid
from holdfast.fleet.runtimes.port import Place, RuntimeFailed

#: What of the daemon's own environment an agent gets. Nothing else does: it may hold the daemon's secrets.
_KEPT = frozenset({
    "HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR", "EDITOR", "VISUAL", "PAGER",
    "COLORTERM", "DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK", "SSH_AGENT_PID",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS",
})  # fmt: skip
_KEPT_BEGINNINGS = ("LC_", "XDG_")
_PATH = "/usr/local/bin:/usr/bin:/bin"

#: Linux takes socket paths of 107 bytes, and what stands in the folder has names of its own.
_SOCKET_PATH, _NAME = 107, 40
#: One string of a command line or environment, with its end: the kernel takes no longer one.
_STRING = 131_072
_PRIVATE = 0o700


def environment(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment that agents start from: the person's, as far as programs need it, without what is secret."""
    source = os.environ if given is None else given
    kept = {name: value for name, value in source.items() if name in _KEPT or name.startswith(_KEPT_BEGINNINGS)}
    return {"PATH": _PATH, "HOME": str(Path("~").expanduser()), "LANG": "C.UTF-8", "SHELL": "/bin/sh"} | kept


def check(place: Place) -> None:
    """Refuse with `Invalid` what would start as something else than was meant, or not at all."""
    if not place.cwd.is_dir() or not os.access(place.cwd, os.X_OK):
        raise Invalid(f"{place.cwd} is not a folder that can be entered; the agent would have started elsewhere.")
    program = place.argv[0] if place.argv else ""
    path = place.env.get("PATH", environment()["PATH"])
    # A program with a slash in its name is looked for from the folder that the agent starts in.
    found = shutil.which(place.cwd / program) if "/" in program else shutil.which(program, path=path)
    if not program or found is None:
        raise Invalid(f"there is no program {program!r} to start; install it, or name it by its full path.")
    if "=" in program:
        raise Invalid(f"the program {program!r} has a '=' in its name; link it under another one.")
    strings = [*place.argv, *(f"{name}={value}" for name, value in place.env.items())]
    if any("\0" in each for each in strings):
        raise Invalid("a command line and an environment cannot hold the character NUL; leave it out.")
    if any(len(os.fsencode(each)) >= _STRING for each in strings):
        raise Invalid(f"one word of the command line has {_STRING} bytes or more; give such text by a file.")


def socket_folder(home: Path, store: str) -> Path:
    """The folder for the sockets of one data folder: short, private, and the same for every daemon that comes.

    It lies outside the data folder, whose path may be longer than a socket's may be. The first choice is written down
    below `home`: a daemon that is started from another login, with another XDG_RUNTIME_DIR, must find what runs.
    """
    noted = home / "sockets"
    if noted.exists():
        folder = Path(noted.read_text("utf-8").strip())
        if folder.is_dir() or folder.parent.parent.is_dir():
            return _private(folder)
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = Path(base) / "holdfast" / store[:8]
    if not base or not _own(Path(base)) or len(os.fsencode(folder)) + _NAME > _SOCKET_PATH:
        folder = Path(f"/tmp/holdfast-{os.geteuid()}") / store[:8]  # noqa: S108 - made private and checked below
    _private(folder)
    home.mkdir(parents=True, exist_ok=True, mode=_PRIVATE)
    # Several may come at once, each with a file of its own; the last name that is given is as good as the first.
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=home, prefix="sockets.", delete=False) as new:
        new.write(f"{folder}\n")
    Path(new.name).replace(noted)
    return folder


def _own(folder: Path) -> bool:
    try:
        seen = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.geteuid()


def _private(folder: Path) -> Path:
    """Make the folder and the one above it, for this user alone; somebody else's is refused, be it a link to ours."""
    for each in (folder.parent, folder):
        each.mkdir(exist_ok=True, mode=_PRIVATE)
        if not _own(each):
            raise RuntimeFailed(
                f"{each} belongs to somebody else; remove it, or set XDG_RUNTIME_DIR to a folder of yours."
            )
        if stat.S_IMODE(each.stat().st_mode) != _PRIVATE:
            each.chmod(_PRIVATE)
    return folder
