"""The OpenAPI 3.1 document of the route tables: parameters, bodies and answers from the shapes that serve them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from holdfast.core.errors import (
    Forbidden,
    HoldfastError,
    Invalid,
    Malformed,
    TooLarge,
    TooSlow,
    Unauthenticated,
    Unavailable,
    UnsupportedMedia,
)
from holdfast.core.web.boundary import ErrorEnvelope
from holdfast.core.web.routes import Access, PageRoute, Route
from holdfast.core.web.writes import REPLAYED

_PARAMETER = re.compile(r"\{(\w+)\}")
_REFERENCE = "#/components/schemas/{name}"
_OK = 200


class Shapes:
    """The schemas of every shape that the routes name."""

    def __init__(self, routes: Iterable[Route]) -> None:
        named: list[type[Any]] = [ErrorEnvelope]
        for route in routes:
            named += [shape for shape in (route.query, route.body, route.reply) if shape is not None]
        unique = list(dict.fromkeys(named))
        found, self.components = msgspec.json.schema_components(unique, ref_template=_REFERENCE)
        self._of = dict(zip(unique, found, strict=True))

    def of(self, shape: type[Any]) -> dict[str, Any]:
        """The schema of a shape, by reference."""
        return self._of[shape]

    def fields(self, shape: type[Any]) -> tuple[dict[str, Any], list[str]]:
        """The fields of a shape with their schemas, and which of them must be given."""
        schema = self.components[self._of[shape]["$ref"].rpartition("/")[2]]
        return schema["properties"], schema.get("required", [])


def operation(route: Route, shapes: Shapes) -> dict[str, Any]:
    """What the document says of one route."""
    about: dict[str, Any] = {
        "summary": route.summary,
        "operationId": _operation_id(route),
        "parameters": _parameters(route, shapes),
        "responses": _responses(route, shapes),
        "x-access": route.access.value,
        "security": [] if route.access is Access.PUBLIC else [{"bearer": []}],
    }
    if route.takes_tickets:
        about["security"].append({"ticket": []})
    if route.access is Access.BROWSER:
        about["security"].append({"cookie": []})
    if route.body is not None:
        about["requestBody"] = {"required": True, "content": {"application/json": {"schema": shapes.of(route.body)}}}
    if route.audit is not None:
        about["x-audit"] = route.audit
    return about


def document(title: str, version: str, routes: Sequence[Route]) -> dict[str, Any]:
    """The whole document."""
    shapes = Shapes(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = operation(route, shapes)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {
            "schemas": shapes.components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "ticket": {"type": "apiKey", "in": "query", "name": "ticket"},
                "cookie": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "holdfast-STORE",
                    "description": "A browser has it for a ticket; STORE is the uuid of the store in /api/v1/status.",
                },
            },
        },
    }


def _operation_id(route: Route) -> str:
    words = [part.strip("{}") for part in route.path.removeprefix("/api/v1").split("/") if part]
    return "_".join([route.method.lower(), *(words or ["root"])]).replace(".", "_").replace("-", "_")


def _parameters(route: Route, shapes: Shapes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PARAMETER.findall(route.path)
    ]
    if route.query is not None:
        properties, required = shapes.fields(route.query)
        for name, schema in properties.items():
            entry = {"name": name, "in": "query", "required": name in required, "schema": _without_null(schema)}
            found.append(entry)
    if route.audit is not None:
        text = {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"}
        found.append({"name": "Idempotency-Key", "in": "header", "required": False, "schema": text})
    if route.raw is not None:
        found.append({"name": "Last-Event-ID", "in": "header", "required": False, "schema": _LAST_EVENT})
    return found


_LAST_EVENT = {"type": "string", "pattern": "^([A-Za-z0-9_-]{1,64}:)?[0-9]{1,18}$"}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """In an address a value is there or not; null is a word like another."""
    if "anyOf" not in schema:
        return schema
    rest = [one for one in schema["anyOf"] if one != {"type": "null"}]
    outer = {key: value for key, value in schema.items() if key not in {"anyOf", "default"}}
    return outer | rest[0] if len(rest) == 1 else outer | {"anyOf": rest}


def _responses(route: Route, shapes: Shapes) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status in route.statuses:
        good: dict[str, Any] = {"description": route.summary}
        responses[str(status)] = good
        if route.raw is not None:
            good["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
        elif isinstance(route, PageRoute):
            if status == _OK:
                good["content"] = {route.media: {"schema": {"type": "string"}}}
        elif route.reply is not None:
            good["content"] = {"application/json": {"schema": shapes.of(route.reply)}}
        if route.audit is not None:
            said = "The answer is the one first given under this key."
            good["headers"] = {REPLAYED[0].decode().title(): {"schema": {"type": "string"}, "description": said}}
    envelope = {"application/json": {"schema": shapes.of(ErrorEnvelope)}}
    for kind in _errors(route):
        entry = responses.setdefault(str(kind.http_status), {"description": "", "content": envelope})
        why = (kind.__doc__ or "").splitlines()[0]
        if why not in entry["description"]:
            entry["description"] = f"{entry['description']} {why}".strip()
    return responses


def _errors(route: Route) -> list[type[HoldfastError]]:
    kinds: list[type[HoldfastError]] = [Malformed, Forbidden]
    if route.access is not Access.PUBLIC:
        kinds += [Unauthenticated, Unavailable]
    if route.method != "GET":
        kinds += [TooLarge, TooSlow]
    if route.body is not None:
        kinds += [Invalid, UnsupportedMedia]
    elif route.audit is not None:
        kinds.append(Invalid)
    return [*kinds, *route.errors]
