"""The page as HTML, without a daemon: what is put into it is text, and every status has its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.opening import _opener
from holdfast.core.redact import plain
from holdfast.fleet.sessions.status import STATUSES
from holdfast.page.elements import document, element, link
from holdfast.page.standing import GROUPS, PLACE
from pages import Page

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</pre></details><h1>gotcha</h1>",
    "<!-- ",
    "]]><svg/onload=alert(1)>",
    "&lt;b&gt; &#60;i&#62;",
    "\x1b[31mred\x1b[0m\x00\x07",
    "\u202eevil\u2066\u200b",
)


def test_every_status_stands_in_one_group() -> None:
    listed = [status for group in GROUPS for status in group.statuses]
    assert sorted(listed) == sorted(STATUSES)
    assert set(PLACE) == set(STATUSES)
    assert listed[:5] == ["needs_input", "stuck", "detecting", "no_signal", "ci_failed"]


@pytest.mark.guards(
    "Whatever is shown is text: nothing from outside becomes an element or an attribute, or moves the reader's eye.",
    against="A log tail or a title that runs a script in the browser of whoever watches.",
    breaks=("page-believes-its-text",),
)
@pytest.mark.parametrize("text", HOSTILE)
def test_text_is_never_markup(text: str) -> None:
    page = Page(document(text, None, element("body", element("p", text, title=text), [text])).decode())
    assert [each.tag for each in page.elements] == ["html", "head", "meta", "title", "body", "p"]
    assert page.one("p").attributes == {"title": plain(text)}
    assert page.one("p").text == plain(text)
    assert page.one("title").text == plain(text)


@given(st.text(), st.text())
def test_no_text_at_all_is_markup(one: str, other: str) -> None:
    html = document(one, None, element("body", element("pre", one, other, data_key=other))).decode()
    assert [each.tag for each in Page(html).elements] == ["html", "head", "meta", "title", "body", "pre"]


@pytest.mark.guards(
    "A link leads to the web or it is none.",
    against="A pull request whose address runs a script when somebody follows it.",
    breaks=("page-follows-any-address",),
)
@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        " javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "//x",
        "http://[",
        "",
        None,
    ],
)
def test_a_link_that_leads_nowhere_good_is_only_what_it_says(address: str | None) -> None:
    assert link(address, "shop.1") == "shop.1"


def test_a_link_tells_nobody_where_it_was() -> None:
    page = Page(document("x", None, element("body", link("https://example.org/?a=1&b=2", "there"))).decode())
    found = page.one("a")
    assert found.attributes == {"href": "https://example.org/?a=1&b=2", "rel": "noreferrer noopener"}


def test_the_persons_browser_goes_before_the_systems() -> None:
    assert _opener({"BROWSER": "firefox --new-window %s"}, "linux") == ["firefox", "--new-window", "%s"]
    assert _opener({"BROWSER": "a:b"}, "darwin") == ["a"]
    assert _opener({"BROWSER": "it's"}, "linux") == []
    assert _opener({}, "darwin") == ["open"]
