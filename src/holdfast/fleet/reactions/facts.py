"""What reactions look at, as values: a session and its pulls, what they owed before, and the rules. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from holdfast.fleet.messages.words import BEFORE
from holdfast.fleet.messages.words import State as MessageState
from holdfast.fleet.pulls.facts import Check, Pull
from holdfast.fleet.reactions.settings import Setting
from holdfast.fleet.sessions.facts import Facts
from holdfast.fleet.sessions.transitions import TERMINAL

Target = Literal["agent", "person"]
#: `owed`: not told yet; `sent`: a message to the agent, whose own state says how far it came; `told`: an open notice;
#: `over`: a notice that has resolved itself; `suppressed`: never told, and owed again when it is wanted again; `dead`:
#: what was to tell it has died, until somebody redrives it.
NudgeState = Literal["owed", "sent", "told", "over", "suppressed", "dead"]
#: After so many messages that could not be typed, another one would not be either.
MOST_FAILED = 3

#: What a nudge is counted by (a pull, a check of a pull, a session), and what of it is new.
Charge = tuple[str, str]


class Budget(msgspec.Struct, frozen=True):
    """What a nudge used up, and what it is about."""

    charged: tuple[Charge, ...] = ()
    about: tuple[str, ...] = ()
    #: The propagation that died of it.
    row: int | None = None


class Nudge(msgspec.Struct, frozen=True, kw_only=True):
    """What was owed once, and what became of it."""

    id: int
    reaction: str
    signature: str
    state: NudgeState
    owed_at: str
    rounds: int = 1
    pull: str | None = None
    message: int | None = None
    message_state: MessageState | None = None
    budget: Budget = Budget()

    @property
    def missed(self) -> bool:
        """Whether it has reached nobody, and nobody is about to bring it."""
        if self.state == "sent":
            return self.message_state in {"failed", "suppressed"}
        return self.state == "suppressed"

    @property
    def hopeless(self) -> bool:
        """Whether it was brought to an agent that takes nothing again and again."""
        return self.state == "sent" and self.message_state == "failed" and self.rounds >= MOST_FAILED

    @property
    def waits(self) -> bool:
        """Whether its message can still be taken back."""
        return self.state == "sent" and self.message_state in BEFORE


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a condition calls for now; the same signature again is the same thing."""

    signature: str
    pull: str | None = None
    charged: tuple[Charge, ...] = ()
    about: tuple[str, ...] = ()
    #: Not before this.
    due: str | None = None
    #: In words, what it is about where that is no pull.
    why: str = ""


class Unknown(msgspec.Struct, frozen=True):
    """A message of which nobody knows whether its agent has it."""

    id: int
    text: str
    reason: str


class Signed(Check, frozen=True, kw_only=True):
    """A check without its log, by what tells its failure from another."""

    digest: str = ""


class Rules(msgspec.Struct, frozen=True):
    """What the project of a session sets."""

    settings: Mapping[str, Setting] = msgspec.field(default_factory=dict)
    merge_by: Literal["person", "policy"] = "person"

    def of(self, reaction: str) -> Setting:
        """What is set for a reaction."""
        return self.settings.get(reaction, _USUAL)


_USUAL = Setting()


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides about the reactions of one session."""

    facts: Facts
    project: str
    now: str
    #: Whether it waits to be started (again).
    awaited: bool = False
    #: Its pulls with the checks of their heads; checks and comments of open ones only, and of comments those that ask
    #: for something.
    pulls: tuple[Pull, ...] = ()
    nudges: tuple[Nudge, ...] = ()
    unknown: tuple[Unknown, ...] = ()
    rules: Rules = Rules()

    @property
    def ended(self) -> bool:
        """Whether there is no agent, and none will be by itself."""
        return self.facts.state in TERMINAL and not self.awaited

    def pull(self, pull: str | None) -> Pull | None:
        """One of its pulls."""
        return next((each for each in self.pulls if each.id == pull), None)

    def nudge(self, reaction: str, signature: str) -> Nudge | None:
        """What was owed under this signature."""
        return next((each for each in self.nudges if (each.reaction, each.signature) == (reaction, signature)), None)
