"""The page at `/`: who gets it, and what protects it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from asgi_streams import streaming
from holdfast.app import packs
from holdfast.core.access import signins
from holdfast.core.store.port import Unit
from holdfast.core.web.factory import table
from holdfast.core.web.routes import Access, PageRoute, Route
from holdfast.fleet.pulls.facts import Observation
from holdfast.notify.notices import raise_notice
from manual_clock import ManualClock
from pages import BROWSER, Page, cookie, failed, opened, pull, put, session, shown, signed_in, ticket
from served import EXTRA, Served, serving

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StoreMaker

ROUTES = table((*packs(), EXTRA))
POLICY = {
    "default-src": "'none'",
    "style-src": "'self'",
    "script-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self' data:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
HOSTILE = '<script>alert(\'x\')</script>" onclick="alert(1)" </pre><img src=x onerror=alert(2)>\x1b[31m\u202e'


# --- who gets it -----------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "A ticket signs a browser in once, and is gone from its address.",
    against="The address that `holdfast open` printed, found in a history and opened again.",
    breaks=("page-tickets-stay-in-the-address", "page-cookies-are-for-scripts"),
)
async def test_a_ticket_is_changed_for_a_cookie_once(served: Served) -> None:
    one = await ticket(served)
    browser = served.client(**BROWSER)
    answer = await browser.get("/", params={"ticket": one})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    name, _, rest = answer.headers["set-cookie"].partition("=")
    secret, *attributes = rest.split("; ")
    assert name == f"holdfast-{served.store.uuid}"
    assert re.fullmatch(r"hfb_[A-Za-z0-9_-]{43}", secret)
    assert set(attributes) == {"Path=/", "HttpOnly", "SameSite=Strict", f"Max-Age={12 * 60 * 60}"}
    assert one not in str(answer.headers)
    assert (await browser.get("/")).status_code == 200
    again = await served.client(**BROWSER).get("/", params={"ticket": one})
    assert again.status_code == 401
    assert "set-cookie" not in again.headers


async def test_a_used_ticket_does_not_keep_a_signed_in_browser_out(served: Served) -> None:
    browser = await signed_in(served)
    answer = await browser.get("/", params={"ticket": "hfk_used"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "set-cookie" not in answer.headers


async def test_over_tls_the_cookie_never_leaves_it(served: Served) -> None:
    address = f"https://127.0.0.1:4680/?ticket={await ticket(served)}"
    answer = await served.client(**BROWSER).get(address)
    assert answer.headers["set-cookie"].endswith("; Secure")


@pytest.mark.guards(
    "The cookie reads the page, what belongs to it, and the stream; it reaches nothing else and writes nothing.",
    against="A page of another server on this machine that has a signed-in browser end a session.",
    breaks=("page-cookies-open-every-door",),
)
async def test_the_cookie_is_good_for_the_page_and_the_stream_alone(served: Served) -> None:
    browser = await signed_in(served)
    before = await served.head()
    opens = []
    for route in ROUTES:
        if route.access is Access.PUBLIC or route.raw is not None:
            continue
        path = route.path.replace("{id}", "nothing-there").replace("{session}", "s1")
        answer = await browser.request(route.method, path)
        if answer.status_code == 401:
            continue
        assert (route.method, answer.status_code) == ("GET", 200)
        opens.append(route.path)
    assert opens == ["/", "/page/style.css", "/page/script.js"]
    assert await served.head() == before
    raw = [route.path for route in ROUTES if route.raw is not None and route.access is Access.BROWSER]
    assert raw == ["/api/v1/events"]
    async with streaming(served, "/api/v1/events", cookie=cookie(browser)) as stream:
        assert stream.status.result() == 200
        await served.token("read", "seen")
        assert (await stream.until("token_created")).data["payload"]["name"] == "seen"


def test_a_route_that_writes_cannot_be_opened_to_cookies() -> None:
    async def handler(_call: object) -> Any:
        return None

    with pytest.raises(ValueError, match="a browser's cookie reads, and nothing else"):
        Route(method="POST", path="/x", access=Access.BROWSER, handler=handler, audit=None, summary="x")


@pytest.mark.guards(
    "A cookie is good only for what our own page asks for.",
    against="A page of another server on this machine, to which browsers send the same cookies.",
    breaks=("page-cookies-come-from-anywhere",),
)
async def test_what_another_page_had_sent_is_not_signed_in(served: Served) -> None:
    browser = await signed_in(served)
    for path in ("/", "/page/script.js"):
        for site, status in (("same-origin", 200), ("none", 200), ("same-site", 401), ("cross-site", 401), ("x", 401)):
            answer = await browser.get(path, headers={"sec-fetch-site": site})
            assert answer.status_code == status, (path, site)
    evil = await browser.get("/", headers={"origin": "http://127.0.0.1:9999"})
    assert evil.status_code == 403
    # Who follows a link from elsewhere is asked to come again, from here; nobody is asked twice.
    linked = await browser.get("/", headers={"sec-fetch-site": "cross-site"})
    assert [each.attributes["content"] for each in Page(linked.text).all("meta", **{"http-equiv": "refresh"})] == ["0"]
    stranger = await served.client(**BROWSER).get("/", headers={"sec-fetch-site": "same-origin"})
    assert Page(stranger.text).all("meta", **{"http-equiv": "refresh"}) == []


async def test_a_stranger_is_told_in_a_page_how_to_sign_in_and_a_program_in_json(served: Served) -> None:
    for given in ({}, {"cookie": f"holdfast-{served.store.uuid}=hfb_wrong"}, {"cookie": "holdfast=x; ;=;a"}):
        answer = await served.client(**BROWSER).get("/", headers=given)
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        page = Page(answer.text)
        assert page.one("code").text == "holdfast open"
        assert served.store.uuid not in answer.text
    told = await served.client().get("/")
    assert told.json()["error"]["code"] == "unauthenticated"
    for path in ("/page/style.css", "/api/v1/status"):
        elsewhere = await served.client(**BROWSER).get(path)
        assert (elsewhere.status_code, elsewhere.headers["content-type"]) == (401, "application/json")


async def test_what_is_wrong_at_the_page_is_told_in_a_page(served: Served) -> None:
    answer = await (await signed_in(served)).get("/?<script>=1")
    assert answer.status_code == 400
    assert "no parameter '<script>'" in Page(answer.text).text
    _, secret = await served.token("session:s1")
    forbidden = await served.client(secret, **BROWSER).get("/")
    assert (forbidden.status_code, Page(forbidden.text).one("h1").text) == (403, "That did not work")


async def test_a_token_opens_the_page_without_a_cookie(served: Served) -> None:
    answer = await served.boss.get("/")
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    assert (await served.boss.head("/")).content == b""


async def test_a_revoked_token_signs_out_and_ends_the_stream(served: Served) -> None:
    token_id, secret = await served.token("read")
    browser = await signed_in(served, secret)
    async with streaming(served, "/api/v1/events", cookie=cookie(browser)) as stream:
        await served.boss.delete(f"/api/v1/tokens/{token_id}")
        await stream.end()
    assert (await browser.get("/")).status_code == 401


async def test_a_browsers_stream_ends_with_its_time(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signins, "SECONDS", 0.2)
    browser = await signed_in(served)
    async with streaming(served, "/api/v1/events", cookie=cookie(browser)) as stream:
        assert stream.status.result() == 200
        await stream.end()
    assert (await browser.get("/")).status_code == 401


async def test_a_browser_is_signed_out_after_twelve_hours(make_store: StoreMaker, tmp_path: Path) -> None:
    clock = ManualClock()
    async with serving(make_store, tmp_path, clock=clock, checks=()) as served:
        browser = await signed_in(served)
        clock.advance(signins.SECONDS - 1)
        assert (await browser.get("/")).status_code == 200
        clock.advance(1)
        assert (await browser.get("/")).status_code == 401


# --- what protects it ------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "Everything that a browser is given of the page says that nothing else may run, load, frame or keep it.",
    against="One forgotten escape that becomes a script with a person's rights.",
    breaks=("page-runs-what-is-in-it",),
)
async def test_every_answer_of_the_page_carries_the_policy(served: Served) -> None:
    browser = await signed_in(served)
    one = await ticket(served)
    answers = [await browser.get(route.path) for route in ROUTES if isinstance(route, PageRoute)]
    answers += [
        await served.client(**BROWSER).get("/"),
        await served.client(**BROWSER).get(f"/?ticket={one}"),
        await browser.get("/?nobody_knows=1"),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 401, 303, 400]
    for answer in answers:
        said = [part.strip().partition(" ") for part in answer.headers["content-security-policy"].split(";")]
        assert {name: sources for name, _, sources in said} == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


async def test_the_page_needs_nothing_that_its_policy_forbids(served: Served) -> None:
    await put(served.store, full)
    page = await shown(served)
    assert {each.attributes["src"] for each in page.all("script")} == {"/page/script.js"}
    assert {each.attributes["href"] for each in page.all("link")} == {"/page/style.css"}
    assert all(each.text == "" for each in page.all("script"))
    assert page.all("style") == page.all("form") == page.all("iframe") == page.all("base") == []
    assert [
        each for each in page.elements for name in each.attributes if name == "style" or name.startswith("on")
    ] == []
    browser = await signed_in(served)
    for path, media in (("/page/script.js", "text/javascript"), ("/page/style.css", "text/css")):
        answer = await browser.get(path)
        assert (answer.headers["content-type"], "http" in answer.text) == (media, False)
    script = (await browser.get("/page/script.js")).text
    assert [
        word for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(") if word in script
    ] == []


@pytest.mark.guards(
    "What agents, checks, forges and people say is shown as they said it, and is never more than text.",
    against="An agent whose title, or a test whose output, acts in the name of whoever watches.",
    breaks=("page-believes-its-text",),
)
async def test_hostile_words_are_shown_and_do_nothing(served: Served) -> None:
    await put(served.store, lambda unit: full(unit, HOSTILE))
    await put(served.store, lambda unit: full(unit, "harmless", number=2))
    answer = await (await signed_in(served)).get("/")
    page = Page(answer.text)
    assert {each.tag for each in page.elements} <= {
        "html", "head", "meta", "title", "link", "script", "body", "header", "main", "section", "article", "div", "h1",
        "h2", "h3", "p", "b", "a", "ul", "ol", "li", "span", "small", "code", "pre", "time", "details", "summary",
    }  # fmt: skip
    assert len(page.all("script")) == 1
    allowed = re.compile(r"(#|https?://)\S*|/page/style\.css")
    assert [each for each in page.elements if not allowed.fullmatch(each.attributes.get("href", "#"))] == []
    assert "\x1b" not in answer.text
    assert "\u202e" not in answer.text
    words = HOSTILE.replace("\x1b", "").replace("\u202e", "")
    assert page.text.count(words) >= 6  # the notice, title, branch, step, log and conflict


def full(unit: Unit, words: str = "Sell more", number: int = 1) -> None:
    """A session with a pull that fails and is in conflict, and a notice, all in these words."""
    name = session(unit, number, title=words, agent=words, branch=words, evidence=json.dumps({"said": words}))
    sight = opened(
        number, session=name, title=words, branch=words, fit="conflict", conflicts=(words,), url="javascript:1"
    )
    pull(unit, sight, Observation(pull=sight.id, checks=(failed(tail=words, step=words),)))
    raise_notice(unit, kind="agent-stuck", subject=name, key=f"stuck {number}", text=words, scope="shop")
