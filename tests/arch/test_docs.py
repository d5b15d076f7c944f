"""The documents are true: commands exist, links lead somewhere, generated pages are noticed when stale."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

import reference
from holdfast.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / name for name in ("README.md", "AGENTS.md", "CHANGELOG.md")] + sorted((ROOT / "docs").rglob("*.md"))
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")
_BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def typed(path: Path) -> list[list[str]]:
    """Every `holdfast ...` that a page tells its reader to type."""
    text = path.read_text(encoding="utf-8")
    lines = [line for block in _BLOCK.findall(text) for line in block.splitlines()]
    return [words[1:] for words in (shlex.split(line, comments=True) for line in lines) if words[:1] == ["holdfast"]]


def parse(words: list[str]) -> Any:
    """Find the command and read its options, without running it."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        assert words, "names a group of commands, not a command"
        assert words[0] in command.commands, f"there is no command {words[0]!r}"
        command, words = command.commands[words[0]], words[1:]
    return command.make_context("holdfast", list(words))


@pytest.mark.parametrize("words", typed(ROOT / "README.md"), ids=" ".join)
def test_what_the_readme_says_to_type_is_a_command_with_such_options(words: list[str]) -> None:
    assert parse(words) is not None


@pytest.mark.parametrize("words", [["projects", "ls"], ["project", "ls", "--colour"], ["project"]], ids=" ".join)
def test_a_command_that_is_not_there_would_be_noticed(words: list[str]) -> None:
    with pytest.raises(Exception, match=r"names a group|there is no command|[Nn]o such option"):
        parse(words)


def test_the_readme_shows_every_group_of_commands() -> None:
    command: Any = typer.main.get_command(app)
    shown = {words[0] for words in typed(ROOT / "README.md")}
    assert set(command.commands) - shown == {"version"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    broken = [link for link in _LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]
    assert broken == []


def test_every_decision_is_listed() -> None:
    listed = (ROOT / "docs/decisions/README.md").read_text(encoding="utf-8")
    pages = sorted(path.name for path in (ROOT / "docs/decisions").glob("0*.md"))
    assert [name for name in pages if f"({name})" not in listed] == []


def test_a_stale_page_and_a_page_that_nothing_generates_are_noticed(tmp_path: Path) -> None:
    folder = tmp_path / reference.REFERENCE
    folder.mkdir(parents=True)
    made = {f"{reference.REFERENCE}/a.md": "new"}
    assert reference.stale(made, tmp_path) == [f"{reference.REFERENCE}/a.md"]
    (folder / "a.md").write_text("old", encoding="utf-8")
    assert reference.stale(made, tmp_path) == [f"{reference.REFERENCE}/a.md"]
    (folder / "a.md").write_text("new", encoding="utf-8")
    assert reference.stale(made, tmp_path) == []
    (folder / "b.md").write_text("by hand", encoding="utf-8")
    assert reference.stale(made, tmp_path) == [f"{reference.REFERENCE}/b.md"]


def test_the_table_of_files_names_every_module() -> None:
    text = reference.files()
    modules = [path for path in (ROOT / "src/holdfast").rglob("*.py") if path.name != "__init__.py"]
    assert [path.name for path in modules if f"{path.relative_to(ROOT / 'src/holdfast')}`" not in text] == []
    assert text.count("\n|") == len(modules) + 2  # the heading and the line below it


def test_the_product_names_no_machine() -> None:
    """Nobody else has our folders: a path of the machine it was written on helps no stranger."""
    own = re.compile(r"(?<![\w.])/(work|tmp/v)/")
    files = [path for folder in ("src", "docs", "tools", "bench", "tests") for path in (ROOT / folder).rglob("*")]
    texts = [
        path for path in (*files, *ROOT.glob("*.md"), ROOT / "Makefile") if path.suffix in {".py", ".md", ".sql", ""}
    ]
    found = [
        path for path in texts if path.is_file() and own.search(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert [str(path) for path in found if path != Path(__file__)] == []
