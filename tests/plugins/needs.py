"""Skips, by name, a test marked `needs("<program>")` where that program is not installed."""

from __future__ import annotations

import shutil

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("needs"):
            (program,) = mark.args
            if shutil.which(program) is None:
                item.add_marker(pytest.mark.skip(reason=f"{program} is not installed"))
