"""The registry of kinds, walked both ways: every kind has all that belongs to it, every handler has its kind."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import holdfast
from holdfast.app import packs
from holdfast.core.clock import SYSTEM
from holdfast.core.instants import stamp
from holdfast.core.pack import Means, Pack
from holdfast.core.propagation import service, view
from holdfast.core.propagation.kinds import Handler, Kind, Registry
from holdfast.core.propagation.outcome import Done, Outcome
from holdfast.core.propagation.schedule import SCHEDULES, STANDARD
from holdfast.settings import Settings

if TYPE_CHECKING:
    from conftest import StoreMaker
    from holdfast.core.propagation.job import Job
    from holdfast.core.store.port import Reader, Store

SOURCE = Path(holdfast.__file__).parent
PAGE = Path(__file__).resolve().parents[2] / "docs/reference/propagations.md"
#: What the annotation of a handler is made of.
OUTCOMES = {"Outcome", "Done", "Retry", "Wait", "Cancel"}


class Note(msgspec.Struct):
    """Nothing."""


def kind(name: str = "test.note", **declared: Any) -> Kind[Note]:
    return Kind(**{"name": name, "doc": "A note.", "payload": Note, "schedule": STANDARD, **declared})


async def handler(job: Job[Note]) -> Outcome:
    return Done()


def pack(*kinds: Kind[Any], handlers: dict[Kind[Any], Handler] | None = None) -> Pack:
    return Pack("sample", "testpack", kinds=kinds, handlers=None if handlers is None else lambda _: handlers)


@pytest.fixture
def engine() -> str:
    return "sqlite"


@pytest.fixture
async def means(make_store: StoreMaker) -> Means:
    """What the daemon gives its packs."""
    store = await make_store(packs=packs())
    return Means(store, SYSTEM, Settings(data=make_store.folder), packs())


def whole(means: Means) -> Registry:
    """The registry of a process that does everything."""
    return service.Propagations(means, does=True, drain_seconds=1).registry


def rows(page: str) -> dict[str, list[str]]:
    """The cells of the tables of a page, by the name in code that stands in them."""
    found = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for cell in cells[:2]:
            if re.fullmatch(r"`[^`]+`", cell):
                found[cell.strip("`")] = cells
    return found


def lacks(registry: Registry, gauges: Iterable[str], page: str) -> list[str]:
    """What kinds lack, each by its name."""
    told, known = rows(page), {schedule.name: schedule for schedule in SCHEDULES}
    wrong = [f"{name}: no handler" for name in registry.lacking]
    for name, each in registry.kinds.items():
        if not (inspect.isclass(each.payload) and issubclass(each.payload, msgspec.Struct)):
            wrong.append(f"{name}: no payload type")
        if known.get(each.schedule.name) is not each.schedule:
            wrong.append(f"{name}: no schedule that people know")
        if name not in gauges:
            wrong.append(f"{name}: no gauge")
        if each.doc not in told.get(name, ()):
            wrong.append(f"{name}: no doc line in {PAGE.name}")
    return wrong


async def gauges(store: Store, kinds: Iterable[str]) -> set[str]:
    """The kinds that have gauges."""

    def look(reader: Reader) -> set[str]:
        return {gauge.kind for gauge in view.gauges(reader, kinds, stamp(SYSTEM.now()))}

    return await store.read(look)


@pytest.mark.guards(
    "Every kind has a handler, a payload type, a schedule, a gauge and a line in the reference.",
    against="A kind whose rows are never done, or whose dead are never seen.",
    breaks=("kinds-without-a-gauge", "kinds-without-a-handler"),
)
async def test_every_kind_has_all_that_belongs_to_it(means: Means) -> None:
    registry = whole(means)
    assert set(registry.kinds) == {each.name for part in packs() for each in part.kinds}
    assert registry.kinds
    shown = await gauges(means.store, registry.kinds)
    assert lacks(registry, shown, PAGE.read_text("utf-8")) == []


def own_schedule() -> Any:
    return SimpleNamespace(name="mine", most_attempts=3)


LACKING: dict[str, tuple[Pack, str]] = {
    "handler": (pack(kind("test.bare")), "test.bare: no handler"),
    "payload": (pack(kind("test.bare", payload=dict)), "test.bare: no payload type"),
    "schedule": (pack(kind("test.bare", schedule=own_schedule())), "test.bare: no schedule that people know"),
    "doc": (pack(kind("test.bare")), "test.bare: no doc line in propagations.md"),
}


@pytest.mark.parametrize("what", LACKING)
def test_an_added_kind_that_lacks_something_is_told_by_its_name(what: str) -> None:
    added, message = LACKING[what]
    registry = Registry([each for part in (*packs(), added) for each in part.kinds], {})
    assert message in lacks(registry, registry.kinds, PAGE.read_text("utf-8"))
    assert "test.bare: no gauge" in lacks(registry, (), PAGE.read_text("utf-8"))


@pytest.mark.guards(
    "A process that is to do everything refuses to be put together without a handler for every kind, by its name.",
    against="Effects of a new kind are owed and never done, and nothing says so.",
    breaks=("kinds-need-no-handler", "kinds-take-stray-handlers"),
)
@pytest.mark.parametrize(
    ("added", "message"),
    [
        (pack(kind("test.bare")), r"kinds without a handler: test\.bare$"),
        (pack(kind("test.bare"), handlers={}), r"kinds without a handler: test\.bare$"),
        (pack(handlers={kind("test.stray"): handler}), r"handlers of kinds that no pack registers: test\.stray$"),
        (pack(kind("core.prune")), r"the kind 'core\.prune' is registered twice$"),
    ],
    ids=["no handler", "no handler among some", "no kind", "twice"],
)
async def test_a_pack_with_half_a_kind_is_refused_by_its_name(means: Means, added: Pack, message: str) -> None:
    more = Means(means.store, means.clock, means.settings, (*means.packs, added))
    with pytest.raises(ValueError, match=message):
        whole(more)


def is_outcome(annotation: ast.expr | None) -> bool:
    """Whether a function with this annotation gives what an effect came to, and nothing else."""
    if annotation is None:
        return False
    text = annotation.value if isinstance(annotation, ast.Constant) else ast.unparse(annotation)
    return {part.strip().split(".")[-1] for part in str(text).split("|")} <= OUTCOMES


def coroutines(source: str) -> list[tuple[str, int]]:
    """The coroutine functions that turn a job into an outcome, but for the parts of one: their names and lines."""
    return [
        (node.name, min([node.lineno, *(each.lineno for each in node.decorator_list)]))
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.AsyncFunctionDef) and is_outcome(node.returns) and takes_a_job(node)
    ]


def takes_a_job(node: ast.AsyncFunctionDef) -> bool:
    """Whether it could be a handler: one that is private to its module is a part of one."""
    names = [each.arg for each in node.args.args if each.arg not in {"self", "cls"}]
    private = node.name.startswith("_") and not node.name.startswith("__")
    return names == ["job"] and not private


def where(of: Any) -> tuple[Path, int]:
    """The place of the function behind a handler, whether it is bound, partial, wrapped or an object to be called."""
    while hasattr(of, "func") or hasattr(of, "__wrapped__") or hasattr(of, "__func__"):
        of = getattr(of, "func", None) or getattr(of, "__wrapped__", None) or of.__func__
    code = of.__code__ if hasattr(of, "__code__") else type(of).__call__.__code__
    return Path(code.co_filename).resolve(), code.co_firstlineno


@pytest.mark.guards(
    "Every function that gives the outcome of an effect is the handler of a kind.",
    against="A handler that somebody wrote and forgot to register.",
    breaks=("kinds-forget-a-written-handler",),
)
async def test_every_function_that_gives_an_outcome_is_some_kinds_handler(means: Means) -> None:
    handlers = {where(each) for each in whole(means).handlers.values()}
    written = {
        (path.resolve(), line): f"{path.relative_to(SOURCE)}: {name}"
        for path in SOURCE.rglob("*.py")
        for name, line in coroutines(path.read_text("utf-8"))
    }
    assert written
    assert [named for place, named in written.items() if place not in handlers] == []


def test_a_handler_is_known_by_what_it_gives_however_that_is_written() -> None:
    source = (
        "async def a(job) -> Outcome: ...\nasync def b(job) -> 'Done | Retry': ...\n"
        "async def c(job) -> outcome.Done: ...\nasync def d(job) -> Outcome | Failure: ...\n"
        "def e(job) -> Outcome: ...\nasync def f(job): ...\n"
    )
    assert [name for name, _ in coroutines(source)] == ["a", "b", "c"]


@pytest.mark.guards(
    "The documented horizon of every schedule is the one that its delays add up to.",
    against="People are told a time until a row is dead that is not the real one.",
    breaks=("schedule-leaves-out-the-last-delay",),
)
def test_the_documented_horizons_are_the_real_ones() -> None:
    told = rows(PAGE.read_text("utf-8"))
    for schedule in SCHEDULES:
        shown = told[schedule.name]
        assert view.spoken(sum(schedule.delays)) in shown
        assert str(schedule.most_attempts) in shown
        assert view.spoken(schedule.horizon().total_seconds()) in shown
    assert "55 h 51 m" in told["standard"]
