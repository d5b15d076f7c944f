"""How a pull stands, in one word: by rules in a fixed order. Pure, never stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from holdfast.fleet.pulls.facts import Pull, greenness, is_green
from holdfast.fleet.sessions.status import PullState


@dataclass(frozen=True, slots=True)
class Rule:
    """A word, and when it holds."""

    state: PullState
    doc: str
    holds: Callable[[Pull], bool]


#: The first that holds is the word: of everything that is true of a pull, what needs most.
RULES: tuple[Rule, ...] = (
    Rule("merged", "Its base holds it.", lambda pull: pull.state == "merged"),
    Rule("closed", "It was closed without a merge.", lambda pull: pull.state == "closed"),
    Rule("ci_failed", "A check of its head has failed.", lambda pull: greenness(pull) == "failed"),
    Rule("conflict", "It cannot be merged into its base.", lambda pull: pull.fit == "conflict"),
    Rule("changes_requested", "Somebody asked for changes.", lambda pull: pull.review == "changes_requested"),
    Rule("draft", "Its author does not want it judged yet.", lambda pull: pull.stage == "draft"),
    Rule("review_pending", "Somebody is to approve it.", lambda pull: pull.review == "required"),
    Rule(
        "mergeable",
        "Nothing is in the way: no check is open or failed, nobody objects, and it fits its base.",
        lambda pull: is_green(pull) and pull.fit == "clean",
    ),
    Rule("approved", "It is approved, and checks are open.", lambda pull: pull.review == "approved"),
    Rule("pr_open", "It is open, and not all is known of it yet.", lambda _pull: True),
)


def status(pull: Pull) -> PullState:
    """The word."""
    return next(rule.state for rule in RULES if rule.holds(pull))
