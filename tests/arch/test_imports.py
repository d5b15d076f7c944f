"""The import contracts are kept by the tree and broken by a sample for each of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# contract -> a file and the import that breaks it
SAMPLES = {
    "core < notify < fleet": ("core/ids.py", "import holdfast.fleet"),
    "settings stand below": ("settings.py", "import holdfast.fleet"),
    "nobody names an engine": ("core/changes/declare.py", "import holdfast.core.store.sqlite"),
    "the command line talks HTTP": ("cli/output.py", "import holdfast.core.store.opening"),
}


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "lint-imports"
    command = [str(program), "--no-cache", "--config", str(root / "pyproject.toml")]
    environment = {"PYTHONPATH": str(root / "src"), "PATH": "/usr/bin:/bin", "NO_COLOR": "1", "COLUMNS": "200"}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize("contract", SAMPLES)
def test_a_contract_is_broken_by_the_import_it_forbids(tree: Path, contract: str) -> None:
    name, line = SAMPLES[contract]
    path = tree / "src" / "holdfast" / name
    path.write_text(f"{path.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    done = lint(tree)
    assert done.returncode == 1, done.stdout + done.stderr
    broken = [row for row in done.stdout.splitlines() if row.endswith("BROKEN")]
    assert [row for row in broken if row.startswith(contract)], done.stdout


def test_every_contract_has_a_sample() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert text.count("[[tool.importlinter.contracts]]") == len(SAMPLES)
