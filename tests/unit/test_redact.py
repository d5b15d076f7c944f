"""Redaction: secrets leave no trace, and nothing else is touched."""

from __future__ import annotations

import pytest

from holdfast.core.ids import new_secret
from holdfast.core.redact import HIDDEN, plain, redact, redact_value

SECRETS = [
    (new_secret("hft"), "{}"),
    (new_secret("hfk"), "ticket {} was used"),
    ("ghp_16C7e42F292c6912E7710c838347Ae178B4a", "push with {} failed"),
    ("github_pat_11ABCDEFG0abcdefghijkl", "{}"),
    ("xkeysib-0123456789abcdef0123456789", "brevo said no to {}"),
    ("sk-ant-REDACTED", "{}"),
    ("AKIAIOSFODNN7EXAMPLE", "{}"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "jwt={}"),
    ("abcdef0123456789", "Authorization: Bearer {}"),
    ("dXNlcjpwYXNzd29yZA==", "authorization: basic {}"),
    ("hunter2", "postgresql://me:{}@db/fleet"),
    ("hunter2", "password={} host=db"),
    ("correct horse battery", '{{"password": "{}", "user": "me"}}'),
    ("hunter2", "PGPASSWORD={}"),
    ("s3cr3t", "https://host/path?token={}&x=1"),
    ("MIIEvQIBADANBg", "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----"),
    ("MIIEvQIBADANBg", "-----BEGIN RSA PRIVATE KEY-----\n{} and cut off"),
]


@pytest.mark.parametrize(("secret", "around"), SECRETS, ids=[around for _, around in SECRETS])
def test_a_secret_is_taken_out_and_the_rest_stays(secret: str, around: str) -> None:
    text = f"before; {around.format(secret)}\nafter"
    clean = redact(text)
    assert secret not in clean
    assert HIDDEN in clean
    assert clean.startswith("before; ")


@pytest.mark.guards(
    "Text is redacted first and truncated then.",
    against="A secret that was cut in the middle, is no longer known for one, and is published in part.",
    breaks=("redact-truncates-first",),
)
@pytest.mark.parametrize(("secret", "around"), SECRETS, ids=[around for _, around in SECRETS])
def test_a_limit_never_leaves_part_of_a_secret(secret: str, around: str) -> None:
    text = around.format(secret)
    start = text.index(secret)
    for limit in range(start + 4, len(text) + 1):
        assert secret[:4] not in redact(text, limit=limit)


def test_what_is_too_long_is_cut_to_the_limit() -> None:
    assert redact("x" * 50, limit=10) == "x" * 9 + "…"
    assert redact("x" * 10, limit=10) == "x" * 10


@pytest.mark.parametrize(
    "text", ["", "plain words", "task-1 done", "a=b, c: d", "tok_1m7ykn4t6vrbrqd1emref", "https://a/b?c=d"]
)
def test_text_without_secrets_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("key", ["token", "api_key", "x-api-key", "Authorization", "db.password", "client_secret"])
def test_a_value_under_the_name_of_a_secret_is_hidden_whatever_it_looks_like(key: str) -> None:
    assert redact_value(key, "blue") == HIDDEN
    assert redact_value("outer", {"list": [{key: 5}]}) == {"list": [{key: HIDDEN}]}


@pytest.mark.parametrize("key", ["tokens", "monkey", "tokens_live", "key", "secretary"])
def test_a_value_under_another_name_stays(key: str) -> None:
    assert redact_value(key, "blue") == "blue"


def test_secrets_inside_errors_and_bytes_are_hidden() -> None:
    secret = new_secret("hft")
    assert secret not in str(redact_value("error", ValueError(f"bad {secret}")))
    assert secret not in str(redact_value("raw", secret.encode()))


def test_control_characters_are_taken_out_and_line_ends_stay() -> None:
    assert plain("a\x1b[31mb\x07\r\x9b\u202ec\td\ne") == "a[31mbc\td\ne"
