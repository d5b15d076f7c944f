"""The program of a holder, and of a person who joins one; run by its path, so that it starts with the least of Python.

`python -I -S -E .../holder/__main__.py hold NAME` starts a holder and reads what to run from its standard input; the
name is for people who list processes. `... attach SOCKET` joins one.
"""

from __future__ import annotations

import sys

_ABOVE = ("holdfast", "holdfast.fleet", "holdfast.fleet.runtimes", "holdfast.fleet.runtimes.holder")


def _alone() -> None:
    """Let the modules beside this file be imported without the packages above them, which load all of Holdfast."""
    folder = __file__.rpartition("/")[0]
    for name in reversed(_ABOVE):
        package = sys.modules[name] = type(sys)(name)
        package.__path__ = [folder]
        folder = folder.rpartition("/")[0]


def main() -> int:
    """Be what the first argument says."""
    if "holdfast" not in sys.modules:
        _alone()
    match sys.argv[1:]:
        case ["hold", *_]:
            from holdfast.fleet.runtimes.holder.start import start  # noqa: PLC0415 - each program loads its own part

            start()
            return 0
        case ["attach", socket]:
            from holdfast.fleet.runtimes.holder.attach import attach  # noqa: PLC0415

            return attach(socket)
        case _:
            print("usage: python -m holdfast.fleet.runtimes.holder attach SOCKET", file=sys.stderr)  # noqa: T201
            return 2


if __name__ == "__main__":
    sys.exit(main())
