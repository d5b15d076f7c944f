"""The clock by which signals are ordered: read in one place by the daemon, and by its hooks, which load nothing."""

from __future__ import annotations

from holdfast.core import clock
from holdfast.fleet.signals import hook


def test_hooks_and_the_daemon_read_the_same_clock() -> None:
    assert hook.BOOT == clock.BOOT
    before, told, after = clock.boot_ns(), hook.now(), clock.boot_ns()
    assert before <= told <= after
