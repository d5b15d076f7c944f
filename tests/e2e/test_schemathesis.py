"""The API does what its own document says, for what fits the document and for what does not."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode

from holdfast.core.clock import SYSTEM
from served import BASE, Served

#: A stream has no end; what is wrong with its parameters is tried in `test_routes`.
ENDLESS = {"/api/v1/events"}
#: A bug of the tests, answered as one.
BROKEN = {"/test/bug"}
EXAMPLES = 12
MOST_SECONDS = 30.0
_SENT = ("method", "url", "params", "json", "data", "content")


def without_nul(value: Any) -> Any:
    """A payload of any shape without the one character that no value has, however deep it is."""
    match value:
        case str():
            return value.replace("\0", "")
        case dict():
            return {without_nul(key): without_nul(item) for key, item in value.items()}
        case list():
            return [without_nul(item) for item in value]
        case _:
            return value


@dataclass
class Trial:
    """Tries every operation; runs on a thread and asks on the loop of the application."""

    served: Served
    mode: GenerationMode
    repository: str
    loop: asyncio.AbstractEventLoop
    ends_at: float = field(default_factory=lambda: SYSTEM.monotonic() + MOST_SECONDS)
    tried: Counter[str] = field(default_factory=Counter)

    def walk(self, schema: Any) -> None:
        """Every operation of the document."""
        for found in schema.get_all_operations():
            operation = found.ok()
            try:
                self.check(operation.as_strategy(generation_mode=self.mode))
            except Unsatisfiable:  # nothing of it can be wrong
                assert self.mode is GenerationMode.NEGATIVE

    def check(self, cases: Any) -> None:
        """Some cases of one operation."""

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        @given(case=cases)
        def every(case: Any) -> None:
            if SYSTEM.monotonic() < self.ends_at:
                self.try_one(case)

        every()

    def try_one(self, case: Any) -> None:
        """One request and its answer against the document."""
        if self.mode is GenerationMode.POSITIVE:
            self.mend(case)
        answer = asyncio.run_coroutine_threadsafe(self.ask(case), self.loop).result(30)
        self.tried[case.operation.label] += 1
        assert answer.status_code < 500
        case.validate_response(answer)
        if answer.status_code >= 400:
            assert set(answer.json()["error"]) == {"code", "message", "details", "request_id"}

    def mend(self, case: Any) -> None:
        """What no document can say: which folders are repositories, and which keys were used for something else."""
        if case.operation.label == "POST /api/v1/projects":
            case.body["path"] = self.repository
        for name in ("max_sessions", "launch", "seq"):
            if isinstance(case.body, dict) and isinstance(case.body.get(name), float):
                case.body[name] = int(case.body[name])  # 4.0 is an integer to a schema, not to us
        if case.operation.label.endswith("/signals"):
            case.body["detail"] = without_nul(case.body.get("detail"))
        for name in case.headers or {}:
            if name.lower() == "idempotency-key":
                case.headers[name] = f"key-{self.tried.total()}"

    async def ask(self, case: Any) -> Any:
        """Send it with a good token: who is let in is the matter of `test_routes`."""
        sent = case.as_transport_kwargs(base_url=BASE)
        headers = dict(sent["headers"] or {}) | {"authorization": f"Bearer {self.served.admin}"}
        known = {key: sent[key] for key in _SENT if sent.get(key) is not None}
        if isinstance(known.get("data"), bytes | str):
            known["content"] = known.pop("data")
        return await self.served.boss.request(**known, headers=headers)


@pytest.mark.slow
@pytest.mark.guards(
    "Whatever is sent to a route, the answer is one that the document names, in the shape that it names, never a 5xx.",
    against="A document that tells something else than the code does, and input that nobody thought of.",
    breaks=("shapes-believe-any-body",),
)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fitting", "unfitting"])
async def test_the_api_keeps_what_its_document_promises(mode: GenerationMode, served: Served) -> None:
    document = (await served.boss.get("/api/v1/openapi.json")).json()
    document["paths"] = {path: methods for path, methods in document["paths"].items() if path not in ENDLESS | BROKEN}
    del document["components"]["securitySchemes"]
    for about in (about for methods in document["paths"].values() for about in methods.values()):
        del about["security"]
    trial = Trial(served, mode, str(served.repository("one")), asyncio.get_running_loop())
    await asyncio.to_thread(trial.walk, schemathesis.openapi.from_dict(document))
    operations = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert trial.tried.total() > len(operations)
    if mode is GenerationMode.POSITIVE:
        assert set(trial.tried) == operations
