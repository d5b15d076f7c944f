"""The page as HTML: every part a function from what was read to elements. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from holdfast.core.errors import HoldfastError
from holdfast.fleet.pulls.facts import greenness
from holdfast.fleet.sessions.explain import words
from holdfast.fleet.sessions.status import age
from holdfast.page.elements import Html, document, element, link
from holdfast.page.standing import GROUPS, Group

if TYPE_CHECKING:
    from holdfast.core.changes.log import Change
    from holdfast.core.store.port import Row
    from holdfast.fleet.pulls.facts import Check
    from holdfast.page.reading import Shown, Standing, State

STYLE, SCRIPT = "/page/style.css", "/page/script.js"
#: So much of an explanation is shown; evidence can be long.
_MOST_LINES = 40
_SHORT = 10
_GREEN = {
    "passed": "checks passed",
    "failed": "checks failed",
    "errored": "checks could not be run",
    "pending": "checks are running",
    "none": "no checks are configured",
    "unknown": "nobody knows yet whether there are checks",
}


def whole(state: State, *, about: str, trouble: Iterable[str], after: str, events: str) -> bytes:
    """The whole page. `after` and `events` tell its script where to go on in the log, and what to listen to."""
    head = (
        element("meta", name="viewport", content="width=device-width"),
        element("meta", name="color-scheme", content="light dark"),
        element("link", rel="stylesheet", href=STYLE),
        element("script", src=SCRIPT, defer=""),
    )
    waits = sum(shown.why.status in GROUPS[0].statuses for shown in state.sessions)
    live = element("p", "Reload to see what has changed.", id="live", role="status")
    body = element(
        "body",
        element("header", element("h1", "Holdfast"), element("p", about), live),
        element(
            "main",
            [element("p", each, class_="trouble") for each in trouble],
            _notices(state),
            _sessions(state),
            _pulls(state),
            id="state",
        ),
        element("section", element("h2", "Changes"), _changes(state), id="changes"),
        data_after=after,
        data_events=events,
    )
    return document(f"({waits}) Holdfast" if waits else "Holdfast", head, body)


def refused(said: str, *, signed_out: bool, again: bool) -> bytes:
    """What a browser is told instead of the page; `again`: it is to ask once more, from here."""
    head = element("meta", http_equiv="refresh", content="0") if again else None
    title = "Not signed in" if signed_out else "That did not work"
    how = element("p", "On the machine that the daemon runs on, type ", element("code", "holdfast open"), ".")
    body = element("body", element("h1", title), how if signed_out else None, element("p", said))
    return document(f"{title} - Holdfast", (element("meta", name="color-scheme", content="light dark"), head), body)


# --- notices ---------------------------------------------------------------------------------------------------


def _notices(state: State) -> Html | None:
    if not state.notices:
        return None
    items = [_notice(row, state.now) for row in state.notices]
    more = element("p", "There are more: holdfast notices ls", class_="more") if state.notices_cut else None
    return element("section", element("h2", "Notices"), element("ul", items), more, class_="notices")


def _notice(row: Row, now: str) -> Html:
    return element(
        "li",
        element("b", str(row["kind"])),
        " ",
        str(row["text"]),
        element("small", f" {row['subject']}, ", _ago(row["raised_at"], now)),
    )


# --- sessions --------------------------------------------------------------------------------------------------


def _sessions(state: State) -> Html:
    if not state.sessions:
        return element("section", element("h2", "Sessions"), _first_steps(state))
    drawn = [_group(group, state) for group in GROUPS]
    return element("section", element("h2", "Sessions"), drawn, _left_out(state.sessions_left_out, "sessions", "ls"))


def _first_steps(state: State) -> Html:
    if not state.projects:
        return element("p", "No project yet. In a repository of yours, type ", element("code", "holdfast init"), ".")
    command = element("code", 'holdfast spawn PROJECT --prompt "what it is to do"')
    return element("p", "No session yet. Set an agent to work with ", command, ".")


def _group(group: Group, state: State) -> Html | None:
    members = [shown for shown in state.sessions if shown.why.status in group.statuses]
    if not members:
        return None
    title = element("h3", f"{group.title} ({len(members)})")
    return element("div", title, [_session(shown, state.now) for shown in members], class_=f"group {group.name}")


def _session(shown: Shown, now: str) -> Html:
    row, why = shown.row, shown.why
    said = why.asked[-1].saw
    if shown.queued is not None:
        place, because = shown.queued
        said = f"number {place} in the queue: {because}"
    lines = why.lines()
    cut = ["..."] if len(lines) > _MOST_LINES else []
    return element(
        "article",
        element("p", element("b", row["id"]), " ", _badge(why.status), " ", str(row["title"])),
        element("p", said, element("small", ", ", _ago(row["state_at"], now)), class_="why"),
        element("p", _of_session(shown), class_="of"),
        element(
            "details",
            element("summary", "why"),
            element("pre", "\n".join([*lines[:_MOST_LINES], *cut])),
            data_key=f"why {row['id']}",
        ),
        id=f"session-{row['id']}",
    )


def _of_session(shown: Shown) -> Iterator[str | Html]:
    row = shown.row
    yield f"{row['agent']} on {row['branch']} of {row['project']}"
    for each in shown.pulls:
        yield from (", ", element("a", each.pull.id, href=f"#pull-{each.pull.id}"), f" {_spoken(each.status)}")
    if row["alive_since"] is not None:
        yield from (" · ", element("code", f"holdfast attach {row['id']}"))


# --- pulls -----------------------------------------------------------------------------------------------------


def _pulls(state: State) -> Html | None:
    if not state.pulls:
        return None
    cut = None
    if state.logs_cut:
        cut = element("p", "Some logs are not shown here: holdfast pulls show PULL", class_="more")
    drawn = [_pull(each, state) for each in state.pulls]
    title = element("h2", "Pull requests")
    return element("section", title, drawn, cut, _left_out(state.pulls_left_out, "pulls", "pulls ls"))


def _pull(each: Standing, state: State) -> Html:
    pull = each.pull
    green = _GREEN[greenness(pull)] if pull.state == "open" else None
    session = element("a", pull.session, href=f"#session-{pull.session}")
    conflicts = element("p", "In conflict: ", ", ".join(pull.conflicts), class_="why") if pull.conflicts else None
    return element(
        "article",
        element("p", link(pull.url, element("b", pull.id)), " ", _badge(each.status), " ", pull.title),
        element("p", f"{pull.branch} into {pull.base}, by ", session, f", {green}" if green else None, class_="of"),
        conflicts,
        element("p", "Its merge was refused: ", pull.refused, class_="why") if pull.refused else None,
        element("ul", [_check(pull.id, check, state) for check in pull.head_checks], class_="checks"),
        id=f"pull-{pull.id}",
    )


def _check(pull: str, check: Check, state: State) -> Html:
    status = "" if check.exit_status is None else f", exit status {check.exit_status}"
    step = f" at {check.step}" if check.step else ""
    said = (_badge(check.state), " ", element("b", check.name), f"{step}{status}")
    tail = state.logs.get((pull, check.name))
    if tail is None:
        return element("li", said)
    key = f"log {pull} {check.commit[:_SHORT]} {check.name}"
    log = element("details", element("summary", said), element("pre", tail), data_key=key)
    return element("li", log)


# --- changes ---------------------------------------------------------------------------------------------------


def _changes(state: State) -> Html:
    return element("ol", [_change(change) for change in state.changes], id="feed")


def _change(change: Change) -> Html:
    """One line; the script draws those that come later in the same way."""
    payload = msgspec.json.decode(change.payload)
    stands = payload.get("state") if isinstance(payload, dict) else None
    what = f" {stands}" if isinstance(stands, str) else ""
    return element(
        "li",
        element("time", change.at[11:19], datetime=change.at),
        f" {change.event} {change.entity_id}{what}",
        element("small", f" {change.actor}"),
    )


# --- in all of them --------------------------------------------------------------------------------------------


def _badge(status: str) -> Html:
    return element("span", _spoken(status), class_=f"badge {status}")


def _spoken(status: str) -> str:
    return status.replace("_", " ")


def _ago(at: str, now: str) -> Html:
    try:
        seconds = age(at, now)
    except (ValueError, HoldfastError):
        return element("time", at)
    return element("time", f"{words(max(0.0, seconds))} ago" if seconds >= 1 else "just now", datetime=at)


def _left_out(count: int, what: str, command: str) -> Html | None:
    if count <= 0:
        return None
    return element("p", f"{count} more {what} are not shown: ", element("code", f"holdfast {command}"), class_="more")
