"""Real runtimes with real agents in them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from runtimes import Kind, Stage, every


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short folder of this test alone for the sockets."""
    folder = Path(tempfile.mkdtemp(prefix="hf", dir="/tmp"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=every())
def kind(request: pytest.FixtureRequest) -> Kind:
    """Every runtime, one after the other."""
    found: Kind = request.param
    return found


@pytest.fixture
async def new_stage(sockets: Path, tmp_path: Path) -> AsyncIterator[Callable[[Kind, str], Stage]]:
    """Makes data folders with a runtime in them; whatever was started there is gone after the test."""
    made: list[Stage] = []

    def make(kind: Kind, name: str = "data") -> Stage:
        made.append(Stage(kind, tmp_path / name))
        return made[-1]

    yield make
    for stage in made:
        await stage.clear()


@pytest.fixture
def stage(new_stage: Callable[[Kind, str], Stage], kind: Kind) -> Stage:
    """A fresh data folder with a runtime in it."""
    return new_stage(kind, "data")
