"""Routes of the page: itself, which is also where a browser signs in, and what belongs to it."""

from __future__ import annotations

import asyncio
from importlib import resources
from typing import TYPE_CHECKING

from holdfast.core.access.signins import SECONDS
from holdfast.core.errors import Unauthenticated
from holdfast.core.version import VERSION
from holdfast.core.web.routes import Access, Call, PageRoute, Reply
from holdfast.fleet.fleet import Fleet
from holdfast.page import drawing, reading

if TYPE_CHECKING:
    from starlette.types import Scope

    from holdfast.core.store.port import Reader
    from holdfast.core.web.boundary import ErrorBody
    from holdfast.core.web.deps import Deps

HTML = b"text/html; charset=utf-8"
_POLICY = (
    b"default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
#: Nothing runs, loads or frames this but what is ours, and nothing that is read here goes anywhere else.
HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)
_SEE_OTHER = 303
_UNAUTHENTICATED = Unauthenticated.http_status
_FROM_ELSEWHERE = frozenset({b"cross-site", b"same-site"})
_OK = "ok"


async def page(call: Call) -> Reply:
    """The page; a browser that comes with a ticket leaves it here for a cookie, and the address without it."""
    deps = call.deps
    if call.came == "ticket":
        cookie = _cookie(deps.sign_ins.cookie, deps.sign_ins.begin(call.caller), secure=call.scope["scheme"] == "https")
        return _to_the_page((b"set-cookie", cookie))
    if call.scope["query_string"]:  # a ticket that was used, by a browser that is signed in
        return _to_the_page()
    caps, now, position = deps.means.one(Fleet).caps(), deps.clock.stamp(), deps.feed.position

    def work(reader: Reader) -> reading.State:
        return reading.state(reader, now, caps, position)

    state = await deps.store.read(work)
    body = await asyncio.to_thread(  # a full page takes longer than others should wait for the loop
        drawing.whole,
        state,
        about=f"{VERSION} on {deps.settings.host}",
        trouble=await _trouble(deps),
        after=f"{deps.store.uuid}:{position}",
        events=_events(deps),
    )
    return Reply(body, headers=HEADERS, media=HTML)


def _cookie(name: str, secret: str, *, secure: bool) -> bytes:
    parts = [f"{name}={secret}", "Path=/", f"Max-Age={SECONDS}", "HttpOnly", "SameSite=Strict"]
    return "; ".join([*parts, "Secure"] if secure else parts).encode()


def _to_the_page(*headers: tuple[bytes, bytes]) -> Reply:
    return Reply(b"", _SEE_OTHER, ((b"location", b"/"), *headers, *HEADERS), HTML)


async def _trouble(deps: Deps) -> list[str]:
    """What the daemon is not well about."""
    report = await deps.readiness.report()
    if report.overall == _OK:
        return []
    wrong = [each for each in report.checks if each.status != _OK]
    return [f"The daemon is {report.overall}: {each.name}: {each.last_error or each.status}" for each in wrong]


def _events(deps: Deps) -> str:
    """The names of all events there are: a browser hears only those that it asks for by name."""
    watched = [table for pack in deps.means.packs for table in pack.watched]
    names = {name for table in watched for name in (table.created_event, table.updated_event, table.removed_event)}
    return " ".join(sorted(names))


def refusal(status: int, error: ErrorBody, scope: Scope) -> Reply:
    """What a browser is told that gets no page.

    One that was sent here by a link of another page holds its cookie back. It is told to ask again, now from here.
    """
    elsewhere = any(key == b"sec-fetch-site" and value in _FROM_ELSEWHERE for key, value in scope["headers"])
    signed_out = status == _UNAUTHENTICATED
    said = "This page is for those who are signed in." if signed_out else error.message
    return Reply(drawing.refused(said, signed_out=signed_out, again=signed_out and elsewhere), status, HEADERS, HTML)


def _asset(name: str, media: str) -> PageRoute:
    body = resources.files("holdfast.page").joinpath(name).read_bytes()

    async def send(_call: Call) -> Reply:
        return Reply(body, headers=HEADERS, media=media.encode())

    return PageRoute(
        method="GET",
        path=f"/page/{name}",
        access=Access.BROWSER,
        handler=send,
        audit=None,
        summary=f"The page's {name}",
        media=media,
    )


ROUTES = (
    PageRoute(
        method="GET",
        path="/",
        access=Access.BROWSER,
        handler=page,
        audit=None,
        summary="The page: what the fleet does and needs; `?ticket=` signs a browser in",
        status=(200, _SEE_OTHER),
        media="text/html",
        signs_in=True,
        refusal=refusal,
    ),
    _asset("style.css", "text/css"),
    _asset("script.js", "text/javascript"),
)
