"""What the service sends: JSON for any text, and refusals that clients of OpenAI's API understand."""

import json

import pytest

from cluster.service.responses import Json, error_responses, refusal

FAULTS = [
    {"type": "missing", "loc": ["body", "messages"], "msg": "Field required"},
    {"type": "greater_than", "loc": ["body", "n"], "msg": "Input should be greater than 0"},
]


def test_half_of_a_surrogate_pair_is_sent_and_read_back():
    text = "edema \ud83d, β ≤ 1"
    body = Json({"text": text}).body
    assert body.isascii() and json.loads(body) == {"text": text}


def test_what_is_no_json_is_not_sent():
    with pytest.raises(ValueError):
        Json({"loss": float("nan")})


def test_a_refusal_says_why():
    response = refusal("/v1/runs/nosuch", 404, "no run 'nosuch'", {"x-reason": "gone"})
    assert (response.status_code, json.loads(response.body)) == (404, {"detail": "no run 'nosuch'"})
    assert response.headers["x-reason"] == "gone"


@pytest.mark.parametrize(
    "status, detail, message, kind",
    [
        (422, FAULTS, "messages: Field required; n: Input should be greater than 0", "invalid_request_error"),
        (503, "no engine is up", "no engine is up", "server_error"),
    ],
)
def test_openais_clients_find_the_message_where_they_look(status, detail, message, kind):
    body = json.loads(refusal("/v1/chat/completions", status, detail).body)
    assert body == {"detail": detail, "error": {"message": message, "type": kind, "param": None, "code": None}}


def test_each_refusal_is_described_with_its_schema():
    described = error_responses({404: "no such run", 422: "no recipe"})
    assert {status: words["description"] for status, words in described.items()} == {
        404: "no such run",
        422: "no recipe",
    }
    detail = {
        status: words["content"]["application/json"]["schema"]["properties"]["detail"]
        for status, words in described.items()
    }
    assert detail[404]["type"] == "string" and "anyOf" in detail[422]
