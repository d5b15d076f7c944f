"""What stands on the page at `/`: sessions by what they need, pulls with their logs, notices, changes; all bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asgi_streams import streaming
from holdfast.app import packs
from holdfast.fleet.pulls.facts import Observation
from holdfast.notify.notices import raise_notice, resolve
from holdfast.page import reading
from pages import AT, HEAD, events, failed, opened, pull, put, session, shown

if TYPE_CHECKING:
    from holdfast.core.store.port import Unit
    from served import Served


async def test_an_empty_page_teaches_the_first_steps(served: Served) -> None:
    page = await shown(served)
    assert [each.text for each in page.all("code")] == ["holdfast init"]
    added = await served.boss.post("/api/v1/projects", json={"path": str(served.repository("shop"))})
    assert added.status_code == 201
    page = await shown(served)
    assert [each.text for each in page.all("code")] == ['holdfast spawn PROJECT --prompt "what it is to do"']


async def test_who_needs_a_person_comes_first_and_says_why(served: Served) -> None:
    def work(unit: Unit) -> None:
        session(unit, 1, state="terminated", reason="manually_killed")
        session(unit, 2, state="not_started", wanted="spawn", wanted_at=AT, launch=0)
        session(unit, 3, state="working", alive_since=AT)
        session(unit, 4, state="idle", alive_since=AT)
        pull(unit, opened(1, session="shop-4"), Observation(pull="shop.1", checks=(failed(),)))
        session(unit, 5, state="stuck", alive_since=AT)
        session(
            unit, 6, state="needs_input", alive_since=AT, activity="blocked", activity_source="signal", activity_at=AT
        )
        session(unit, 7, state="idle", alive_since=AT)

    await put(served.store, work)
    page = await shown(served)
    articles = [each for each in page.all("article") if each.attributes["id"].startswith("session-")]
    assert [each.attributes["id"].removeprefix("session-shop-") for each in articles] == [
        "6", "5", "4", "3", "7", "2", "1",
    ]  # fmt: skip
    assert [each.text for each in page.all("h3")] == [
        "Needs you (3)", "At work (1)", "Resting (1)", "In the queue (1)", "Ended (1)",
    ]  # fmt: skip
    first = articles[0].text
    assert "needs input" in first
    assert "it asks for a permission" in first
    assert "shop-6 is needs_input, by its agent." in first
    assert "holdfast attach shop-6" in first
    assert "number 1 in the queue" in articles[5].text
    assert page.one("title").text == "(3) Holdfast"


async def test_a_pull_shows_its_checks_with_the_ends_of_their_logs(served: Served) -> None:
    long = "x" * reading.LOG_CHARACTERS + "the end"

    def work(unit: Unit) -> None:
        session(unit, 1)
        checks = (
            failed(tail=long),
            failed("lint", tail="", state="passed", exit_status=0),
            failed("old", commit="b" * 40, tail="of another commit"),
        )
        seen = opened(1, url="https://example.org/1", title="Sell more", expected=("test", "lint", "types"))
        pull(unit, seen, Observation(pull="shop.1", checks=checks))

    await put(served.store, work)
    page = await shown(served)
    found = page.one("article", id="pull-shop.1")
    assert "checks failed" in found.text
    assert page.one("a", href="https://example.org/1").text == "shop.1"
    (log,) = [each for each in page.all("pre") if "the end" in each.text]
    assert log.text == long[-reading.LOG_CHARACTERS :]
    (key,) = [each.attributes["data-key"] for each in page.all("details") if "the end" in each.text]
    assert key == f"log shop.1 {HEAD[:10]} test"
    assert "make test, exit status 2" in found.text
    assert "of another commit" not in page.text


async def test_an_open_notice_is_shown_and_one_that_is_over_is_not(served: Served) -> None:
    def work(unit: Unit) -> None:
        raise_notice(unit, kind="agent-stuck", subject="shop-1", key="one", text="Nothing moves.", scope="shop")
        raise_notice(unit, kind="agent-stuck", subject="shop-2", key="two", text="It is over.", scope="shop")
        resolve(unit, "two")

    await put(served.store, work)
    page = await shown(served)
    notices = page.one("section", class_="notices")
    assert "agent-stuck Nothing moves. shop-1" in notices.text
    assert "It is over." not in page.text


@pytest.mark.guards(
    "The page shows so many of each and says how many it leaves out, those that need somebody not among them.",
    against="A page of a year's sessions that takes minutes to draw, or leaves out without a word what is stuck.",
    breaks=("page-shows-whoever-is-newest", "page-leaves-out-in-silence"),
)
async def test_the_page_is_bounded_and_says_what_it_leaves_out(served: Served) -> None:
    def work(unit: Unit) -> None:
        session(unit, 1, state="stuck", alive_since=AT, state_at="2026-01-01T00:00:00.000000Z")
        for number in range(2, reading.MOST_SESSIONS + 6):
            session(unit, number, state="terminated", reason="manually_killed")
        for number in range(1, reading.MOST_PULLS + 4):
            checks = (failed(tail=f"log {number}"),)
            pull(unit, opened(number, session="shop-1"), Observation(pull=f"shop.{number}", checks=checks))
        for number in range(reading.MOST_NOTICES + 3):
            raise_notice(unit, kind="agent-stuck", subject="x", key=str(number), text=f"{number}", scope="shop")

    await put(served.store, work)
    page = await shown(served)
    named = [each.attributes["id"] for each in page.all("article")]
    assert named[0] == "session-shop-1"
    assert sum(name.startswith("session-") for name in named) == reading.MOST_SESSIONS
    assert sum(name.startswith("pull-") for name in named) == reading.MOST_PULLS
    assert len([each for each in page.all("pre") if each.text.startswith("log ")]) == reading.MOST_LOGS
    left_out = [each.text for each in page.all("p", class_="more")]
    assert left_out == [
        "There are more: holdfast notices ls",
        "5 more sessions are not shown: holdfast ls",
        "Some logs are not shown here: holdfast pulls show PULL",
        "3 more pulls are not shown: holdfast pulls ls",
    ]
    assert len(page.html) < 1_000_000


async def test_the_newest_changes_are_there_and_the_script_goes_on_from_them(served: Served) -> None:
    for number in range(3):
        await served.token("read", f"n{number}")
    newest = await served.head()
    while served.deps.feed.position < newest:
        await served.deps.feed.advanced(served.deps.feed.position)
    page = await shown(served)
    store, _, position = page.one("body").attributes["data-after"].partition(":")
    assert (store, int(position)) == (served.store.uuid, newest)
    lines = [each.text for each in page.all("li") if "token_created" in each.text]
    assert len(lines) == 4  # the first one, and these, newest first
    assert lines[0].split()[1] == "token_created"
    changes = (await served.boss.get("/api/v1/changes", params={"event": "token_created"})).json()["items"]
    assert [line.split()[2] for line in lines] == [each["entity_id"] for each in reversed(changes)]
    watched = {table for pack in packs() for table in pack.watched}
    told = {name for each in watched for name in (each.created_event, each.updated_event, each.removed_event)}
    assert set(events(page)) == told
    async with streaming(served, f"/api/v1/events?after={store}:{position}", served.admin) as stream:
        await served.token("read", "later")
        assert (await stream.until("token_created")).data["payload"]["name"] == "later"


async def test_what_the_daemon_is_not_well_about_is_on_the_page(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = await served.deps.readiness.report()
    report.overall = "degraded"
    report.checks[0].status = "failed"
    report.checks[0].last_error = "The disk is <full>."

    async def told() -> Any:
        return report

    monkeypatch.setattr(served.deps.readiness, "report", told)
    page = await shown(served)
    (trouble,) = page.all("p", class_="trouble")
    assert trouble.text == f"The daemon is degraded: {report.checks[0].name}: The disk is <full>."
