"""Which checks of a pull are to be run, and with what: decided from its facts. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from holdfast.fleet.forges.local.names import named
from holdfast.fleet.forges.local.runs import Order
from holdfast.fleet.pulls.facts import FINISHED, Check, CheckState, Sight

if TYPE_CHECKING:
    from holdfast.core.store.port import Row
    from holdfast.fleet.pulls.facts import Pull

#: What a check says of its commit for good, as long as the base stays where it is.
_SAID: frozenset[CheckState] = frozenset({"passed", "failed"})


def queued(pull: Pull, sight: Sight) -> tuple[Check, ...]:
    """The checks that are to be run of the commit that was seen, and what becomes of those that nobody wants now.

    One that runs goes on when the base moves: a base that never rests would let it come to no end.
    """
    if sight.state != "open" or sight.expected is None:
        return ()
    known = {check.name: check for check in pull.checks if check.commit == sight.head}
    again = sight.head != pull.head
    found = [
        _queued(name, sight, known.get(name))
        for name in sight.expected
        if _is_due(known.get(name), sight.base_commit, again=again)
    ]
    gone = [
        msgspec.structs.replace(check, state="skipped", runs=check.runs + 1, step="the project has no such check now")
        for name, check in known.items()
        if name not in sight.expected and check.state != "skipped"
    ]
    return (*found, *gone)


def _is_due(check: Check | None, base_commit: str, *, again: bool) -> bool:
    if check is None or check.state == "skipped":
        return True
    if check.state not in FINISHED:
        return check.state == "queued" and check.base_commit != base_commit
    return check.base_commit != base_commit or (again and check.state not in _SAID)


def _queued(name: str, sight: Sight, before: Check | None) -> Check:
    number = 1 if before is None else before.runs + (before.state != "queued")
    return Check(name=name, commit=sight.head, state="queued", base_commit=sight.base_commit, runs=number)


def order(pull: Pull, session: Row, project: Row | None) -> Order | None:
    """What is to be run now: all that has not come to an end, or could not be run; nothing where all is said."""
    if project is None:
        return None
    commands = named(msgspec.json.decode(project["checks"]))
    known = {check.name: check for check in pull.head_checks}
    left = {
        name: command
        for name, command in commands.items()
        if name not in known or known[name].state not in _SAID or known[name].base_commit != pull.base_commit
    }
    if not left:
        return None
    return Order(
        pull=pull.id,
        repo=Path(session["repository"]),
        commit=pull.head,
        base_commit=pull.base_commit,
        commands=left,
        numbers={name: _number(known.get(name)) for name in left},
        setup=tuple(msgspec.json.decode(project["setup"])),
        at_once=project["checks_how"] == "at_once",
        copy=tuple(msgspec.json.decode(project["copy"])),
        link=tuple(msgspec.json.decode(project["link"])),
    )


def _number(before: Check | None) -> int:
    """The how-manieth run it is; one that was cut off in the middle counts."""
    return 1 if before is None else before.runs + (before.state != "queued")


def outdated(pull: Pull, under_way: Order) -> bool:
    """Whether what runs is of another commit than the pull is at, or was asked for once more meanwhile."""
    known = {check.name: check.runs for check in pull.head_checks}
    return pull.head != under_way.commit or any(
        known.get(name, number) > number for name, number in under_way.numbers.items()
    )
