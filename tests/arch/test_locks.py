"""The locks answer what pyproject.toml asks for, name exact versions with hashes, and no place to get them from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PIN = re.compile(r"^(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>\S+)(?: ; (?P<marker>.+?))? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}(?: \\)?$")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;]", name, maxsplit=1)[0]).lower()


def pins(path: Path) -> dict[str, str]:
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := PIN.match(line):
            found[match["name"]] = match["version"]
    return found


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_a_lock_holds_pins_and_hashes_and_nothing_else(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    strange = [line for line in lines if not PIN.match(line) and not HASH.match(line)]
    assert strange == []
    for number, line in enumerate(lines):
        assert HASH.match(line) or HASH.match(lines[number + 1]), f"{line} has no hash"


def test_every_dependency_is_locked_with_the_same_version_for_running_and_developing() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    run, dev = pins(ROOT / "requirements/run.txt"), pins(ROOT / "requirements/dev.txt")
    groups = project["dependency-groups"]
    asked_run = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["postgres"]]
    asked_dev = [item for group in ("build", "dev") for item in groups[group] if isinstance(item, str)]
    assert {normal(item) for item in [*asked_run, *groups["build"]]} - run.keys() == set()
    assert {normal(item) for item in [*asked_run, *asked_dev]} - dev.keys() == set()
    assert {name: version for name, version in run.items() if dev.get(name) != version} == {}


def test_the_build_backend_is_locked_too() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    run = pins(ROOT / "requirements/run.txt")
    assert {normal(item) for item in project["build-system"]["requires"]} <= run.keys()


def test_the_project_file_names_no_package_index() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r"index-url|find-links|https?://", text) is None
