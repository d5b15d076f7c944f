"""Breaks and the tests that name them are compared both ways, and a break counts as caught only by the right red."""

from __future__ import annotations

from pathlib import Path

import guarantees
import integration_tests
import mutants
from guarantees import Guard

GUARD = Guard("tests/x.py::test_a", "kept | always", "lost", ("one",))


def test_a_break_that_no_test_names_is_found() -> None:
    assert guarantees.disagreements([GUARD], ["one"]) == []
    assert "no test" in guarantees.disagreements([GUARD], ["one", "two"])[0]


def test_a_test_that_names_a_break_which_is_not_there_is_found() -> None:
    assert "tests/breaks/one.patch is not there" in guarantees.disagreements([GUARD], [])[0]


def test_a_break_that_no_longer_applies_is_found(tmp_path: Path) -> None:
    (tmp_path / "tests/breaks").mkdir(parents=True)
    (tmp_path / "src").mkdir()
    (tmp_path / "src/x.py").write_text("a = 1\n", encoding="utf-8")
    patch = "--- a/src/x.py\n+++ b/src/x.py\n@@ -1 +1 @@\n-a = 1\n+a = 2\n"
    (tmp_path / "tests/breaks/one.patch").write_text(patch, encoding="utf-8")
    assert guarantees.cross_check(tmp_path, [GUARD]) == []
    (tmp_path / "src/x.py").write_text("a = 3\n", encoding="utf-8")
    assert "does not apply" in guarantees.cross_check(tmp_path, [GUARD])[0]


def test_a_break_is_caught_when_every_test_that_names_it_is_red_on_one_engine() -> None:
    assert mutants.judge({"a": ["passed", "failed"]}, ["a"], 1) == ""
    assert mutants.judge({"a": ["passed"]}, ["a"], 0) == "stays green: a"
    assert mutants.judge({"a": ["failed"], "b": ["passed"]}, ["a", "b"], 1) == "stays green: b"


def test_tests_that_cannot_be_collected_do_not_count_as_red() -> None:
    assert "did not run" in mutants.judge({}, ["a"], 2)


def test_a_run_that_hangs_does_not_count_as_red() -> None:
    assert "did not run" in mutants.judge({}, ["a"], -1)


def test_the_page_of_guarantees_names_test_failure_and_break() -> None:
    page = integration_tests.page([GUARD])
    assert "| kept \\| always | lost | `test_a` | [one](tests/breaks/one.patch) |" in page
