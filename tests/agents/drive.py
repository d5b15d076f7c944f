"""`make test-agents`: drives the real agents, one after another, without a network, and writes down what was seen."""

from __future__ import annotations

import argparse
import fcntl
import importlib
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import time

from installing import FOLDER, HERE, install, versions
from seeds import SEEDS
from steps import drive

from holdfast.fleet.agents.registry import AGENTS

ROOT = HERE.parent.parent
RECORD = HERE / "driven.json"
_PAGE = "docs/reference/agents.md"
_INSIDE = "HOLDFAST_AGENTS_APART"
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


def apart() -> None:
    """Go on where there is no network but the loopback: neither a model nor telemetry can be reached from there."""
    if os.environ.get(_INSIDE):
        _raise_loopback()
        return
    words = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
    found = shutil.which(words[0])
    if found is None or subprocess.run([*words, "true"], check=False, capture_output=True).returncode:
        sys.exit(
            "The agents are driven without a network, and this machine lets nobody make such a place (unshare --net)."
        )
    os.environ[_INSIDE] = "1"
    os.execv(found, [*words, sys.executable, *sys.argv])


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        got = fcntl.ioctl(probe, _SIOCGIFFLAGS, struct.pack("16sh14x", b"lo", 0))
        flags = struct.unpack("16sh14x", got)[1]
        fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


def main() -> int:
    """Drive those that are named, or all; the record and the page made of it hold only what passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("agents", nargs="*", choices=[[], *SEEDS])
    wanted = parser.parse_args().agents or list(SEEDS)
    programs = FOLDER / "npm" / "node_modules" / ".bin"
    if not os.environ.get(_INSIDE):
        install()
    apart()
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    failed = []
    for name in wanted:
        version = versions()[SEEDS[name].package]
        print(f"{name} {version}", flush=True)
        begun = time.monotonic()
        record.pop(name, None)
        try:
            seen = drive(AGENTS[name], SEEDS[name], FOLDER / "run" / name, programs)
        except Exception as error:  # noqa: BLE001 - one agent's failure must not keep the others from being driven
            failed.append(name)
            print(f"    FAILED: {type(error).__name__}: {error}", flush=True)
            continue
        finally:
            print(f"    {time.monotonic() - begun:.0f} s", flush=True)
        tmux = subprocess.run(["tmux", "-V"], check=True, capture_output=True, text=True).stdout.strip()
        record[name] = {"package": SEEDS[name].package, "version": version, "terminal": tmux, "seen": seen}
    ordered = {name: record[name] for name in SEEDS if name in record}
    RECORD.write_text(json.dumps(ordered, indent=2, ensure_ascii=False) + "\n")
    sys.path.append(str(ROOT / "tools"))
    (ROOT / _PAGE).write_text(importlib.import_module("reference").pages()[_PAGE], encoding="utf-8")
    print(f"failed: {', '.join(failed)}" if failed else "all driven")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
