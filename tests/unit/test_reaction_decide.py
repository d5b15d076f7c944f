"""The reactions of one session as a pure decision, over any history of its pull: once, within caps, each alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.errors import Invalid
from holdfast.fleet.pulls.facts import CheckState, Pull
from holdfast.fleet.reactions.decide import Again, Miss, Over, Owe, TakeBack, steps
from holdfast.fleet.reactions.facts import Budget, Case, Nudge, Rules, Wanted
from holdfast.fleet.reactions.settings import Setting, require_known, settings_of
from holdfast.fleet.reactions.table import BY_NAME, REACTIONS
from holdfast.fleet.reactions.texts import Material, text_of
from holdfast.fleet.sessions.facts import Activity, Facts
from reacting import check, comment, sight

NOW = "2026-01-02T03:04:05.000000Z"


def facts(**more: Any) -> Facts:
    given = {"id": "app-1", "speaks": "output", "state": "idle", "state_at": NOW, "launch": 1, "alive_since": NOW}
    return Facts(**{**given, **more})


def pull(checks: tuple[Any, ...] = (), comments: tuple[Any, ...] = (), **more: Any) -> Pull:
    named: dict[str, Any] = {"id": "app.1", "project": "app", "number": 1, "forge": "local", "session": "app-1"}
    seen = msgspec.structs.asdict(sight(**more))
    return Pull(**seen, **named, opened_by="session:app-1", opened_at=NOW, checks=checks, comments=comments)


def case(*pulls: Pull, **more: Any) -> Case:
    return Case(**{"facts": facts(), "project": "app", "now": NOW, "pulls": pulls, **more})


@dataclass
class Kept:
    """What nudges would be in rows, and who would be told."""

    nudges: dict[tuple[str, str], Nudge] = field(default_factory=dict)
    told: Counter[tuple[str, str]] = field(default_factory=Counter)
    charged: dict[str, set[str]] = field(default_factory=dict)

    def react(self, given: Case, *, delivers: bool = True) -> None:
        """Do all that is to be done, as the door and the handlers do it."""
        given = msgspec.structs.replace(given, nudges=tuple(self.nudges.values()))
        for step in tuple(steps(given, REACTIONS)):
            match step:
                case Owe(reaction, wanted, nudge):
                    self._tell(reaction.to, reaction.name, wanted, nudge, delivers=delivers)
                case Miss(reaction, wanted, _):
                    self._put(reaction.name, wanted, "suppressed")
                case TakeBack(nudge, _):
                    self._change(nudge, "suppressed")
                case Over(nudge):
                    self._change(nudge, "over")
                case Again(nudge):
                    self._change(nudge, "told")

    def _tell(self, to: str, name: str, wanted: Wanted, nudge: Nudge | None, *, delivers: bool) -> None:
        assert nudge is None or nudge.missed
        if wanted.due is not None and wanted.due > NOW:
            self._put(name, wanted, "owed")
            return
        self.told[name, wanted.signature] += 1
        self._put(name, wanted, "sent" if to == "agent" else "told", "confirmed" if delivers else "queued")
        for key, content in wanted.charged:
            self.charged.setdefault(f"{name} {key}", set()).add(content)

    def _put(self, name: str, wanted: Wanted, state: Any, message: Any = None) -> None:
        before = self.nudges.get((name, wanted.signature))
        number = len(self.nudges) + 1 if before is None else before.id
        self.nudges[name, wanted.signature] = Nudge(
            id=number,
            reaction=name,
            signature=wanted.signature,
            state=state,
            owed_at=NOW,
            pull=wanted.pull,
            message=number if state == "sent" else None,
            message_state=message if state == "sent" else None,
            budget=Budget(wanted.charged, wanted.about),
        )

    def _change(self, nudge: Nudge, state: Any) -> None:
        self.nudges[nudge.reaction, nudge.signature] = msgspec.structs.replace(nudge, state=state)


STATES: st.SearchStrategy[CheckState] = st.sampled_from(get_args(CheckState))
COMMITS = st.sampled_from([f"c{number}" for number in range(8)])


@st.composite
def pulls(draw: st.DrawFn) -> Pull:
    """Any pull."""
    head = draw(COMMITS)
    checks = tuple(
        check(name, draw(STATES), head, tail=draw(st.sampled_from(["no", "never", "no after 3 s"])))
        for name in draw(st.sets(st.sampled_from(["unit", "lint", "docs"])))
    )
    comments = tuple(
        comment(name, state=draw(st.sampled_from(["open", "resolved"])))
        for name in draw(st.sets(st.sampled_from(["r1", "r2", "r3"])))
    )
    return pull(
        checks,
        comments,
        head=head,
        state=draw(st.sampled_from(["open", "open", "open", "closed"])),
        stage=draw(st.sampled_from(["ready", "draft"])),
        review=draw(st.sampled_from(["none", "required", "approved", "changes_requested"])),
        fit=draw(st.sampled_from(["unknown", "clean", "conflict"])),
        conflicts=("a",),
        expected=draw(st.sampled_from([None, (), ("unit",), ("unit", "lint")])),
    )


SESSIONS = st.sampled_from(
    [
        facts(),
        facts(state="working"),
        facts(state="needs_input", activity=Activity("blocked", "signal", NOW)),
        facts(state="terminated", reason="manually_killed", alive_since=None),
        facts(state="terminated", reason="agent_process_exited", alive_since=None),
        facts(state="not_started", speaks="hooks", launched_at=NOW),
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(SESSIONS, pulls()), max_size=30))
def test_whatever_happens_nothing_is_told_twice_and_no_cap_is_passed(history: list[tuple[Facts, Pull]]) -> None:
    kept = Kept()
    for session, seen in history:
        given_case = case(seen, facts=session)
        kept.react(given_case)
        before = dict(kept.nudges), Counter(kept.told)
        for _ in range(3):
            kept.react(given_case)
        assert (kept.nudges, kept.told) == before, "the same facts again change nothing"
    assert set(kept.told.values()) <= {1}
    for name, contents in kept.charged.items():
        assert len(contents) <= BY_NAME[name.split(" ")[0]].cap


@settings(max_examples=200, deadline=None)
@given(SESSIONS, pulls())
def test_each_reaction_is_decided_as_if_it_were_the_only_one(session: Facts, seen: Pull) -> None:
    given_case = case(seen, facts=session)
    alone = [step for reaction in REACTIONS for step in steps(given_case, (reaction,))]
    assert list(steps(given_case, REACTIONS)) == alone


@settings(max_examples=100, deadline=None)
@given(st.lists(pulls(), max_size=20))
def test_every_wanted_has_a_text_with_something_to_do(history: list[Pull]) -> None:
    for seen in history:
        given_case = case(seen)
        for step in steps(given_case, REACTIONS):
            assert isinstance(step, Owe)
            text = text_of(step.reaction, Material(given_case, step.wanted))
            assert "{" not in text
            assert step.reaction.to == "agent" or "holdfast " in text


@given(pulls())
def test_green_is_never_said_of_what_is_not(seen: Pull) -> None:
    wanted = [step for step in steps(case(seen), (BY_NAME["approved-and-green"],)) if isinstance(step, Owe)]
    states = {each.state for each in seen.head_checks}
    names = {each.name for each in seen.head_checks}
    if wanted:
        assert states <= {"passed", "skipped"}
        assert seen.expected is not None or states
        assert set(seen.expected or ()) <= names
        assert (seen.state, seen.stage) == ("open", "ready")
        assert seen.review in {"none", "approved"}
        assert seen.fit != "conflict"


# --- settings --------------------------------------------------------------------------------------------------


def test_a_reaction_that_there_is_not_is_refused_with_the_nearest() -> None:
    with pytest.raises(Invalid, match=r"no reaction 'ci-fialed'\. Did you mean 'ci-failed'\?"):
        require_known({"ci-fialed": Setting(off=True)})
    with pytest.raises(Invalid, match="makes no sense to an agent"):
        require_known({"agent-stuck": Setting(to="agent")})
    with pytest.raises(msgspec.ValidationError, match="text"):
        msgspec.convert({"text": "  "}, Setting)
    require_known({name: Setting(to=BY_NAME[name].to, cap=2, text="so") for name in BY_NAME})


def test_settings_are_read_back_and_what_nobody_understands_changes_nothing() -> None:
    assert settings_of('{"ci-failed": {"cap": 2, "to": "person"}}') == {"ci-failed": Setting(cap=2, to="person")}
    assert settings_of('{"ci-failed": {"cap": "many"}}') == {}


def test_a_reaction_that_is_off_calls_for_nothing_and_what_it_told_is_over() -> None:
    told = Nudge(id=1, reaction="approved-and-green", signature="s", state="told", owed_at=NOW)
    rules = Rules({"approved-and-green": Setting(off=True)})
    found = list(steps(case(pull((check(state="passed"),)), rules=rules, nudges=(told,)), REACTIONS))
    assert found == [Over(told)]
