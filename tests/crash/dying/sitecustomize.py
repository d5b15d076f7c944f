"""Put first on the path of a process, lets it die once at each fault point of a list, as often as it is allowed to.

DIE_AT names a folder: `points` are those that nobody has died at yet, `allowed` has a byte for each death to come.
"""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.core import faults


def _die_once(name: str) -> None:
    points, allowed = _folder / "points", _folder / "allowed"
    left = points.read_text(encoding="utf-8").split()
    deaths = allowed.read_text(encoding="utf-8")
    if name in left and deaths:
        allowed.write_text(deaths[1:], encoding="utf-8")
        points.write_text("\n".join(each for each in left if each != name), encoding="utf-8")
        os._exit(faults.DIED)


if "DIE_AT" in os.environ:
    _folder = Path(os.environ["DIE_AT"])
    faults._armed["*"] = faults._Armed(lambda: None)  # so that points look at all
    faults._hit = _die_once
