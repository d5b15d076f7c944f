"""What observations of pulls come to: twice is once, nothing fetched is nothing changed, a merge is for ever."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.fleet.pulls.facts import (
    TAIL_BYTES,
    Check,
    CheckState,
    Comment,
    Observation,
    Pull,
    Sight,
    greenness,
    is_green,
)
from holdfast.fleet.pulls.reducer import reduce
from holdfast.fleet.pulls.status import RULES, status
from holdfast.fleet.sessions.status import PULL_ORDER

NOW = "2026-11-21T10:00:00.000000Z"
LATER = "2026-11-21T10:05:00.000000Z"
COMMITS = ("a" * 40, "b" * 40, "c" * 40)
NAMES = ("test", "lint", "types")


def pull(**told: object) -> Pull:
    """A pull that was just opened."""
    usual = {
        "id": "shop.1",
        "project": "shop",
        "number": 1,
        "forge": "local",
        "session": "shop-1",
        "branch": "holdfast/shop-1",
        "base": "main",
        "head": COMMITS[0],
        "base_commit": "0" * 40,
        "title": "Sell more",
        "opened_by": "shop-1",
        "opened_at": NOW,
        "expected": ("test",),
    }
    return Pull(**(usual | told))  # type: ignore[arg-type]


def sight(before: Pull, **told: object) -> Sight:
    """What a forge tells of it when nothing but this is different."""
    same = {name: getattr(before, name) for name in Sight.__struct_fields__}
    return Sight(**(same | told))


def check(name: str = "test", state: CheckState = "failed", **told: object) -> Check:
    """A check of the first commit."""
    return Check(**({"name": name, "commit": COMMITS[0], "state": state} | told))  # type: ignore[arg-type]


CHECKS = st.builds(
    Check,
    name=st.sampled_from(NAMES),
    commit=st.sampled_from(COMMITS),
    state=st.sampled_from(msgspec.inspect.type_info(CheckState).values),  # type: ignore[union-attr]
    runs=st.integers(1, 3),
    tail=st.text(max_size=20),
    started_at=st.sampled_from((None, NOW, LATER)),
)
COMMENTS = st.builds(
    Comment,
    external=st.sampled_from(("1", "2", "3")),
    thread=st.sampled_from(("1", "2")),
    author=st.text(max_size=10),
    body=st.text(max_size=20),
    at=st.just(NOW),
)
SIGHTS = st.builds(
    Sight,
    branch=st.just("holdfast/shop-1"),
    base=st.just("main"),
    head=st.sampled_from(COMMITS),
    base_commit=st.sampled_from(("0" * 40, "1" * 40)),
    title=st.text(max_size=10),
    state=st.sampled_from(("open", "merged", "closed")),
    stage=st.sampled_from(("ready", "draft")),
    review=st.sampled_from(("none", "required", "approved", "changes_requested")),
    fit=st.sampled_from(("unknown", "clean", "conflict")),
    conflicts=st.lists(st.sampled_from(("a.py", "b.py")), unique=True).map(tuple),
    expected=st.none() | st.lists(st.sampled_from(NAMES), unique=True).map(tuple),
    version=st.sampled_from(("", "1", "2")),
)
OBSERVATIONS = st.builds(
    Observation,
    pull=st.just("shop.1"),
    fetched=st.booleans(),
    sight=st.none() | SIGHTS,
    checks=st.none() | st.lists(CHECKS, max_size=5).map(tuple),
    comments=st.none() | st.lists(COMMENTS, max_size=3, unique_by=lambda each: each.external).map(tuple),
)


@pytest.mark.guards(
    "an observation of a pull applied twice equals once",
    against="every poll writes, wakes everybody, and nudges again",
    breaks=("pulls-write-what-is-known",),
)
@given(st.lists(OBSERVATIONS, max_size=6), OBSERVATIONS)
def test_an_observation_applied_twice_equals_once(before: list[Observation], last: Observation) -> None:
    known = pull()
    for each in before:
        known = reduce(known, each, NOW).pull
    once = reduce(known, last, NOW)
    twice = reduce(once.pull, last, LATER)
    assert twice.pull == once.pull
    assert not twice.news


@pytest.mark.guards(
    "what was not fetched changes nothing",
    against="a failed fetch reads as a closed pull, or as one without checks and comments",
    breaks=("pulls-believe-what-was-not-fetched",),
)
@given(st.lists(OBSERVATIONS, max_size=6), OBSERVATIONS)
def test_what_was_not_fetched_changes_nothing(before: list[Observation], last: Observation) -> None:
    known = pull()
    for each in before:
        known = reduce(known, each, NOW).pull
    failed = msgspec.structs.replace(last, fetched=False)
    assert not reduce(known, failed, LATER).news
    assert reduce(known, failed, LATER).pull == known
    partly = reduce(known, msgspec.structs.replace(last, fetched=True, checks=None, comments=None), LATER)
    assert partly.pull.checks == known.checks
    assert partly.pull.comments == known.comments


@pytest.mark.guards(
    "a merge is for ever",
    against="an old answer out of a cache opens a pull again that is merged",
    breaks=("pulls-open-what-is-merged",),
)
@given(st.lists(OBSERVATIONS, max_size=6))
def test_a_pull_that_was_merged_stays_so(after: list[Observation]) -> None:
    known = reduce(pull(), Observation(pull="shop.1", sight=sight(pull(), state="merged")), NOW).pull
    assert known.merged_at == NOW
    for each in after:
        known = reduce(known, each, LATER).pull
        assert (known.state, known.merged_at) == ("merged", NOW)


def test_an_older_version_of_the_pull_changes_nothing() -> None:
    newer = reduce(pull(), Observation(pull="shop.1", sight=sight(pull(), version="2", head=COMMITS[1])), NOW).pull
    late = Observation(pull="shop.1", sight=sight(pull(), version="1"))
    assert reduce(newer, late, LATER).pull == newer


def test_every_commit_keeps_its_own_row_of_a_check() -> None:
    seen = tuple(check(commit=commit) for commit in COMMITS)
    known = pull()
    for each in seen:
        known = reduce(known, Observation(pull="shop.1", checks=(each,)), NOW).pull
    assert known.checks == seen


@pytest.mark.guards(
    "an answer that comes late does not undo a check that has finished",
    against="two polls that overtake each other turn a failed check into a running one",
    breaks=("pulls-let-a-late-answer-undo-a-check",),
)
def test_a_late_answer_does_not_undo_a_finished_check() -> None:
    known = reduce(pull(), Observation(pull="shop.1", checks=(check(started_at=NOW),)), NOW).pull
    late = reduce(known, Observation(pull="shop.1", checks=(check(state="running", started_at=NOW),)), LATER)
    assert not late.news
    again = reduce(known, Observation(pull="shop.1", checks=(check(state="running", runs=2, started_at=LATER),)), LATER)
    assert again.pull.head_checks[0].state == "running"


def test_a_comment_that_was_taken_back_goes() -> None:
    said = Comment(external="1", thread="1", author="Ann", body="Why?", at=NOW)
    known = reduce(pull(), Observation(pull="shop.1", comments=(said,)), NOW).pull
    assert known.comments == (said,)
    gone = reduce(known, Observation(pull="shop.1", comments=()), LATER)
    assert gone.gone == ("1",)
    assert gone.pull.comments == ()


def test_what_the_outside_world_says_is_bounded_and_drives_no_terminal() -> None:
    said = Comment(external="1", thread="1", author="\x1b[2JAnn", body="\x1b]0;x\x07" + "y" * 1_000_000, at=NOW)
    noisy = check(tail="x" * 10 * TAIL_BYTES, step="\x1b[31mmake test")
    known = reduce(pull(), Observation(pull="shop.1", checks=(noisy,), comments=(said,)), NOW).pull
    assert len(known.head_checks[0].tail) == TAIL_BYTES
    assert "\x1b" not in known.head_checks[0].step + known.comments[0].author + known.comments[0].body
    assert len(known.comments[0].body) < 100_000


@pytest.mark.guards(
    "green means finished and passed, or that nothing is configured",
    against="approved and green is told while checks are pending, or before anybody knows of any",
    breaks=("pulls-are-green-while-checks-run", "pulls-are-green-when-nobody-knows"),
)
@pytest.mark.parametrize(
    ("expected", "checks", "how"),
    [
        ((), (), "none"),
        (None, (), "unknown"),
        (("test",), (), "pending"),
        (("test",), (check(state="queued"),), "pending"),
        (("test",), (check(state="running"),), "pending"),
        (("test", "lint"), (check(state="passed"),), "pending"),
        (("test", "lint"), (check(state="passed"), check("lint", "running")), "pending"),
        (("test", "lint"), (check(state="failed"), check("lint", "running")), "failed"),
        (("test",), (check(state="errored"),), "errored"),
        (("test",), (check(state="passed"),), "passed"),
        (("test", "lint"), (check(state="passed"), check("lint", "skipped")), "passed"),
        (("test",), (check(state="passed", commit=COMMITS[1]),), "pending"),
    ],
)
def test_green_is_what_is_finished_and_passed(
    expected: tuple[str, ...] | None, checks: tuple[Check, ...], how: str
) -> None:
    known = pull(expected=expected, checks=checks)
    assert greenness(known) == how
    assert is_green(known) == (how in {"passed", "none"})


def test_every_state_of_a_pull_has_one_rule_that_can_hold() -> None:
    assert sorted(rule.state for rule in RULES) == sorted(PULL_ORDER)
    assert all(rule.doc for rule in RULES)
    cases: dict[str, Pull] = {
        "merged": pull(state="merged"),
        "closed": pull(state="closed"),
        "ci_failed": pull(checks=(check(),), fit="conflict"),
        "conflict": pull(fit="conflict", review="changes_requested"),
        "changes_requested": pull(review="changes_requested", stage="draft"),
        "draft": pull(stage="draft", review="required"),
        "review_pending": pull(review="required", checks=(check(state="passed"),), fit="clean"),
        "mergeable": pull(review="approved", checks=(check(state="passed"),), fit="clean"),
        "approved": pull(review="approved", checks=(check(state="running"),), fit="clean"),
        "pr_open": pull(checks=(check(state="running"),)),
    }
    assert cases.keys() == set(PULL_ORDER)
    assert {name: status(each) for name, each in cases.items()} == {name: name for name in cases}
