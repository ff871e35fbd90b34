"""The page at /docs: every route in words, out of the service's own description (/openapi.json). It loads nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from cluster.reporting.pages import render

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Field:
    name: str
    kind: str
    needed: bool
    words: str


@dataclass(frozen=True)
class RouteDoc:
    """A route; `body` and `answer` are examples as text, `answers` (status, words)."""

    name: str
    words: str
    fields: list[Field]
    body: str | None
    answer: str
    answers: list[tuple[str, str]]


@router.get("/docs")
def routes(request: Request) -> HTMLResponse:
    description = request.app.openapi()
    return HTMLResponse(
        render("routes.html.j2", routes=list(_routes(description)), words=description["info"]["description"])
    )


def _routes(description: dict[str, Any]) -> Iterator[RouteDoc]:
    schemas = description["components"]["schemas"]
    for path, methods in description["paths"].items():
        for method, route in methods.items():
            fields = [
                _field(given["name"], given["schema"], given["required"], given.get("description", ""))
                for given in route.get("parameters", ())
            ]
            body = None
            if "requestBody" in route:
                content = route["requestBody"]["content"]["application/json"]
                schema = _resolved(content["schema"], schemas)
                fields += [
                    _field(name, value, name in schema.get("required", ()), value.get("description", ""))
                    for name, value in schema["properties"].items()
                ]
                body = _example(content, schemas)
            fine = next(answer for status, answer in route["responses"].items() if status < "300")
            yield RouteDoc(
                f"{method.upper()} {path}",
                route["description"],
                fields,
                body,
                "\n\n".join(_example(content, schemas) for content in fine["content"].values()),
                [(status, answer["description"]) for status, answer in route["responses"].items() if status >= "400"],
            )


def _field(name: str, schema: dict[str, Any], needed: bool, words: str) -> Field:
    return Field(name, _kind(schema), needed, words)


def _kind(schema: dict[str, Any]) -> str:
    """What a value is, in few words, with its limits."""
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " | ".join(map(str, schema.get("enum", [schema.get("const")])))
    kind = schema.get("type", "any")
    if kind == "array":
        kind = f"list of {_kind(schema['items'])}"
    limits = [f"{words} {schema[key]}" for key, words in _LIMITS.items() if key in schema]
    return ", ".join([kind, *limits])


_LIMITS = {
    "minimum": "≥",
    "maximum": "≤",
    "exclusiveMinimum": ">",
    "exclusiveMaximum": "<",
    "maxLength": "characters ≤",
    "minItems": "items ≥",
    "maxItems": "items ≤",
}


def _resolved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    return schema


def _example(content: dict[str, Any], schemas: dict[str, Any]) -> str:
    """The example of a body or an answer as text."""
    if "example" in content:
        example = content["example"]
    elif "examples" in content:
        example = next(iter(content["examples"].values()))["value"]
    else:
        schema = _resolved(content["schema"], schemas)
        example = [_resolved(schema["items"], schemas)["examples"][0]] if "items" in schema else schema["examples"][0]
    return example.strip() if isinstance(example, str) else json.dumps(example, indent=1, ensure_ascii=False)
