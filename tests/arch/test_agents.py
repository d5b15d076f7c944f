"""The registry of agents, walked: what every one of them must have, and how each is started, resumed and heard."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from holdfast.fleet.agents.declare import SIGNAL_KINDS, Agent, Heard, Plan, Start
from holdfast.fleet.agents.registry import AGENTS, agent, installed, program
from holdfast.fleet.agents.scripted import SCRIPTED
from holdfast.fleet.signals import hook

ROOT = Path(__file__).resolve().parents[2]
#: Which agents were driven by their real binaries, and which versions of them: `make test-agents` writes it.
DRIVEN = ROOT / "tests/agents/driven.json"
SECRET = "hft_a-secret-that-the-daemon-holds"
#: What an agent needs to be told before it can be started at all.
NEEDED: Mapping[str, Mapping[str, Any]] = {"command": {"command": ["my-agent", "--fast"]}}
#: No word of a command line can be longer than this many bytes.
LONGEST_WORD = 128 * 1024

PROMPTS = {
    "plain": "Mend the build.",
    "quotes": """it's "quoted" `now` $HOME $(id) \\ ; & | > < % {} {prompt}""",
    "lines": "\n first\r\n\n\tsecond\n",
    "control": "bell \x07 escape \x1b[31m \x01\x7f",
    "unicode": "żółć 漢字 🦀 e\u0301 \u202e",
    "option": "--help me",
    "null": "before\0after",
    "half": "\ud800 alone",
    "megabyte": "é" * 500_000,
}
#: A payload with something under every name that agents use, so that each event can be read to something.
FULL: Mapping[str, Any] = {
    "session_id": "c-1",
    "sessionID": "c-1",
    "conversation": "c-1",
    "prompt": "a prompt",
    "text": "a prompt",
    "message": "words",
    "info": {"id": "c-1"},
    "reason": "other",
    "source": "startup",
    "tool_name": "Bash",
    "tool_input": {"command": "ls"},
    "notification_type": "permission_prompt",
    "status": {"type": "idle"},
    "error": {"name": "Oops"},
}
ODD: tuple[Any, ...] = (None, 0, "", "x", [], [1], {}, {"a": None}, {"type": 3}, {"id": []})
#: The same where what is said depends on it.
ASKING: Mapping[str, Any] = {**FULL, "notification_type": "ToolPermission"}
EVERY = pytest.mark.parametrize("one", AGENTS.values(), ids=list(AGENTS))


def start(one: Agent, folder: Path, **more: Any) -> Start:
    given: dict[str, Any] = {
        "session": "demo-1",
        "launch": 2,
        "workspace": folder / "work tree",
        "home": folder / "home",
        "prompt": None,
        "resume": None,
        "fresh": str(uuid.UUID(int=7)),
        "notice": None,
        "hook": hook.command(),
        "options": NEEDED.get(one.name, {}),
    }
    return Start(**{**given, **more})


def ways(plan: Plan, text: str) -> list[str]:
    """Every way in which this very text reaches the agent."""
    found = ["typed"] * (plan.typed == text)
    for before, word in zip(plan.argv, plan.argv[1:], strict=False):
        # Behind a dash it would be read as an option, unless what stands before says otherwise.
        if word == text and (not text.startswith("-") or before.startswith("-")):
            found.append("word")
        name, _, value = word.partition("=")
        if name.startswith("--") and value == text:
            found.append("word")
    for path, data in plan.files.items():
        if data == text.encode("utf-8", "surrogatepass") and str(path) in plan.argv:
            found.append("file")
    return found


def everything(plan: Plan) -> str:
    files = [data.decode("utf-8", "replace") for data in plan.files.values()]
    return "\n".join([*plan.argv, *plan.env.values(), *map(str, plan.files), *files, plan.typed or ""])


@EVERY
def test_an_agent_says_what_it_is_and_how_to_get_it(one: Agent) -> None:
    assert agent(one.name) is one
    assert one.doc.strip().endswith(".")
    assert len(one.doc) > 10
    assert one.install.strip().endswith(".")


@EVERY
def test_every_event_that_an_agent_tells_is_read_to_something(one: Agent) -> None:
    assert len(set(one.events)) == len(one.events)
    assert [event for event in one.events if one.read(event, FULL) == Heard()] == []
    if one.speaks == "hooks":
        kinds = {one.read(event, payload).kind for event in one.events for payload in ({}, FULL, ASKING)}
        assert {"working", "idle", "blocked"} <= kinds
        assert any(one.read(event, FULL).submitted == "a prompt" for event in one.events)
        assert any(one.read(event, FULL).conversation == "c-1" for event in one.events)


@EVERY
def test_no_payload_is_too_odd_to_be_read(one: Agent) -> None:
    for event in (*one.events, "an event of tomorrow", ""):
        for payload in ({}, *(dict.fromkeys(FULL, odd) for odd in ODD), *({"tool_input": odd} for odd in ODD)):
            heard = one.read(event, payload)
            assert heard.kind in {None, *SIGNAL_KINDS}
            assert isinstance(heard.detail, str)
            assert isinstance(heard.conversation, str | None)
            assert isinstance(heard.submitted, str | None)
    assert one.read("an event of tomorrow", FULL).kind is None


@pytest.mark.guards(
    "Every agent is given its prompt exactly, by one way that carries it, whatever is in it and however long it is.",
    against="prompts that are trimmed, read as options, given twice or cut off by the length of a command line",
    breaks=("agents-prompt-is-trimmed", "agents-prompt-is-always-a-word"),
)
@EVERY
@pytest.mark.parametrize("text", PROMPTS.values(), ids=list(PROMPTS))
def test_a_prompt_reaches_its_agent_exactly_and_once(one: Agent, text: str, tmp_path: Path) -> None:
    plan = one.plan(start(one, tmp_path, prompt=text))
    assert len(ways(plan, text)) == 1, (plan.argv, plan.typed)
    assert [word[:80] for word in plan.argv if len(word.encode("utf-8", "surrogatepass")) >= LONGEST_WORD] == []
    assert [word for word in plan.argv if "\0" in word] == []
    if "word" in ways(plan, text):
        assert text.encode()


@EVERY
def test_a_plan_is_the_same_each_time_and_touches_nothing(one: Agent, tmp_path: Path) -> None:
    given = start(one, tmp_path, prompt="Go.")
    assert one.plan(given) == one.plan(given)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.guards(
    "The files of an agent lie in its session's folder or in the worktree's own hidden one, and nowhere else.",
    against="hook files that make a worktree dirty or change the user's own settings",
    breaks=("agents-write-into-the-worktree",),
)
@EVERY
@pytest.mark.parametrize("resume", [None, "c-1"])
def test_files_lie_only_where_they_disturb_nobody(one: Agent, tmp_path: Path, resume: str | None) -> None:
    options = {**NEEDED.get(one.name, {}), "steps": "turn:\nwork"}
    given = start(
        one, tmp_path, prompt=None if resume else "x" * 300_000, resume=resume, notice="Go on.", options=options
    )
    plan = one.plan(given)
    for path in plan.files:
        assert path.is_relative_to(given.home) or path.is_relative_to(given.workspace / ".holdfast"), path
        assert ".." not in path.parts


@EVERY
def test_the_program_is_the_one_that_was_looked_for(one: Agent, tmp_path: Path) -> None:
    plan = one.plan(start(one, tmp_path, prompt="Go."))
    options = NEEDED.get(one.name, {})
    assert plan.argv[0] == program(one, options)
    if one is not SCRIPTED:  # which is run by the interpreter that runs us
        assert "/" not in plan.argv[0]
        binary = tmp_path / plan.argv[0]
        assert installed(one, options, str(tmp_path)) is None
        binary.write_text("#!/bin/sh\n", encoding="utf-8")
        binary.chmod(0o700)
        assert installed(one, options, str(tmp_path)) == str(binary)
        chosen = start(one, tmp_path, prompt="Go.", options={"command": ["other", "--word"]})
        assert one.plan(chosen).argv[:2] == ("other", "--word")
        assert program(one, chosen.options) == "other"
    else:
        assert installed(one, {}, "") == plan.argv[0]


@EVERY
def test_no_secret_stands_in_a_plan(one: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_TOKEN", SECRET)
    plan = one.plan(start(one, tmp_path, prompt="Go."))
    assert SECRET not in everything(plan)
    assert [name for name in plan.env if name.startswith("HOLDFAST_")] == []


@EVERY
def test_an_agent_that_speaks_by_hooks_is_given_the_hook(one: Agent, tmp_path: Path) -> None:
    marked = (*hook.command(), "--mark-of-this-test")
    text = everything(one.plan(start(one, tmp_path, prompt="Go.", hook=marked)))
    assert ("--mark-of-this-test" in text) == (one.speaks == "hooks")


@pytest.mark.guards(
    "An agent that is resumed goes on with its own conversation and is told the notice.",
    against="a resumption that begins anew, or an agent that does not know that it was interrupted",
    breaks=("agents-resume-forgets-the-conversation", "agents-resume-says-nothing"),
)
@EVERY
def test_a_resumption_keeps_the_conversation_and_tells_the_notice(one: Agent, tmp_path: Path) -> None:
    notice = "You were interrupted.\nThe branch has moved."
    plan = one.plan(start(one, tmp_path, resume="conversation-9" if one.resumes else None, notice=notice))
    assert len(ways(plan, notice)) == 1
    if one.resumes:
        assert plan.conversation == "conversation-9"
        assert any("conversation-9" in word for word in plan.argv)
        assert str(uuid.UUID(int=7)) not in everything(plan)


@EVERY
def test_a_new_conversation_has_the_id_that_was_chosen_or_one_that_the_agent_will_tell(
    one: Agent, tmp_path: Path
) -> None:
    plan = one.plan(start(one, tmp_path, prompt="Go."))
    assert plan.conversation in {None, str(uuid.UUID(int=7))}
    assert (str(uuid.UUID(int=7)) in everything(plan)) == (plan.conversation is not None)


@EVERY
def test_an_agent_can_be_started_with_nothing_to_do(one: Agent, tmp_path: Path) -> None:
    plan = one.plan(start(one, tmp_path))
    assert plan.typed is None
    assert all(plan.argv)


@EVERY
def test_messages_can_be_typed_only_where_a_box_is_known(one: Agent) -> None:
    if one.speaks == "hooks":
        assert one.input.ready is not None
        assert one.input.dialog is not None
        assert one.input.ready.search("") is None
        assert one.input.dialog.search("") is None


def test_only_what_was_driven_by_its_real_binary_is_verified() -> None:
    driven = set(json.loads(DRIVEN.read_text(encoding="utf-8"))) if DRIVEN.exists() else set()
    verified = {one.name for one in AGENTS.values() if one.standing == "verified"}
    assert verified == driven | {SCRIPTED.name}  # the scripted one is driven by these tests themselves
