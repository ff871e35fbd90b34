"""Every route: its tokens, the size of a request, strange bodies, headers, and no server error."""

import json
import urllib.error
import urllib.request

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from cluster.config.recipe import Recipe
from cluster.service.app import MAX_REQUEST_BYTES
from cluster.service.routes.runs_schema import EXAMPLE as RECIPE
from cluster.stages import STAGE_KINDS
from tests.support.service import own, routes

DEEP = "[" * 900 + "]" * 900


@pytest.mark.parametrize(
    "path, body",
    [
        ("/v1/rewards/score", DEEP),
        ("/v1/rewards/score", f'{{"responses": {DEEP}}}'),
        ("/v1/rewards/score", '{"responses": [NaN]}'),
        ("/v1/rewards/score", "[" * 100_000 + "]" * 100_000),
        ("/v1/rewards/score", '{"\\ud800": 1}'),
        ("/v1/rewards/score", "{"),
        (
            "/v1/rewards/score",
            '{"responses": [{"domain": "open", "gold": "\\ud800", "response": "", "form": "boxes"}]}',
        ),
        ("/v1/rewards/score", '{"responses": [{"domain": "open", "gold": "Mass", "response": "\\ud800"}]}'),
        ("/v1/runs", f'{{"recipe": {{"x": {DEEP}}}}}'),
        (
            "/v1/runs",
            json.dumps({"recipe": own("rewards.own:stage_order", stages=0)}).replace(
                '"stages": 0', f'"stages": {DEEP}'
            ),
        ),
        ("/v1/runs", json.dumps({"recipe": RECIPE | {"name": "a" * 300}})),
        ("/v1/runs", json.dumps({"recipe": RECIPE | {"checkpoint": {"storage": "/\0"}}})),
    ],
)
def test_a_strange_body_is_refused_in_words_and_not_repeated(client, path, body):
    answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422) and len(answer.content) < 2000 and answer.json()["detail"]


def test_a_request_without_its_length_is_refused(client):
    assert client.post("/v1/rewards/score", content=iter([b"{}"])).status_code == 411


def test_a_request_that_is_too_large_is_refused_unread(service):
    request = urllib.request.Request(
        service.url + "/v1/rewards/score",
        data=b"",
        method="POST",
        headers={"Authorization": f"Bearer {service.tokens['read']}", "Content-Length": str(MAX_REQUEST_BYTES + 1)},
    )
    with pytest.raises(urllib.error.HTTPError, match="413"):
        urllib.request.urlopen(request, timeout=30)


def test_answers_are_for_no_frame_and_no_cache(client):
    for path in ("/", "/page.js", "/v1/runs", "/v1/runs/nosuch"):
        headers = client.get(path).headers
        assert headers["X-Frame-Options"] == "DENY" and headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store" and headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("method, path, operation", routes())
def test_every_route_wants_a_token_of_the_right_role(service, method, path, operation):
    body = {} if "requestBody" in operation else None
    assert service(method, path, body, role=None)[0] == 401
    assert service(method, path, body, token="wrong")[0] == 401
    status, answer = service(method, path, body, role="read")
    if method == "GET" or "/rewards/" in path or "/chat/" in path:
        assert status not in (401, 403)
    else:
        assert status == 403 and "needs the role operate" in answer["detail"]
    assert {"401", "403"} <= operation["responses"].keys() and operation["summary"] and operation["description"]


@pytest.mark.parametrize("method, path, operation", routes())
def test_no_request_makes_a_server_error(service, run, method, path, operation):
    """What schemathesis makes of the service's own description.

    A recipe that is right is refused at admission, by the quota of its token: that a run really starts is seen
    elsewhere.
    """
    described = with_recipes(service("GET", "/openapi.json")[1])
    api = schemathesis.openapi.from_dict(described)
    [described] = [
        found.ok()
        for found in api.get_all_operations()
        if (found.ok().method.upper(), found.ok().path.replace("{name}", "first").replace("{action}", "pause"))
        == (method, path)
    ]

    @settings(max_examples=15, suppress_health_check=list(HealthCheck))
    @given(case=described.as_strategy())
    def call(case):
        role = "nothing" if (method, path) == ("POST", "/v1/runs") else "operate"
        headers = {"Authorization": f"Bearer {service.tokens[role]}"}
        answer = case.call(base_url=service.url, headers=headers, timeout=60)
        assert answer.status_code < 500, answer.text
        assert answer.status_code != 201

    call()
    assert not list((run.parent / ".submitted").glob("*.yaml"))


def test_a_recipe_that_is_right_is_refused_at_admission_by_a_quota_of_no_runs(service):
    status, answer = service("POST", "/v1/runs", {"recipe": RECIPE}, role="nothing")
    words = "the quota of starter of nothing: runs: at most 0 at once; this run takes 1"
    assert (status, answer["detail"]) == (409, words)


def with_recipes(described):
    """The service's description, where a recipe is more than any object: with the schemas of its parts."""
    template = "#/components/schemas/{model}"
    recipe = Recipe.model_json_schema(ref_template=template)
    kinds = {kind.__name__: kind.model_json_schema(ref_template=template) for kind in STAGE_KINDS.values()}
    for name, usual in (("data", {"phantoms": {}}), ("model", {"tiny": {}})):  # few others are right
        recipe["properties"][name] = {"anyOf": [recipe["properties"][name], {"const": usual}]}
    schemas = described["components"]["schemas"]
    for schema in (*kinds.values(), recipe):
        schemas |= schema.pop("$defs", {})
    schemas |= kinds | {
        "Recipe": recipe,
        "StageKind": {"anyOf": [{"$ref": template.format(model=name)} for name in kinds]},
    }
    schemas["NewRun"]["properties"]["recipe"] = {"$ref": template.format(model="Recipe")}
    return described
