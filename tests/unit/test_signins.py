"""Signed-in browsers, without a store: whom a cookie stands for, and when it ends."""

from __future__ import annotations

import pytest

from holdfast.core.access.signins import MOST, SECONDS, SignIns
from holdfast.core.access.tokens import Identity, Tokens, new_token
from manual_clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def tokens(clock: ManualClock) -> Tokens:
    """The tokens in memory; what is done here never asks the store or the feed."""
    return Tokens(None, None, clock)  # type: ignore[arg-type]


@pytest.fixture
def identity(tokens: Tokens) -> Identity:
    new = new_token()
    tokens.added(new, "read")
    found = tokens.find(new.secret)
    assert found is not None
    return found


@pytest.fixture
def sign_ins(tokens: Tokens, clock: ManualClock) -> SignIns:
    return SignIns(tokens, clock, "0123456789abcdef")


@pytest.mark.guards(
    "A browser is signed in for twelve hours, and as long as its token lives.",
    against="A cookie in a profile's backup that opens the page for ever.",
    breaks=("page-cookies-are-good-for-ever",),
)
def test_a_browser_is_signed_in_until_its_time_is_over(
    sign_ins: SignIns, identity: Identity, clock: ManualClock
) -> None:
    early, late = sign_ins.begin(identity), sign_ins.begin(identity)
    clock.advance(SECONDS - 1)
    found = sign_ins.find(early)
    assert found is not None
    assert (found.identity, found.seconds) == (identity, 1)
    assert sign_ins.find(early) == found
    clock.advance(1)
    assert sign_ins.find(late) is None


@pytest.mark.guards(
    "Who revokes a token signs out every browser that was signed in by it.",
    against="A laptop that is lost, whose token is revoked, and whose browser reads on.",
    breaks=("page-cookies-outlive-their-token",),
)
def test_a_revoked_token_signs_its_browsers_out(sign_ins: SignIns, identity: Identity, tokens: Tokens) -> None:
    secret = sign_ins.begin(identity)
    assert sign_ins.find(secret) is not None
    tokens.ended(identity.token_id)
    assert sign_ins.find(secret) is None


@pytest.mark.parametrize("wrong", ["", "hfb_x", "\udcff"])
def test_what_was_never_given_signs_nobody_in(wrong: str, sign_ins: SignIns, identity: Identity) -> None:
    secret = sign_ins.begin(identity)
    assert sign_ins.find(wrong) is None
    assert sign_ins.find(secret[:-1]) is None


def test_browsers_are_bounded_and_the_oldest_goes(sign_ins: SignIns, identity: Identity) -> None:
    first, second = sign_ins.begin(identity), sign_ins.begin(identity)
    for _ in range(MOST - 1):
        last = sign_ins.begin(identity)
    assert sign_ins.find(first) is None
    assert sign_ins.find(second) is not None
    assert sign_ins.find(last) is not None


def test_those_of_ended_tokens_make_room_first(sign_ins: SignIns, identity: Identity, tokens: Tokens) -> None:
    stays = sign_ins.begin(identity)
    other = new_token()
    tokens.added(other, "read")
    found = tokens.find(other.secret)
    assert found is not None
    for _ in range(MOST - 1):
        sign_ins.begin(found)
    tokens.ended(other.id)
    sign_ins.begin(identity)
    assert sign_ins.find(stays) is not None


def test_the_cookie_is_named_after_the_store(sign_ins: SignIns) -> None:
    assert sign_ins.cookie == "holdfast-0123456789abcdef"
