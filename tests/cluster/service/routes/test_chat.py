"""/v1/chat/completions: chats that are refused."""

import asyncio

import openai
import pytest


@pytest.mark.parametrize(
    "change, status, words",
    [
        ({"model": "other"}, 404, "this service has 'served'"),
        ({"tools": []}, 422, "Extra inputs"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/a.png"}}],
                    }
                ]
            },
            422,
            "messages.0.content.0: an image must be data:",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}],
                    }
                ]
            },
            422,
            "messages.0.content.0: not an image",
        ),
        ({"messages": [{"role": "user", "content": "why " * 2000}]}, 400, "maximum context length"),
    ],
)
def test_a_chat_that_cannot_be_answered_is_told(service, change, status, words):
    body = {"model": "served", "messages": [{"role": "user", "content": "Is there a mass?"}]} | change
    told, answer = service("POST", "/v1/chat/completions", body, role="read")
    assert told == status and words in str(answer["detail"]) and words in answer["error"]["message"]


def test_a_client_of_openais_says_what_is_wrong(service, openai_client):
    async def ask():
        await openai_client.chat.completions.create(model="other", messages=[{"role": "user", "content": "?"}])

    with pytest.raises(openai.NotFoundError, match="no model 'other'; this service has 'served'"):
        asyncio.run(ask())


@pytest.mark.parametrize(
    "change", [{"stop": ["a"] * 5}, {"stop": ""}, {"n": 17}, {"top_logprobs": 21}, {"max_tokens": 0}]
)
def test_a_chat_asks_for_a_bounded_amount_of_work(client, change):
    body = {"model": "served", "messages": [{"role": "user", "content": "?"}]}
    assert client.post("/v1/chat/completions", json=body).status_code == 404  # is well formed
    assert client.post("/v1/chat/completions", json=body | change).status_code == 422
