"""The channel `webhook` against a server of its own: what is posted, how it is signed, and what answers mean."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from holdfast.core.clock import SYSTEM
from holdfast.notify.channels.port import Delivered, Failed, Gone, Telling
from holdfast.notify.channels.signing import SecretWrongError, keys_of, signature
from holdfast.notify.channels.webhook import Webhook
from hooks import address, answer
from manual_clock import ManualClock

OLD = "whsec_" + base64.b64encode(b"o" * 32).decode()
NEW = "whsec_" + base64.b64encode(b"n" * 24).decode()
TELLING = Telling(
    id="eff_1",
    stage="raised",
    notice=7,
    kind="agent-stuck",
    subject="session:shop-1",
    scope="shop",
    text="Look: „<b>&“ \u2028",
    urgency="high",
    at="2026-01-02T03:04:05.000000Z",
)


def hook(url: str, words: str = OLD, **more: Any) -> Webhook:
    given = {"clock": SYSTEM, "secret": "SECRET", "env": {"SECRET": words}, **more}
    return Webhook("mine", url, **given)


# --- what is posted --------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "What is posted is signed as Standard Webhooks describes it: its own library verifies it, and nothing else.",
    against="A receiver that takes notices from anybody, or refuses ours.",
    breaks=("notice-signs-the-body-alone",),
)
async def test_the_library_of_the_standard_verifies_what_is_posted() -> None:
    async with address() as here:
        assert await hook(f"{here.url}/in?to=me").send(TELLING, 5) == Delivered()
    (request,) = here.got
    told = Verifier(OLD).verify(request.body, request.headers)
    assert told == {
        "type": "notice.raised",
        "timestamp": TELLING.at,
        "data": {
            "notice": 7, "stage": "raised", "kind": "agent-stuck", "subject": "session:shop-1", "scope": "shop",
            "urgency": "high", "text": TELLING.text,
        },
    }  # fmt: skip
    assert request.line == "POST /in?to=me HTTP/1.1"
    assert request.headers["webhook-id"] == "eff_1"
    assert request.headers["content-type"] == "application/json"
    with pytest.raises(WebhookVerificationError):
        Verifier(NEW).verify(request.body, request.headers)
    with pytest.raises(WebhookVerificationError):
        Verifier(OLD).verify(request.body, request.headers | {"webhook-id": "eff_2"})
    with pytest.raises(WebhookVerificationError):
        Verifier(OLD).verify(request.body + b" ", request.headers)


@pytest.mark.guards(
    "While a secret is being replaced, the new one and the old one sign.",
    against="Notices that are refused from the moment one side changes its secret.",
    breaks=("notice-signs-once",),
)
async def test_while_a_secret_is_replaced_either_verifies() -> None:
    async with address() as here:
        await hook(here.url, f"{NEW}\n{OLD}\n").send(TELLING, 5)
    (request,) = here.got
    for secret in (OLD, NEW):
        assert json.loads(request.body) == Verifier(secret).verify(request.body, request.headers)


def test_a_signature_is_that_of_the_standards_example() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    found = signature(keys_of(secret), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_the_address_may_hold_a_template() -> None:
    async with address() as here:
        await hook(f"{here.url}/topic?tpl=1&t={{{{.data.kind}}}}+x&m={{{{.data.text}}}}").send(TELLING, 5)
    (request,) = here.got
    assert request.line == "POST /topic?tpl=1&t=%7B%7B.data.kind%7D%7D+x&m=%7B%7B.data.text%7D%7D HTTP/1.1"


# --- secrets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds 0 words"),
        (f"{OLD} {NEW} {OLD}", "holds 3 words"),
        ("hunter2-hunter2", "does not begin with whsec_"),
        ("whsec_hunter2!", "not whsec_ and base64"),
        ("whsec_aHVudGVyMg==", "a secret of 7 bytes"),
    ],
)
def test_what_is_no_secret_is_refused_without_saying_it(text: str, words: str) -> None:
    with pytest.raises(SecretWrongError, match=words) as caught:
        keys_of(text)
    assert "hunter2" not in str(caught.value)
    assert "aHVudGVyMg" not in str(caught.value)


@pytest.mark.guards(
    "A file with a secret that others can read is not used.",
    against="A secret that everybody on the machine knows.",
    breaks=("notice-secrets-are-for-everybody",),
)
async def test_a_secret_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{OLD}\n", "utf-8")
    file.chmod(0o640)
    async with address() as here:
        channel = hook(here.url, secret=file)
        assert "can be read by others: chmod 600" in str(await channel.unavailable())
        came = await channel.send(TELLING, 5)
        assert isinstance(came, Failed)
        assert here.got == []
        file.chmod(0o600)
        assert await channel.unavailable() is None
        assert await channel.send(TELLING, 5) == Delivered()


@pytest.mark.parametrize("what", ["missing", "folder", "fifo"])
async def test_a_secret_that_cannot_be_read_is_told_of(tmp_path: Path, what: str) -> None:
    import os

    path = tmp_path / what
    if what == "folder":
        path.mkdir()
    if what == "fifo":
        os.mkfifo(path, 0o600)
    channel = hook("http://127.0.0.1:9", secret=path)
    assert f"the file {path}" in str(await channel.unavailable())
    assert isinstance(await channel.send(TELLING, 5), Failed)


async def test_nothing_that_gives_access_is_said_of_a_channel(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/topic-8f3a1c?auth=tk_hunter2"
    channel = hook(url)
    came = await channel.send(TELLING, 5)
    assert isinstance(came, Failed)
    for said in (came.why, channel.where, channel.mark):
        assert not any(word in said for word in ("8f3a1c", "hunter2", OLD))
    assert channel.where == "http://127.0.0.1:9"
    assert channel.mark != hook(url + "x").mark


# --- what answers mean -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "came"),
    [
        (answer("200 OK", b"thanks"), Delivered()),
        (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n", Delivered()),
        (answer("410 Gone"), Gone("{url} answered with 410: nothing is taken there any more")),
        (answer("429 Slow", retry_after="7"), Failed("{url} answered with 429", 7.0)),
        (answer("503 Later", retry_after="99999999"), Failed("{url} answered with 503", 86_400.0)),
        (answer("503 Later", retry_after="soon"), Failed("{url} answered with 503")),
        (answer("503 Later", retry_after=f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT"), Failed("{url} answered with 503")),
        (answer("500 No", b"\x1b[1mtoken=abcdefgh"), Failed("{url} answered with 500: [1mtoken=[redacted]")),
        (answer("500 No", retry_after="7"), Failed("{url} answered with 500")),
        (answer("400 Bad"), Failed("{url} answered with 400")),
        (b"SSH-2.0-OpenSSH\r\n", Failed("{url}: what it answered is no HTTP")),
        (b"", Failed("{url}: it ended the connection without an answer")),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000, Failed("{url}: the head of its answer is longer than 64 KB")),
    ],
)  # fmt: skip
@pytest.mark.guards(
    "2xx takes it, 410 ends it, a Retry-After is honoured within bounds, everything else is tried again.",
    against="A notice that counts as sent because somebody answered.",
    breaks=("notice-any-answer-is-well", "notice-waits-as-it-likes"),
)
async def test_an_answer_means_what_the_standard_says(said: bytes, came: Any) -> None:
    async with address(said) as here:
        found = await hook(here.url).send(TELLING, 5)
    expected = came if isinstance(came, Delivered) else type(came)(came.why.format(url=here.url), *_after(came))
    assert found == expected


def _after(came: Any) -> tuple[Any, ...]:
    return (came.after,) if isinstance(came, Failed) else ()


async def test_a_moment_to_try_again_is_understood(clock: ManualClock) -> None:
    at = format_datetime(clock.now() + timedelta(seconds=90), usegmt=True)
    past = format_datetime(clock.now() - timedelta(days=1), usegmt=True)
    async with address(answer("429 Slow", retry_after=at), answer("429 Slow", retry_after=past)) as here:
        channel = hook(here.url, clock=clock)
        assert (await channel.send(TELLING, 5)).after == 90.0  # type: ignore[union-attr]
        assert (await channel.send(TELLING, 5)).after == 1.0  # type: ignore[union-attr]


@pytest.mark.guards(
    "A redirect is not followed.",
    against="Notices and their signatures handed to wherever an answer points.",
    breaks=("notice-any-answer-is-well",),
)
@pytest.mark.parametrize("status", ["301 Moved", "307 Elsewhere"])
async def test_a_redirect_is_not_followed(status: str) -> None:
    async with address() as other, address(answer(status, location=other.url)) as here:
        came = await hook(here.url).send(TELLING, 5)
    assert isinstance(came, Failed)
    assert "is not followed" in came.why
    assert other.got == []


@pytest.mark.guards(
    "Whoever does not answer is given up in time, however slowly it goes on.",
    against="One address that hangs, and no notice reaches anybody.",
    breaks=("notice-waits-for-ever",),
)
async def test_an_address_that_does_not_answer_is_given_up_in_time() -> None:
    async with address(None) as here, asyncio.timeout(5):
        came = await hook(here.url).send(TELLING, 0.05)
    assert came == Failed(f"{here.url} gave no answer within 0.05 s")


async def test_an_address_where_nobody_is_is_told_of() -> None:
    async with address() as here:
        pass
    came = await hook(here.url).send(TELLING, 5)
    assert isinstance(came, Failed)
    assert f"{here.url} cannot be reached" in came.why


async def test_of_an_answer_only_so_much_is_read() -> None:
    async with address(answer("500 No", b"z" * 10_000_000)) as here:
        came = await hook(here.url).send(TELLING, 5)
    assert isinstance(came, Failed)
    assert len(came.why) < 300
