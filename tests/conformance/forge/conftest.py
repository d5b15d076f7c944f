"""The forges that the suite is run on."""

from __future__ import annotations

from pathlib import Path

import pytest

from forge_worlds import WORLDS, World


@pytest.fixture(params=sorted(WORLDS))
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """Every forge, one after the other, in a world of its own."""
    made: World = WORLDS[request.param](tmp_path)
    return made
