"""The page at /docs: every route in words, made from the API description (/openapi.json). It loads no scripts."""

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
            yield _route(f"{method.upper()} {path}", route, schemas)


def _route(name: str, route: dict[str, Any], schemas: dict[str, Any]) -> RouteDoc:
    fields = [
        Field(field["name"], _kind(field["schema"]), field["required"], field.get("description", ""))
        for field in route.get("parameters", ())
    ]
    body = None
    if "requestBody" in route:
        content = route["requestBody"]["content"]["application/json"]
        schema = _resolved(content["schema"], schemas)
        required = schema.get("required", ())
        fields += [
            Field(key, _kind(value), key in required, value.get("description", ""))
            for key, value in schema["properties"].items()
        ]
        body = _example(content, schemas)
    responses = route["responses"]
    success = next(response for status, response in responses.items() if status < "300")
    examples = [_example(content, schemas) for content in success["content"].values()]
    errors = [(status, response["description"]) for status, response in responses.items() if status >= "400"]
    return RouteDoc(name, route["description"], fields, body, "\n\n".join(examples), errors)


def _kind(schema: dict[str, Any]) -> str:
    """The type of a value in a few words, with its limits."""
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_kind(option) for option in schema["anyOf"])
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
    """The example of a request or response body, as text."""
    if "example" in content:
        example = content["example"]
    elif "examples" in content:
        example = next(iter(content["examples"].values()))["value"]
    else:
        schema = _resolved(content["schema"], schemas)
        example = [_resolved(schema["items"], schemas)["examples"][0]] if "items" in schema else schema["examples"][0]
    return example.strip() if isinstance(example, str) else json.dumps(example, indent=1, ensure_ascii=False)
