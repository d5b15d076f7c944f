"""Scopes, tokens in memory and tickets, without a store."""

from __future__ import annotations

import pytest

from holdfast.core.access import scopes
from holdfast.core.access.tickets import MOST, Tickets
from holdfast.core.access.tokens import Identity, Tokens, hash_of, new_token
from holdfast.core.errors import Invalid, StoreBusy
from manual_clock import ManualClock


@pytest.fixture
def tokens() -> Tokens:
    """The tokens in memory; what is done here never asks the store or the feed."""
    return Tokens(None, None, ManualClock())  # type: ignore[arg-type]


@pytest.fixture
def identity(tokens: Tokens) -> Identity:
    new = new_token()
    tokens.added(new, "read")
    found = tokens.find(new.secret)
    assert found is not None
    return found


@pytest.mark.parametrize("scope", ["admin", "read", "session:s1", "session:ses_1m7ykn4t6vrbr"])
def test_a_scope_is_admin_read_or_a_session(scope: str) -> None:
    assert scopes.check(scope) == scope


@pytest.mark.parametrize(
    "scope", ["", "Admin", "root", "session:", "session:../x", "read ", "session:a\n", "admin,read"]
)
def test_anything_else_is_no_scope(scope: str) -> None:
    with pytest.raises(Invalid, match="is not a scope"):
        scopes.check(scope)


def test_the_session_of_a_scope_is_known() -> None:
    assert scopes.session_of("session:s1") == "s1"
    assert scopes.session_of("admin") is None


def test_an_agent_acts_as_its_session_and_everybody_else_as_their_token() -> None:
    assert Identity("tok_1", "session:s1", "").actor == "session:s1"
    assert Identity("tok_1", "admin", "").actor == "token:tok_1"


def test_only_the_whole_secret_is_found(tokens: Tokens) -> None:
    new = new_token()
    tokens.added(new, "read")
    found = tokens.find(new.secret)
    assert found == Identity(new.id, "read", hash_of(new.secret))
    for wrong in ("", new.secret[:-1], new.secret + "x", new.secret.upper(), new.hash, new.id, "\udcff"):
        assert tokens.find(wrong) is None


def test_an_ended_token_is_not_found_and_what_it_had_open_is_told_once(tokens: Tokens) -> None:
    new, told = new_token(), []
    tokens.added(new, "read")
    found = tokens.find(new.secret)
    assert found is not None
    tokens.watch(found, lambda: told.append("watched"))
    tokens.watch(found, lambda: told.append("left"))()
    tokens.ended(new.id)
    tokens.ended(new.id)
    assert tokens.find(new.secret) is None
    assert not tokens.holds(found)
    assert told == ["watched"]
    tokens.watch(found, lambda: told.append("late"))
    assert told == ["watched", "late"]


@pytest.mark.guards(
    "A ticket opens one stream, once.",
    against="A ticket copied from a log or a browser's history that opens a stream again.",
    breaks=("tickets-are-good-for-ever",),
)
def test_a_ticket_is_good_once(tokens: Tokens, identity: Identity) -> None:
    tickets = Tickets(tokens, ManualClock(), 30)
    ticket = tickets.issue(identity)
    assert tickets.redeem(ticket) == identity
    assert tickets.redeem(ticket) is None


def test_a_ticket_is_good_until_its_time(tokens: Tokens, identity: Identity) -> None:
    clock = ManualClock()
    tickets = Tickets(tokens, clock, 30)
    early, late = tickets.issue(identity), tickets.issue(identity)
    clock.advance(29.9)
    assert tickets.redeem(early) == identity
    clock.advance(0.1)
    assert tickets.redeem(late) is None


def test_a_ticket_of_a_revoked_token_is_worth_nothing(tokens: Tokens, identity: Identity) -> None:
    tickets = Tickets(tokens, ManualClock(), 30)
    ticket = tickets.issue(identity)
    tokens.ended(identity.token_id)
    assert tickets.redeem(ticket) is None


@pytest.mark.parametrize("wrong", ["", "hfk_x", "\udcff"])
def test_what_was_never_issued_is_no_ticket(wrong: str, tokens: Tokens) -> None:
    assert Tickets(tokens, ManualClock(), 30).redeem(wrong) is None


def test_open_tickets_are_bounded_and_make_room_with_time(tokens: Tokens, identity: Identity) -> None:
    clock = ManualClock()
    tickets = Tickets(tokens, clock, 30)
    for _ in range(MOST):
        tickets.issue(identity)
    with pytest.raises(StoreBusy, match="try again in 30 s"):
        tickets.issue(identity)
    clock.advance(31)
    assert tickets.redeem(tickets.issue(identity)) == identity
