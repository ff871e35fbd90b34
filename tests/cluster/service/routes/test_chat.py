"""/v1/chat/completions: chats that are refused."""

import asyncio

import openai
import pytest
import yaml
from typer.testing import CliRunner

from cluster.cli.app import app
from cluster.errors import UserError
from curriculum.taskset import write_tasks


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


def test_the_served_policy_is_a_teacher(service, phantom_tasks, monkeypatch, tmp_path):
    """The policy of a short run writes little that is right; every answer of it is verified and counted."""
    tasks = [task for task in phantom_tasks if task.family == "binary"][:6]
    write_tasks(tasks, tmp_path / "set")
    (tmp_path / "prompt.j2").write_text(
        "{{ question }}{% for letter in options %}\n{{ letter }}) {{ options[letter] }}{% endfor %}"
    )
    monkeypatch.setenv("TEACHER_KEY", service.tokens["read"])
    settings = {"model": "served", "base_url": f"{service.url}/v1", "api_key_env": "TEACHER_KEY", "prompt": "prompt.j2"}
    (tmp_path / "teacher.yaml").write_text(yaml.safe_dump(settings | {"images": True, "max_tokens": 60}))
    command = [
        "data",
        "traces",
        str(tmp_path / "set"),
        "--writer",
        "teacher",
        "--teacher",
        str(tmp_path / "teacher.yaml"),
    ]
    done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "out"), "--attempts", "1"])
    assert isinstance(done.exception, UserError | None), done.exception
    journal = (tmp_path / "out" / "journal.jsonl").read_text().split("\n\n")
    assert len(journal) == 1 + len(tasks), done.output
    assert "no answer" not in done.output and "of 6 tasks" in done.output
    settings["model"] = "other"
    (tmp_path / "teacher.yaml").write_text(yaml.safe_dump(settings))
    done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "none")])
    assert "the teacher's endpoint answered 404" in str(done.exception) and "this service has 'served'" in str(
        done.exception
    )
