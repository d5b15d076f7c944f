"""Pages as a browser reads them, and what a test puts into a store for a page to show."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

from holdfast.core.store.port import Act
from holdfast.core.store.sql import query
from holdfast.fleet.pulls import rows as pulls
from holdfast.fleet.pulls.facts import Check, Observation, Pull
from holdfast.fleet.pulls.reducer import reduce

if TYPE_CHECKING:
    import httpx

    from holdfast.core.store.port import Store, Unit
    from served import Served

ACT = Act("daemon", "test")
BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
AT = "2026-11-21T10:00:00.000000Z"
HEAD = "a" * 40
_SESSION = {
    "project": "shop", "kind": "worker", "title": "Sell more", "agent": "scripted", "speaks": "hooks", "options": "{}",
    "runtime": "process", "host": "here", "repository": "/shop", "base": "main", "base_commit": "0" * 40,
    "state": "idle", "state_at": "2026-11-21T10:00:00.000000Z", "reason": None, "evidence": "{}", "wanted": None,
    "wanted_at": None, "admitted_at": None, "launch": 1, "alive_since": None, "activity": None,
    "activity_source": None, "activity_at": None, "life": "{}", "rejected": 0, "lost": 0,
    "created_at": "2026-11-21T10:00:00.000000Z",
}  # fmt: skip
_COLUMNS = ("id", "number", "branch", *_SESSION)
_ADD = query(
    "add_session",
    sqlite=f"INSERT INTO sessions ({', '.join(_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in _COLUMNS)})",
)


def session(unit: Unit, number: int, **told: Any) -> str:
    """A session of `shop` as it may stand in a store; its id."""
    name = f"{told.get('project', 'shop')}-{number}"
    unit.run(_ADD, **{"id": name, "number": number, "branch": f"holdfast/{name}"} | _SESSION | told)
    return name


def pull(unit: Unit, opened: Pull, *seen: Observation) -> None:
    """A pull, and what was seen of it; nobody is told."""
    pulls.add(unit, opened)
    for observation in seen:
        reduced = reduce(opened, observation, unit.at)
        pulls.write(unit, reduced)
        opened = reduced.pull


async def put(store: Store, work: Any) -> None:
    """Do this in one unit."""
    await store.unit(ACT, work)


@dataclass
class Element:
    """One element of a page: what it is, and all text within it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """A page that was read by somebody who knows nothing of how it was made."""

    html: str
    elements: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[Element] = []
        self.feed(self.html)
        self.close()
        assert self._open == [], "elements that are not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = Element(tag, {name: value or "" for name, value in attrs})
        assert len(found.attributes) == len(attrs), "an attribute twice"
        self.elements.append(found)
        if tag not in {"meta", "link"}:
            self._open.append(found)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """Every element of a kind with these attributes."""
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [each for each in self.elements if each.tag == tag and wanted.items() <= each.attributes.items()]

    def one(self, tag: str, **attributes: str) -> Element:
        """The only one."""
        (found,) = self.all(tag, **attributes)
        return found

    @property
    def text(self) -> str:
        """Everything that can be read on it."""
        return self.one("body").text


def events(page: Page) -> list[str]:
    """The names that the page's script listens to."""
    return page.one("body").attributes["data-events"].split()


async def ticket(served: Served, token: str | None = None) -> str:
    """A ticket, as `holdfast open` gets one."""
    return str((await served.client(token or served.admin).post("/api/v1/tickets")).json()["ticket"])


async def signed_in(served: Served, token: str | None = None) -> httpx.AsyncClient:
    """A browser that has opened the address of `holdfast open`."""
    browser = served.client(**BROWSER)
    answer = await browser.get("/", params={"ticket": await ticket(served, token)})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    return browser


async def shown(served: Served) -> Page:
    """The page as the admin's browser sees it."""
    answer = await (await signed_in(served)).get("/")
    assert answer.status_code == 200
    return Page(answer.text)


def cookie(browser: httpx.AsyncClient) -> str:
    """What it would send."""
    return "; ".join(f"{name}={value}" for name, value in browser.cookies.items())


def opened(number: int = 1, **told: Any) -> Pull:
    """A pull of `shop-1`."""
    usual = {
        "id": f"shop.{number}", "project": "shop", "number": number, "forge": "local", "session": "shop-1",
        "branch": "holdfast/shop-1", "base": "main", "head": HEAD, "base_commit": "0" * 40, "title": "Sell more",
        "opened_by": "shop-1", "opened_at": AT, "expected": ("test",),
    }  # fmt: skip
    return Pull(**(usual | told))


def failed(name: str = "test", tail: str = "1 failed", **told: Any) -> Check:
    """A check of the head that failed."""
    usual = {"name": name, "commit": HEAD, "state": "failed", "step": "make test", "exit_status": 2, "tail": tail}
    return Check(**(usual | told))
