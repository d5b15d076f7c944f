"""Tokens and tickets over HTTP: shown once, ended at once, good for what they are for."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from asgi_streams import SOON, streaming
from holdfast.core import faults
from holdfast.core.access import tokens
from holdfast.core.access.tokens import Tokens, ensure_first, hash_of
from holdfast.core.clock import SYSTEM
from holdfast.core.errors import StoreLost
from holdfast.core.lifecycle import spawn
from holdfast.core.store.port import Act
from holdfast.core.store.sql import query
from holdfast.core.web.writes import COMMITTED
from served import Served, serving

if TYPE_CHECKING:
    from conftest import StoreMaker


@pytest.mark.guards(
    "A token's secret is in one answer and nowhere else: not in the store, not in the log, not in a repeated answer.",
    against="Secrets in backups, change logs and idempotency records.",
    breaks=("tokens-are-kept-with-the-answer",),
)
async def test_a_secret_is_shown_once_and_stored_nowhere(
    served: Served, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    headers = {"idempotency-key": "once"}
    body = {"name": "one", "scope": "read"}
    made = await served.boss.post("/api/v1/tokens", json=body, headers=headers)
    secret = made.json()["token"]
    again = await served.boss.post("/api/v1/tokens", json=body, headers=headers)
    assert again.json() == made.json() | {"token": None}
    assert again.headers["idempotency-replayed"] == "true"
    found: list[Any] = []
    for table in ("tokens", "audit", "idempotency", "change_log"):
        everything = query("everything", sqlite=f"SELECT * FROM {table}")
        found += await served.store.read(lambda reader, what=everything: reader.all(what))
    listed = (await served.boss.get("/api/v1/tokens")).text + (await served.boss.get("/api/v1/audit")).text
    assert secret not in repr(found) + listed
    assert hash_of(secret) in repr(found)
    assert hash_of(secret) not in listed + (await served.boss.get("/api/v1/changes?limit=500")).text
    await served.client(secret).get("/test/bug")
    written = "".join(capfd.readouterr()) + "".join(
        path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()
    )
    assert secret not in written
    assert (await served.client(secret).get("/api/v1/status")).status_code == 200


@pytest.mark.guards(
    "A revoked token is refused from the moment its revocation is answered, and its streams end.",
    against="A leaked token that works on until a cache expires or a stream is closed by its reader.",
    breaks=("tokens-live-on-after-revocation", "tokens-keep-their-streams"),
)
async def test_a_revoked_token_is_refused_at_once_and_its_streams_end(served: Served) -> None:
    token_id, secret = await served.token("read")
    client = served.client(secret)
    async with (
        streaming(served, "/api/v1/events", secret) as stream,
        streaming(served, "/api/v1/events", served.admin) as other,
    ):
        assert (await client.get("/api/v1/status")).status_code == 200
        ticket = (await client.post("/api/v1/tickets")).json()["ticket"]
        revoked = await served.boss.delete(f"/api/v1/tokens/{token_id}")
        assert revoked.json()["revoked_at"]
        assert (await client.get("/api/v1/status")).status_code == 401
        assert (await served.client().get(f"/api/v1/events?ticket={ticket}")).status_code == 401
        await stream.end()
        assert (await other.until("token_updated")).data["entity_id"] == token_id


async def test_a_token_is_revoked_once_and_saying_so_again_changes_nothing(served: Served) -> None:
    token_id, _ = await served.token("read")
    first = await served.boss.delete(f"/api/v1/tokens/{token_id}")
    before = await served.head()
    again = await served.boss.delete(f"/api/v1/tokens/{token_id}")
    assert (again.status_code, again.json()) == (200, first.json())
    assert await served.head() == before


async def test_the_last_admin_token_cannot_be_revoked(served: Served) -> None:
    (mine,) = (await served.boss.get("/api/v1/tokens")).json()["items"]
    before = await served.head()
    answer = await served.boss.delete(f"/api/v1/tokens/{mine['id']}")
    assert answer.status_code == 409
    assert "token create" in answer.json()["error"]["message"]
    assert await served.head() == before
    _, other = await served.token("admin")
    assert (await served.client(other).delete(f"/api/v1/tokens/{mine['id']}")).status_code == 200
    assert (await served.boss.get("/api/v1/tokens")).status_code == 401


@pytest.mark.guards(
    "A token that another process revoked is refused soon, and one that it made is taken.",
    against="Several daemons on one database that each believe their own memory.",
    breaks=("tokens-follow-nobody",),
)
async def test_what_another_process_does_to_tokens_is_seen(served: Served) -> None:
    token_id, secret = await served.token("read")
    made = tokens.new_token()

    def elsewhere(unit: Any) -> None:
        tokens.revoke(unit, token_id)
        tokens.add(unit, made, "other", "read")

    await served.store.unit(Act("token:other", "req_other"), elsewhere)
    async with asyncio.timeout(SOON):
        while served.deps.tokens.find(secret) is not None or served.deps.tokens.find(made.secret) is None:
            await SYSTEM.sleep(0.01)
    assert (await served.client(secret).get("/api/v1/status")).status_code == 401
    assert (await served.client(made.secret).get("/api/v1/status")).status_code == 200


async def test_a_load_that_began_before_a_change_neither_loses_nor_revives_a_token(served: Served) -> None:
    held, go = asyncio.Event(), asyncio.Event()
    old_id, old = await served.token("read")

    class Slow:
        """A store whose answers arrive late."""

        async def read(self, work: Any) -> Any:
            rows = await served.store.read(work)
            held.set()
            await go.wait()
            return rows

    slow = Tokens(Slow(), served.deps.feed, SYSTEM)  # type: ignore[arg-type]
    loading = spawn(slow.load(), name="a slow load", vital=False)
    await held.wait()
    new = tokens.new_token()
    slow.added(new, "read")
    slow.ended(old_id)
    go.set()
    await loading
    assert slow.find(old) is None
    assert slow.find(new.secret) is not None


@pytest.mark.guards(
    "A browser's ticket opens one stream, once, and nothing else.",
    against="An address with a ticket in it, found in a history or a proxy's log.",
    breaks=("tickets-are-good-for-ever", "tickets-open-every-door"),
)
async def test_a_ticket_opens_one_stream_and_nothing_else(served: Served) -> None:
    async def ticket() -> str:
        answer = await served.boss.post("/api/v1/tickets")
        assert answer.json()["expires_at"] > SYSTEM.stamp()
        return str(answer.json()["ticket"])

    one = await ticket()
    async with streaming(served, f"/api/v1/events?ticket={one}") as stream:
        assert stream.status.result() == 200
        await served.token("read", "seen")
        assert (await stream.until("token_created")).data["payload"]["name"] == "seen"
    async with streaming(served, f"/api/v1/events?ticket={one}") as again:
        assert again.status.result() == 401
    unused = await ticket()
    for path in ("/api/v1/status", "/api/v1/changes", "/api/v1/projects"):
        assert (await served.client().get(f"{path}?ticket={unused}")).status_code == 401


async def test_a_wrong_query_does_not_spend_a_ticket_and_tells_a_stranger_nothing(served: Served) -> None:
    wrong = await served.client().get("/api/v1/events?nobody_knows=1&ticket=x")
    assert wrong.status_code == 401


async def test_a_stream_goes_on_from_its_last_event_and_filters(served: Served) -> None:
    for name in ("a", "b", "c"):
        await served.token("read", name)
    async with streaming(served, "/api/v1/events?after=0&event=token_created", served.admin) as stream:
        first = await stream.until("token_created")
    async with streaming(
        served, "/api/v1/events?after=0&event=token_created", served.admin, **{"last-event-id": first.id}
    ) as stream:
        assert (await stream.until("token_created")).seq > first.seq
    async with streaming(served, "/api/v1/events?after=0123456789abcdef:1", served.admin) as stream:
        assert (await stream.until("reset")).data["reason"] == "foreign"


# --- the first token -------------------------------------------------------------------------------------------


async def test_the_first_token_is_made_once_in_a_file_that_only_its_owner_reads(
    make_store: StoreMaker, tmp_path: Path
) -> None:
    store = await make_store()
    path = tmp_path / "token"
    await ensure_first(store, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first = path.read_text()
    await ensure_first(store, path)
    assert path.read_text() == first
    assert len(await store.read(lambda reader: reader.all(tokens.SQL.live))) == 1
    acts = await store.read(lambda reader: reader.all(query("acts", sqlite="SELECT kind FROM audit")))
    assert [act["kind"] for act in acts] == ["token.created"]


@pytest.mark.guards(
    "A crash between the token's file and its row leaves a daemon that can be entered at its next start.",
    against="A token file whose secret the store has never heard of.",
    breaks=("tokens-first-is-not-taken-up",),
)
async def test_a_crash_between_the_file_and_the_row_of_the_first_token_is_mended(
    make_store: StoreMaker, tmp_path: Path
) -> None:
    store = await make_store()
    path = tmp_path / "token"

    class Dying:
        """A store that is lost just before it would write."""

        read = store.read

        async def unit(self, *_given: Any) -> None:
            raise StoreLost("died here")

    with pytest.raises(StoreLost):
        await ensure_first(Dying(), path)  # type: ignore[arg-type]
    kept = path.read_text()
    await ensure_first(store, path)
    assert path.read_text() == kept
    (live,) = await store.read(lambda reader: reader.all(tokens.SQL.live))
    assert live["hash"] == hash_of(kept.strip())


async def test_who_lost_every_admin_token_gets_a_new_one_at_the_next_start(
    make_store: StoreMaker, tmp_path: Path
) -> None:
    store = await make_store()
    path = tmp_path / "token"
    await ensure_first(store, path)
    old = path.read_text()
    ended = query("end_all", sqlite="UPDATE tokens SET revoked_at = created_at")
    await store.unit(Act("daemon", "test"), lambda unit: unit.run(ended))
    await ensure_first(store, path)
    assert path.read_text() != old
    (live,) = await store.read(lambda reader: reader.all(tokens.SQL.live))
    assert live["hash"] == hash_of(path.read_text().strip())


@pytest.mark.parametrize("content", ["", "garbage", "\x00" * 9])
async def test_a_damaged_token_file_is_replaced_when_nobody_could_enter(
    content: str, make_store: StoreMaker, tmp_path: Path
) -> None:
    store = await make_store()
    path = tmp_path / "token"
    path.write_text(content)
    await ensure_first(store, path)
    (live,) = await store.read(lambda reader: reader.all(tokens.SQL.live))
    assert live["hash"] == hash_of(path.read_text().strip())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# --- other addresses -------------------------------------------------------------------------------------------


async def test_names_and_pages_that_were_let_in_by_setting_may_call(make_store: StoreMaker, tmp_path: Path) -> None:
    page = "https://fleet.example.org"
    settings = {"access.hosts": ["fleet.example.org"], "access.origins": [page]}
    async with serving(make_store, tmp_path, **settings) as served:
        headers = {"host": "fleet.example.org:443", "origin": page}
        answer = await served.boss.get("/api/v1/status", headers=headers)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == page
        asked = headers | {"access-control-request-method": "PATCH"}
        allowed = await served.client().options("/api/v1/projects/x", headers=asked)
        assert allowed.status_code == 204
        assert allowed.headers["access-control-allow-methods"] == "DELETE, GET, HEAD, PATCH"
        other = await served.boss.get("/api/v1/status", headers={"host": "fleet.example.org.evil.example"})
        assert other.status_code == 403


async def test_beyond_loopback_an_address_written_out_is_ours_and_a_name_is_not(
    make_store: StoreMaker, tmp_path: Path
) -> None:
    async with serving(make_store, tmp_path, listen="0.0.0.0:4680") as served:
        for host, status in (("10.1.2.3:4680", 200), ("[fe80::1]:4680", 200), ("evil.example", 403), ("1.2.3", 403)):
            answer = await served.boss.get("/api/v1/status", headers={"host": host})
            assert answer.status_code == status, host


async def test_a_client_that_leaves_in_the_middle_of_its_body_changes_nothing(served: Served) -> None:
    messages = iter([{"type": "http.request", "body": b'{"na', "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        raise AssertionError(message)

    before = await served.head()
    headers = {"host": "localhost", "authorization": f"Bearer {served.admin}", "content-type": "application/json"}
    pairs = [(key.encode(), value.encode()) for key, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/api/v1/tokens", "query_string": b"", "headers": pairs}
    await served.app(scope, receive, send)
    assert await served.head() == before


async def test_a_lost_answer_to_a_new_token_is_known_by_the_fault_point(served: Served) -> None:
    body = {"name": "lost", "scope": "read"}
    with faults.armed(COMMITTED, faults.raising(faults.FaultRaisedError("the answer is lost"))):
        lost = await served.boss.post("/api/v1/tokens", json=body)
    assert lost.status_code == 500
    listed = (await served.boss.get("/api/v1/tokens")).json()["items"]
    assert [row["name"] for row in listed if row["name"] == "lost"] == ["lost"]
