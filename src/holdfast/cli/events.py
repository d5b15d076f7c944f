"""`holdfast events` and `holdfast audit`: the change log, as it was and as it grows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from holdfast.cli import output, watching
from holdfast.cli.client import Client, connect
from holdfast.cli.place import DataOption, JsonOption
from holdfast.cli.watching import Change

_ACT = "audit_created"
FollowOption = Annotated[bool, typer.Option("-f", "--follow", help="Go on as changes happen.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    app.command()(events)
    app.command()(audit)


def events(
    follow: FollowOption = False,
    after: Annotated[
        int | None, typer.Option(min=0, help="Start behind this number; -f without it starts now.")
    ] = None,
    scope: Annotated[str | None, typer.Option(help="Only this scope, such as a project's id.")] = None,
    event: Annotated[str | None, typer.Option(help="Only this event, such as project_created.")] = None,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """Print the change log: what changed, by whom, why."""
    filters = {"scope": scope, "event": event}
    changes = watching.follow(data, after, **filters) if follow else _past(connect(data), after or 0, **filters)
    _print(changes, _line, json_=json_)


def audit(
    follow: FollowOption = False,
    actor: Annotated[str | None, typer.Option(help="Only acts of this actor, such as token:<id> or daemon.")] = None,
    data: DataOption = None,
    json_: JsonOption = False,
) -> None:
    """Print who or what did what."""
    acts: Iterator[Change]
    if follow:  # the stream knows no actors
        acts = (act for act in watching.follow(data, 0, event=_ACT) if actor in (None, act["actor"]))
    else:
        acts = _past(connect(data), 0, event=_ACT) if actor is None else _past_of(connect(data), actor)
    _print(acts, _act_line, json_=json_)


def _past(client: Client, after: int, **filters: str | None) -> Iterator[Change]:
    """The log from `after` to where it stood when it was first asked."""
    head: int | None = None
    while True:
        page = client.get("/api/v1/changes", after=after, limit=500, **filters)
        head = int(page["head"]) if head is None else head
        for change in page["items"]:
            if change["seq"] > head:
                return
            yield change
        if page["next"] is None:
            return
        after = int(page["next"])


def _past_of(client: Client, actor: str) -> Iterator[Change]:
    """The acts of one actor, oldest first, in the form in which the log shows them."""
    newest_first = list(client.pages("/api/v1/audit", actor=actor))
    for act in reversed(newest_first):
        payload = {name: act[name] for name in ("kind", "subject", "detail")}
        about = {"scope": "system", "entity": "audit", "event": _ACT}
        yield {"seq": act["seq"], **about, "payload": payload, **{name: act[name] for name in ("actor", "cause", "at")}}


def _print(changes: Iterator[Change], line: Callable[[Change], str], *, json_: bool) -> None:
    for change in changes:
        if json_:
            output.as_json(change, indent=None)
        else:
            output.say(line(change))


def _payload(change: Change) -> Any:
    found = change["payload"]
    return json.loads(found) if isinstance(found, str) else found


def _line(change: Change) -> str:
    changed = _payload(change).get("changed") or []
    what = f"{change['entity']} {change['entity_id']}"
    return f"{change['seq']}  {change['at']}  {change['scope']}  {change['event']}  {what}  by {change['actor']}" + (
        f"  ({', '.join(changed)})" if changed else ""
    )


def _act_line(change: Change) -> str:
    act = _payload(change)
    detail = act.get("detail") or {}
    words = " ".join(f"{key}={output.cell(value)}" for key, value in detail.items()) if isinstance(detail, dict) else ""
    return f"{change['at']}  {change['actor']}  {act['kind']}  {act.get('subject') or '-'}  {words}".rstrip()
