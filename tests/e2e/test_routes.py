"""Every route: walked, reached only by those it names, and refusing what is wrong without changing anything."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest

from holdfast.app import packs
from holdfast.core.web.factory import CORE_ROUTES, RoutesWrong, Row, table
from holdfast.core.web.openapi import document
from holdfast.core.web.routes import Access, Reply, Route
from served import BASE, EXTRA, Served

ROUTES = table((*packs(), EXTRA))
#: What the interface leaves open to anybody.
PUBLIC = {("GET", "/healthz"), ("GET", "/readyz")}
#: Writes that leave no act: one stores nothing, and a signal is a record of its own.
STORES_NOTHING = {("POST", "/api/v1/tickets"), ("POST", "/api/v1/sessions/{session}/signals")}
#: Bodies that are taken where an empty one is not.
VALID: dict[str, dict[str, object]] = {
    "POST /api/v1/sessions/{id}/messages": {"text": "hello"},
    "POST /api/v1/pulls/{id}/comments": {"text": "hello"},
    "POST /api/v1/pulls/{id}/reviews": {"verdict": "approve"},
    "POST /api/v1/pulls/{id}/resolve": {"thread": "1"},
}
WRITES = [route for route in ROUTES if route.method != "GET"]
READS = [route for route in ROUTES if route.method == "GET" and route.raw is None]
WITH_BODY = [route for route in ROUTES if route.body is not None]
GUARDED = [route for route in ROUTES if route.access is not Access.PUBLIC]


def name(route: Route) -> str:
    return f"{route.method} {route.path}"


def address(route: Route) -> str:
    return route.path.replace("{id}", "nothing-there").replace("{session}", "s1")


async def ask(client: httpx.AsyncClient, route: Route, **more: Any) -> httpx.Response:
    return await client.request(route.method, address(route), **more)


def code(answer: httpx.Response) -> str:
    """The code of an error that has its whole envelope."""
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "details", "request_id"}
    assert error["request_id"] == answer.headers["x-request-id"]
    assert error["message"].endswith((".", "?"))
    assert answer.headers["x-holdfast-load"] == "ready"
    return str(error["code"])


# --- the walk --------------------------------------------------------------------------------------------------


async def test_every_route_of_the_built_application_stands_in_a_table(served: Served) -> None:
    built = served.app.fastapi.router.routes
    assert all(isinstance(route, Row) for route in built)
    assert [route.row for route in built if isinstance(route, Row)] == list(ROUTES)


def test_every_route_names_its_access_and_there_is_no_default() -> None:
    assert [name(route) for route in ROUTES if not isinstance(route.access, Access)] == []
    with pytest.raises(TypeError, match="access"):
        Route(method="GET", path="/x", handler=ROUTES[0].handler, audit=None, summary="x")  # type: ignore[call-arg]


def test_only_what_the_interface_leaves_open_is_public() -> None:
    assert {(route.method, route.path) for route in ROUTES if route.access is Access.PUBLIC} == PUBLIC


def test_every_write_names_its_act_and_is_the_admins_or_a_sessions() -> None:
    silent = {(route.method, route.path) for route in WRITES if route.audit is None}
    assert silent == STORES_NOTHING
    assert {route.access for route in WRITES if route.audit} <= {Access.ADMIN, Access.SESSION}


async def test_the_document_has_every_route_with_its_access(served: Served) -> None:
    answer = await served.boss.get("/api/v1/openapi.json")
    paths = answer.json()["paths"]
    said = {(method.upper(), path): about for path, methods in paths.items() for method, about in methods.items()}
    assert set(said) == {(route.method, route.path) for route in ROUTES}
    for route in ROUTES:
        about = said[route.method, route.path]
        assert about["x-access"] == route.access.value
        assert bool(about["security"]) == (route.access is not Access.PUBLIC)


def test_the_documents_operations_have_names_of_their_own() -> None:
    paths = document("x", "1", ROUTES)["paths"]
    names = [about["operationId"] for methods in paths.values() for about in methods.values()]
    assert len(set(names)) == len(names)


def test_a_table_that_contradicts_itself_is_refused() -> None:
    twice = (*packs(), EXTRA, EXTRA)
    with pytest.raises(RoutesWrong, match="twice"):
        table(twice)
    with pytest.raises(RoutesWrong, match="no pack registers"):
        table(())
    assert CORE_ROUTES


def test_a_route_that_could_not_be_served_is_refused() -> None:
    async def handler(_call: object) -> Reply:
        return Reply()

    with pytest.raises(ValueError, match="neither an act nor a body"):
        Route(method="GET", path="/x", access=Access.READ, handler=handler, audit="x.y", summary="x")
    with pytest.raises(ValueError, match="either a handler or a raw handler"):
        Route(method="GET", path="/x", access=Access.READ, audit=None, summary="x")


# --- who reaches what ------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "Every route lets in those that its table names, and nobody else.",
    against="A route that somebody added without a thought for who may use it.",
    breaks=("routes-admit-every-token", "routes-need-no-token"),
)
async def test_every_route_is_reached_by_those_it_names_and_nobody_else(served: Served) -> None:
    scopes = ("admin", "read", "session:s1", "session:other")
    secrets = {scope: (await served.token(scope))[1] for scope in scopes}
    reach = {
        Access.PUBLIC: {None, "wrong", *scopes},
        Access.READ: {"admin", "read"},
        Access.BROWSER: {"admin", "read"},
        Access.ADMIN: {"admin"},
        Access.SESSION: {"admin", "session:s1"},
    }
    before = await served.head()
    for route in (route for route in ROUTES if route.raw is None and route.path != "/test/sessions/{session}/notes"):
        for who in (None, "wrong", *scopes):
            token = {None: None, "wrong": "hft_" + "A" * 43}.get(who, secrets.get(str(who)))
            answer = await ask(served.client(token), route)
            if who in reach[route.access]:
                assert answer.status_code not in {401, 403}, (name(route), who)
            else:
                expected = 401 if who in {None, "wrong"} else 403
                assert answer.status_code == expected, (name(route), who)
                assert code(answer) == {401: "unauthenticated", 403: "forbidden"}[expected]
                assert (expected == 401) == ("www-authenticate" in answer.headers)
    assert await served.head() == before


async def test_a_header_that_holds_no_token_is_refused(served: Served) -> None:
    for header in ("", "Bearer", "Bearer ", "Basic eDp5", "hft_x", served.admin, "Bearer \xff", "Bearer a b"):
        answer = await served.client().get("/api/v1/status", headers={"authorization": header.encode("latin-1")})
        assert (answer.status_code, code(answer)) == (401, "unauthenticated"), header


async def test_two_tokens_at_once_are_refused(served: Served) -> None:
    both = [("authorization", f"Bearer {served.admin}")] * 2
    answer = await served.client().get("/api/v1/status", headers=both)
    assert answer.status_code == 401


async def test_a_token_in_the_address_is_not_taken(served: Served) -> None:
    for parameter in ("token", "access_token", "authorization"):
        answer = await served.client().get(f"/api/v1/status?{parameter}={served.admin}")
        assert answer.status_code == 401


# --- whose page, which name ------------------------------------------------------------------------------------


@pytest.mark.guards(
    "A request under a name that is not ours is refused, with a good token too.",
    against="A web page that points its own name at our address and reads what it likes (DNS rebinding).",
    breaks=("hosts-any-name-is-ours",),
)
async def test_a_host_that_is_not_ours_is_refused(served: Served) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:4680", "10.1.2.3", "", "[::2]"):
        for path in ("/healthz", "/api/v1/status"):
            answer = await served.boss.get(path, headers={"host": host})
            assert (answer.status_code, code(answer)) == (403, "forbidden"), host


async def test_the_names_of_this_machine_are_ours(served: Served) -> None:
    for host in ("127.0.0.1:4680", "localhost", "LOCALHOST:1", "[::1]:4680"):
        assert (await served.boss.get("/api/v1/status", headers={"host": host})).status_code == 200, host


@pytest.mark.guards(
    "A page of another origin reaches nothing.",
    against="A web page that makes its visitor's browser act here.",
    breaks=("hosts-any-page-may-call",),
)
async def test_a_page_of_another_origin_is_refused(served: Served) -> None:
    before = await served.head()
    body = {"name": "x", "scope": "admin"}
    for origin in ("https://evil.example", "null", "http://127.0.0.1:9999", "file://", "", "x"):
        answer = await served.boss.post("/api/v1/tokens", json=body, headers={"origin": origin})
        assert (answer.status_code, code(answer)) == (403, "forbidden"), origin
    assert await served.head() == before


async def test_our_own_page_may_call(served: Served) -> None:
    answer = await served.boss.get("/api/v1/status", headers={"origin": "http://127.0.0.1:4680"})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


# --- what is wrong is told, and changes nothing ----------------------------------------------------------------


MALFORMED = (b"", b"{", b"\xff\xfe", b"not json")
INVALID = (
    b"null",
    b"[]",
    b"7",
    b'"text"',
    b"[" * 100_000,
    b'{"nobody_knows_this": 1}',
    b'{"path": "a\\u0000b", "name": "a\\u0000b", "scope": "read", "agent": "a\\u0000"}',
    b'{"path": 1, "name": 1, "scope": 1, "agent": 1}',
)


@pytest.mark.parametrize("route", WITH_BODY, ids=name)
async def test_a_body_that_is_wrong_is_refused_and_changes_nothing(route: Route, served: Served) -> None:
    before = await served.head()
    for bodies, expected in ((MALFORMED, (400, "malformed")), (INVALID, (422, "invalid"))):
        for content in bodies:
            answer = await ask(served.boss, route, content=content, headers={"content-type": "application/json"})
            assert (answer.status_code, code(answer)) == expected, content[:80]
    assert await served.head() == before


@pytest.mark.parametrize("route", WITH_BODY, ids=name)
async def test_a_body_of_another_kind_is_refused(route: Route, served: Served) -> None:
    for media in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = await ask(served.boss, route, content=b"{}", headers={"content-type": media})
        assert (answer.status_code, code(answer)) == (415, "unsupported_media")


@pytest.mark.parametrize("route", WRITES, ids=name)
async def test_a_body_that_is_too_large_is_refused(route: Route, served: Served) -> None:
    async def chunks() -> Any:
        for _ in range(20):
            yield b" " * 100_000

    before = await served.head()
    headers = {"content-type": "application/json"}
    for content in (b" " * 1_048_577, chunks()):
        answer = await ask(served.boss, route, content=content, headers=headers)
        assert (answer.status_code, code(answer)) == (413, "too_large")
    assert await served.head() == before


@pytest.mark.parametrize("route", [route for route in WRITES if route.body is None], ids=name)
async def test_a_body_where_none_is_taken_is_refused(route: Route, served: Served) -> None:
    answer = await ask(served.boss, route, content=b"{}", headers={"content-type": "application/json"})
    assert (answer.status_code, code(answer)) == (400, "malformed")


async def test_a_parameter_that_nobody_knows_or_that_is_no_text_is_refused(served: Served) -> None:
    for route in ROUTES:
        for query in ("nobody_knows=1", "limit=%ff", "%00=1", "a=1&" * 300):
            answer = await served.boss.request(route.method, f"{address(route)}?{query}")
            assert (answer.status_code, code(answer)) == (400, "malformed"), (name(route), query)


@pytest.mark.parametrize("route", [route for route in GUARDED if route.query is not None], ids=name)
async def test_a_parameter_that_cannot_be_is_refused(route: Route, served: Served) -> None:
    known = {field.name for field in msgspec.structs.fields(route.query)}
    tries = {
        "limit": ("0", "-1", "501", "x", "1.5", "", "9" * 40),
        "after": ("x", "-1", "1:2:3", "9" * 40, "a b:1", "%00"),
        "cursor": ("%00", "", "x" * 300),
        "actor": ("%00", "", "x" * 300),
        "scope": ("%00", "x" * 300),
        "event": ("%00", "x" * 300),
        "state": ("x", "", "%00"),
        "kind": ("", "%00", "x" * 300),
        "project": ("", "%00", "A b", "x" * 300),
        "session": ("", "%00", "A b", "x" * 300),
        "include": ("", "x", "%00"),
        "bytes": ("0", "-1", "x", "1.5", "9" * 40),
    }
    assert known <= set(tries)
    for parameter in known:
        for value in tries[parameter]:
            answer = await served.boss.get(f"{address(route)}?{parameter}={value}")
            assert (answer.status_code, code(answer)) == (400, "malformed"), (parameter, value)


async def test_a_cursor_that_is_none_is_refused(served: Served) -> None:
    for cursor in ("x", "-1", "1.5", "9" * 30, "\u0661"):
        answer = await served.boss.get("/api/v1/audit", params={"cursor": cursor})
        assert (answer.status_code, code(answer)) == (400, "malformed"), cursor


@pytest.mark.parametrize("route", [route for route in ROUTES if "{id}" in route.path], ids=name)
async def test_an_id_that_cannot_be_is_not_found_and_changes_nothing(route: Route, served: Served) -> None:
    before = await served.head()
    more = {"json": VALID.get(name(route), {})} if route.body is not None else {}
    for odd in ("%00", "%ff", "..", "%2e%2e", "a%20b", "x" * 500, "%27%3b--", "%f0%9f%92%a3", "%0a"):
        # The path goes in as it is: a client would tidy it up.
        url = httpx.URL(BASE).copy_with(raw_path=route.path.replace("{id}", odd).encode())
        answer = await served.boss.request(route.method, url, **more)
        assert answer.status_code in {400, 404, 405}, odd
        code(answer)
    assert await served.head() == before


async def test_an_address_that_is_not_there_and_a_method_that_it_does_not_take_are_told_apart(served: Served) -> None:
    nowhere = await served.boss.get("/api/v1/nothing")
    assert (nowhere.status_code, code(nowhere)) == (404, "not_found")
    for path in ("/page", "/docs", "/redoc", "/openapi.json", "/api/v1/projects/", "/api/v1/projects/a/b"):
        assert (await served.boss.get(path)).status_code == 404
    wrong = await served.boss.put("/api/v1/projects/x")
    assert (wrong.status_code, code(wrong)) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "DELETE, GET, HEAD, PATCH"


async def test_a_bug_is_answered_without_its_words_and_under_an_id_that_the_log_has(served: Served) -> None:
    answer = await served.boss.get("/test/bug")
    assert (answer.status_code, code(answer)) == (500, "internal")
    assert "foresaw" not in answer.text
    assert answer.headers["x-request-id"] in answer.json()["error"]["message"]


async def test_head_tells_what_get_would_without_a_body(served: Served) -> None:
    for route in READS:
        got = await ask(served.boss, route)
        head = await served.boss.head(address(route))
        assert (head.status_code, head.content) == (got.status_code, b""), name(route)
        assert head.headers["content-type"] == got.headers["content-type"]
