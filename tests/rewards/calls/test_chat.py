"""The client of an OpenAI-compatible endpoint."""

import asyncio
import time
from email.utils import formatdate

import pytest

from rewards.calls.chat import ChatEndpoint, EndpointBusy, Refused, chat_of, check_url, key_of
from rewards.custom_rules import RuleFault
from tests.support.rewards.simulated_teacher import PROMPT, SimulatedTeacher
from tests.support.simulated_judge import SimulatedJudge


def ask(url, prompt="grade=5", headers=None):
    async def once():
        endpoint = ChatEndpoint("the judge", url, "m", None, {"top_k": 1})
        return await endpoint.ask(chat_of("Be brief.", prompt), 64, 0.5, headers)

    return asyncio.run(once())


def test_an_answer_comes_as_it_is():
    with SimulatedJudge() as endpoint:
        assert ask(endpoint.url).endswith("Score: 5")
        (body,) = endpoint.bodies
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "grade=5"}]
    assert (body["max_tokens"], body["temperature"], body["top_k"]) == (64, 0.5, 1)


@pytest.mark.parametrize("header, seconds", [("7", 7), (None, None), ("soon", None)])
def test_a_busy_endpoint_may_say_when_to_come_back(header, seconds):
    with SimulatedJudge() as endpoint:
        endpoint.status, endpoint.headers = 429, {"Retry-After": header} if header else {}
        with pytest.raises(EndpointBusy) as caught:
            ask(endpoint.url)
    assert caught.value.retry_after_s == seconds


def test_it_may_say_so_by_a_date():
    with SimulatedJudge() as endpoint:
        endpoint.status, endpoint.headers = 503, {"Retry-After": formatdate(time.time() + 100, usegmt=True)}
        with pytest.raises(EndpointBusy) as caught:
            ask(endpoint.url)
    assert caught.value.retry_after_s == pytest.approx(100, abs=10)


def test_a_refusal_is_told_from_an_answer_that_is_none():
    with SimulatedTeacher({"a": "x"}, {"a": ["refuse", "json", "cut"]}) as endpoint:
        with pytest.raises(Refused, match="the judge's endpoint answered 400: "):
            ask(endpoint.url, PROMPT.replace("{{ task.id }}", "a"))
        for why in ("gave no chat completion", "cut off at max_tokens 64"):
            with pytest.raises(RuleFault, match=why) as caught:
                ask(endpoint.url, PROMPT.replace("{{ task.id }}", "a"))
            assert not isinstance(caught.value, Refused)


def test_addresses_and_keys(monkeypatch):
    with pytest.raises(ValueError, match="base_url: it must be http"):
        check_url("judge:8000")
    with pytest.raises(ValueError, match="NO_SUCH_KEY_HERE is not set"):
        key_of("NO_SUCH_KEY_HERE")
    monkeypatch.setenv("SOME_KEY", "open sesame")
    assert (key_of("SOME_KEY"), key_of(None)) == ("open sesame", "none")
