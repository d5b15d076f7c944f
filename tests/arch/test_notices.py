"""The registry of notices, walked both ways: every kind that is raised is declared, with all that belongs to it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args

import pytest

import holdfast
from holdfast.app import packs
from holdfast.core.pack import NoticeKind
from holdfast.notify.channels.port import Urgency
from holdfast.notify.channels.registry import TYPES, takes
from holdfast.notify.decider import Tell, decide
from holdfast.sections import ChannelSettings
from holdfast.settings import SettingsWrong

SOURCE = Path(holdfast.__file__).parent
PAGE = Path(__file__).resolve().parents[2] / "docs/reference/notices.md"
KINDS = {kind.name: kind for pack in packs() for kind in pack.notices}
NOW = "2026-01-02T03:04:05.000000Z"
ROW = {
    "resolved_at": None,
    "acked_at": None,
    "told_at": None,
    "escalated_at": None,
    "opened_at": "2020-01-01T00:00:00Z",
}


def lacks(kind: NoticeKind, page: str) -> list[str]:
    """What a kind lacks."""
    wrong = []
    if f"| `{kind.name}` | {kind.doc} |" not in page:
        wrong.append(f"{kind.name}: no doc line in {PAGE.name}")
    if kind.rule not in {"channels", "row"}:
        wrong.append(f"{kind.name}: no channel rule")
    if kind.urgency not in get_args(Urgency):
        wrong.append(f"{kind.name}: no urgency that channels know")
    return wrong


@pytest.mark.guards(
    "Every kind of notice has a channel rule and a doc line, and a channel for all kinds takes what is to be sent.",
    against="A notice that no channel can be given.",
    breaks=("notice-channels-take-nothing",),
)
def test_every_kind_of_notice_has_a_channel_rule_and_a_doc_line() -> None:
    page = PAGE.read_text("utf-8")
    assert [wrong for kind in KINDS.values() for wrong in lacks(kind, page)] == []
    assert len(KINDS) == sum(len(pack.notices) for pack in packs())
    every = ChannelSettings(type="desktop")
    for kind in KINDS.values():
        sent = decide(ROW, kind, NOW) == Tell("raised")
        assert sent == (kind.rule == "channels")
        assert takes(every, kind.name, "raised")


def test_a_kind_that_lacks_something_is_told_by_its_name() -> None:
    kind = NoticeKind(name="bare", doc="Nobody has written of it.", rule="channels")
    assert lacks(kind, PAGE.read_text("utf-8")) == ["bare: no doc line in notices.md"]
    for wrong in ({"name": "Bare"}, {"doc": " "}, {"dwell": -1}, {"escalate_after": 0}):
        with pytest.raises(ValueError, match="notice kind"):
            NoticeKind(**{"name": "bare", "doc": "Bare.", "rule": "row", **wrong})  # type: ignore[arg-type]


def test_what_dwells_or_cools_or_escalates_is_sent_at_all() -> None:
    kept = [kind for kind in KINDS.values() if kind.rule == "row"]
    assert [kind.name for kind in kept if kind.dwell or kind.cool_down or kind.escalate_after] == []


@pytest.mark.parametrize("kind", [name for name in KINDS if name])
def test_every_kind_can_be_named_by_a_channel(kind: str) -> None:
    channel = ChannelSettings(type="desktop", kinds=(kind,))
    assert [name for name in KINDS if takes(channel, name, "escalated")] == [kind]


def literal_kinds() -> set[str]:
    """The kinds that calls of `raise_notice` name in so many words, or by a constant of their module."""
    found = set()
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        constants = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            for word in call.keywords if name == "raise_notice" else ():
                if word.arg == "kind":
                    for node in ast.walk(word.value):
                        if isinstance(node, ast.Constant) and "-" in str(node.value):
                            found.add(str(node.value))
                        elif isinstance(node, ast.Name) and node.id in constants:
                            found.add(str(constants[node.id]))
    return found


def test_every_kind_that_is_raised_is_declared() -> None:
    raised = literal_kinds()
    assert {"runtime-lost", "channel-gone"} <= raised
    assert raised - KINDS.keys() == set()


def test_the_settings_and_the_registry_know_the_same_types_of_channels() -> None:
    assert set(get_args(ChannelSettings.model_fields["type"].annotation)) == TYPES.keys()
    assert [name for name, make in TYPES.items() if not (make.__doc__ or "").strip()] == []


def test_a_channel_for_a_kind_that_there_is_not_is_refused_with_the_nearest_one() -> None:
    from holdfast.notify.channels.registry import require_known

    settings = {"desk": ChannelSettings(type="desktop", kinds=("agent-stuk",))}
    with pytest.raises(SettingsWrong, match=r"channels\.desk\.kinds.*'agent-stuk'.*nearest known one is 'agent-stuck'"):
        require_known(settings, KINDS)
    require_known({"desk": ChannelSettings(type="desktop", kinds=("*", "agent-stuck"))}, KINDS)
