"""The API description and the page at /docs: every route with its fields, examples and refusals."""

import re
from pathlib import Path

import jsonschema
import pytest

from cluster.service.app import build

OWN_FAULTS = {  # beside those of every route
    "GET /v1/runs": (),
    "POST /v1/runs": (409, 503),
    "GET /v1/runs/{name}": (404,),
    "GET /v1/runs/{name}/metrics": (404,),
    "GET /v1/runs/{name}/events": (404,),
    "GET /v1/runs/{name}/report": (404, 409),
    "GET /v1/runs/{name}/panel": (404,),
    "POST /v1/runs/{name}/scale": (404, 409, 503),
    "POST /v1/runs/{name}/profile": (404, 409, 503),
    "POST /v1/runs/{name}/{action}": (404, 409, 503),
    "POST /v1/rewards/score": (),
    "POST /v1/rewards/explain": (),
    "GET /v1/models": (),
    "POST /v1/chat/completions": (400, 404, 503),
}


def operations():
    description = build(Path("runs"), []).openapi()
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            name = f"{method.upper()} {path}"
            yield pytest.param(description, operation, OWN_FAULTS.get(name, ()), id=name)


@pytest.mark.parametrize("description, operation, own_faults", operations())
def test_every_route_tells_what_goes_in_and_out_and_what_is_refused(description, operation, own_faults):
    """Each with an example, which is what the description says."""

    def check(content):
        schema = {**content["schema"], "components": description["components"]}
        whole = schema
        while "$ref" in whole:
            whole = description["components"]["schemas"][whole["$ref"].rpartition("/")[2]]
        named = whole.get("items", whole)
        if "$ref" in named:
            named = description["components"]["schemas"][named["$ref"].rpartition("/")[2]]
        examples = [given["value"] for given in content.get("examples", {}).values()] or named.get("examples", [])
        assert examples
        for example in examples:
            jsonschema.validate([example] if "items" in whole else example, schema)

    if "requestBody" in operation:
        check(operation["requestBody"]["content"]["application/json"])
    answers = operation["responses"]
    (fine,) = [answer for status, answer in answers.items() if status < "300"]
    assert fine["content"]
    for kind, content in fine["content"].items():
        if kind == "application/json":
            check(content)
        else:
            assert content["example"]
    assert answers.keys() >= {"401", "403", "411", "413", "422", *map(str, own_faults)}
    for status, answer in answers.items():
        if status >= "400":
            assert answer["description"] and list(answer["content"]) == ["application/json"]
            check(answer["content"]["application/json"])


def test_the_page_of_routes_tells_each_and_loads_nothing(client):
    page = client.get("/docs").text
    for path, methods in build(Path("runs"), []).openapi()["paths"].items():
        for method in methods:
            assert f"<h2>{method.upper()} {path}</h2>" in page
    assert "<script" not in page and not re.search(r'(src|href)="(https?:)?//', page)
    assert "max_completion_tokens" in page and "raysubmit_" in page
    assert client.get("/redoc").status_code == 404
