"""The application of a fresh store, on both engines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from served import Served, serving

if TYPE_CHECKING:
    from conftest import StoreMaker


@pytest.fixture
async def served(make_store: StoreMaker, tmp_path: Path) -> AsyncIterator[Served]:
    """The application with everything behind it running; see `served.py`."""
    folder = tmp_path / "web"
    folder.mkdir()
    async with serving(make_store, folder) as one:
        yield one
