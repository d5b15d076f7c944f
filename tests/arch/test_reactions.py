"""The table of reactions, walked both ways: each has all that belongs to it, and nothing else claims to be one."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.app import packs
from holdfast.core import faults
from holdfast.core.pack import NoticeKind
from holdfast.fleet.reactions import handling
from holdfast.fleet.reactions.decide import Reaction
from holdfast.fleet.reactions.kinds import KINDS, key_of
from holdfast.fleet.reactions.settings import Setting
from holdfast.fleet.reactions.table import BY_NAME, RANK, REACTIONS, reference
from holdfast.fleet.reactions.texts import MORE

TESTS = Path(__file__).resolve().parents[1]
#: As they are named to the outside world, in the order in which they are told.
NAMES = (
    "ci-failed",
    "review-comments",
    "merge-conflicts",
    "approved-and-green",
    "agent-stuck",
    "agent-needs-input",
    "agent-exited",
    "pr-closed",
    "pr-merged",
    "escalated",
    "budget-spent",
    "no-signal",
    "delivery-unknown",
    "dead-letter",
)


def lacking(reaction: Reaction) -> list[str]:
    """What a reaction lacks."""
    found = []
    if not reaction.doc.endswith("."):
        found.append("a doc line")
    if not (reaction.condition.__doc__ or "").strip():
        found.append("a condition that says what it is")
    if len(reaction.text.split()) < 3 or reaction.name not in MORE:
        found.append("a text")
    if reaction.cap < 1 or not reaction.by:
        found.append("a cap")
    if reaction.to not in reaction.targets:
        found.append("a target")
    if reaction.beyond not in {"escalated", "budget-spent"} and reaction.name != "budget-spent":
        found.append("somebody who is told of what is beyond its cap")
    if reaction.name not in KINDS or KINDS[reaction.name].name != f"reaction.{reaction.name}":
        found.append("a kind of propagation")
    return found


@pytest.mark.guards(
    "Every reaction has a condition, a text, a cap, a target, a doc line, a kind of propagation, a kind of notice with "
    "a rule for channels, and a test; and there is none beside those of the table.",
    against="A reaction that is declared and never told, or told and nowhere to be found.",
    breaks=("reaction-without-a-text",),
)
def test_every_reaction_has_all_that_belongs_to_it() -> None:
    assert tuple(BY_NAME) == NAMES
    assert {name: lacking(reaction) for name, reaction in BY_NAME.items() if lacking(reaction)} == {}
    assert tuple(MORE) == tuple(sorted(MORE, key=RANK.__getitem__))
    assert {kind.name for pack in packs() for kind in pack.kinds if kind.name.startswith("reaction.")} == {
        f"reaction.{name}" for name in NAMES
    }


def test_what_a_reaction_lacks_is_found() -> None:
    whole = REACTIONS[0]
    for change in ({"doc": ""}, {"text": "no"}, {"cap": 0}, {"to": "nobody"}, {"beyond": None}, {"name": "x"}):
        given: dict[str, Any] = {name: getattr(whole, name) for name in Reaction.__slots__} | change
        assert lacking(Reaction(**given)), change


def test_every_reaction_can_be_a_notice_and_every_notice_has_a_rule_for_channels() -> None:
    known: dict[str, NoticeKind] = {kind.name: kind for pack in packs() for kind in pack.notices}
    assert set(NAMES) <= known.keys()
    assert {kind.rule for kind in known.values()} <= {"channels", "row"}
    assert {known[name].rule for name in NAMES} == {"channels"}


def test_every_reaction_is_named_by_a_test_of_what_it_does() -> None:
    words = ""
    for path in sorted((TESTS / "conformance").glob("test_reactions*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.AsyncFunctionDef) and node.name.startswith("test_"):
                words += ast.unparse(node).replace("_", "-")
    assert [name for name in NAMES if name not in words] == []


def test_who_is_told_first_is_declared_first() -> None:
    agents = [reaction.name for reaction in REACTIONS if reaction.to == "agent"]
    assert agents == list(NAMES[:3])
    assert agents == sorted(agents, key=RANK.__getitem__)


def test_settings_have_no_more_than_the_table_can_follow() -> None:
    assert set(Setting.__struct_fields__) == {"text", "cap", "to", "off"}
    assert all(reaction.to in reaction.targets for reaction in REACTIONS)
    assert msgspec.json.decode(b"{}", type=Setting) == Setting()


def test_the_page_of_the_table_names_every_reaction() -> None:
    assert re.findall(r"^\| `([a-z-]+)` ", reference(), re.MULTILINE) == list(NAMES)


def test_the_points_at_which_a_reaction_can_be_torn_are_declared() -> None:
    assert {name for name in faults.points() if name.startswith("reaction.")} == {
        "reaction.owed",
        handling.STARTED.name,
        handling.TOLD.name,
    }


def test_keys_of_effects_are_those_of_one_round() -> None:
    assert len({key_of(1, 1), key_of(1, 2), key_of(11, 1)}) == 3
