"""The judge, against an endpoint that simulates one."""

import asyncio

import pytest

from rewards.calls.chat import EndpointBusy
from rewards.calls.own_rules import OwnRules
from rewards.config import RewardConfig
from rewards.custom_rules import RuleError, RuleFault, check_own
from rewards.judge import Judge
from rewards.score import Answer, score_all
from tests.support.rewards.responses import SINGLE, pairs
from tests.support.simulated_judge import SimulatedJudge

RIGHT, WRONG = "B", "A"


@pytest.fixture
def endpoint():
    with SimulatedJudge() as judge:
        yield judge


def response(mark, answer=RIGHT):
    return pairs(answer, think=f"Haze in both lungs. {mark}")


def config(endpoint, weight=0.2, retries=0, options=None, **settings):
    rule = {"rule": "rewards.judge:Judge", "weight": weight, "retries": retries, **settings}
    return RewardConfig.model_validate(
        {"own": {"judge": rule | {"options": {"model": "m", "base_url": endpoint.url, **(options or {})}}}}
    )


def judged(rules, *responses):
    check_own(rules.own)
    return score_all([Answer(SINGLE, text) for text in responses], rules, OwnRules(rules.own))


def test_the_score_is_mapped_to_the_range_and_weighed(endpoint):
    verdicts = judged(config(endpoint), *(response(f"grade={grade}") for grade in (0, 4, 10)))
    assert [dict(v.more)["judge"] for v in verdicts] == [0, 0.4, 1]
    assert verdicts[1].total == pytest.approx(verdicts[0].total + 0.2 * 0.4)
    assert not any(v.failed for v in verdicts)


def test_another_range_and_a_key_of_json(endpoint):
    prompt = "{{ response }} grade in JSON"
    rules = config(endpoint, options={"prompt": prompt, "score_key": "score", "system": ""})
    (verdict,) = judged(rules, response("grade=4"))
    assert "no JSON object" in verdict.why[-1] and verdict.failed == ("judge",)
    assert [m["role"] for m in endpoint.bodies[0]["messages"]] == ["user"]
    (verdict,) = judged(config(endpoint, options={"score_range": [1, 5]}), response("grade=4"))
    assert dict(verdict.more) == {"judge": 0.75}


def test_a_wrong_or_malformed_response_is_not_asked_about(endpoint):
    rules = config(endpoint, weight=5)
    right, wrong, malformed = judged(
        rules, response("grade=0"), response("grade=10", WRONG), "So: " + response("grade=10")
    )
    assert sum(endpoint.requests.values()) == 1
    assert right.total > wrong.total and malformed.total == 0
    assert wrong.why[-1] == "judge: asked about right answers only" and not wrong.failed
    assert malformed.why[-1] == "judge: not asked about a malformed response"


def test_the_recipe_may_pay_wrong_answers_too_but_never_malformed_responses(endpoint):
    rules = config(endpoint, right_only=False)
    wrong, malformed = judged(rules, response("grade=10", WRONG), "So: " + response("grade=10"))
    assert dict(wrong.more) == {"judge": 1} and wrong.total == pytest.approx(0.1 + 0.2)
    assert dict(malformed.more) == {"judge": 0}


@pytest.mark.parametrize(
    "mark, reason",
    [
        ("answer-nonsense", "the judge gave no score: 'This is a simulated judge without an opinion.'"),
        ("grade=11", "the judge's score 11 is not between 0 and 10"),
        ("grade=-1", "the judge's score -1 is not between 0 and 10"),
        ("answer-refuse", "the judge's endpoint answered 400"),
        ("answer-never", "no answer within 3 s"),
    ],
)
def test_a_bad_judgement_is_a_fault_of_its_response_alone(endpoint, mark, reason):
    before, bad, after = judged(
        config(endpoint, timeout_s=3), response("grade=5 x"), response(mark), response("grade=5 y")
    )
    assert dict(before.more) == dict(after.more) == {"judge": 0.5}
    assert dict(bad.more) == {"judge": 0} and bad.failed == ("judge",) and reason in bad.why[-1]
    assert bad.total == pytest.approx(before.total - 0.1)


def test_an_answer_that_is_cut_off_has_no_score(endpoint):
    endpoint.finish_reason = "length"
    (verdict,) = judged(config(endpoint, options={"max_tokens": 7}), response("grade=5"))
    assert "cut off at max_tokens 7" in verdict.why[-1] and endpoint.bodies[0]["max_tokens"] == 7


@pytest.mark.parametrize("status, kind", [(429, EndpointBusy), (503, EndpointBusy), (401, RuleFault), (404, RuleFault)])
def test_what_may_help_later_is_told_from_what_will_not(endpoint, status, kind):
    endpoint.status = status
    endpoint.headers = {"Retry-After": "3"}

    async def ask():
        return await Judge(model="m", base_url=endpoint.url).ask("?")

    with pytest.raises(kind, match=str(status)) as caught:
        asyncio.run(ask())
    assert getattr(caught.value, "retry_after_s", 3) == 3
    assert sum(endpoint.requests.values()) == 1  # the client does not try again by itself


def test_the_key_comes_from_the_environment_and_no_other_is_sent(endpoint, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "not for strangers")
    judged(config(endpoint), response("grade=5"))
    assert endpoint.authorizations == {"Bearer none"}
    monkeypatch.setenv("JUDGE_KEY", "open sesame")
    judged(config(endpoint, options={"api_key_env": "JUDGE_KEY"}), response("grade=6"))
    assert "Bearer open sesame" in endpoint.authorizations


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"base_url": "judge:8000"}, "base_url: it must be http"),
        ({"prompt": "{{ respons }}"}, "no such name as respons; it may use task, question"),
        ({"prompt": "{% if %}"}, "prompt: no jinja2 template"),
        ({"score_regex": "Score"}, "score_regex: it needs a group"),
        ({"score_regex": "("}, "score_regex: no regular expression"),
        ({"score_range": [3, 3]}, "score_range: its ends must differ"),
        ({"score_range": 3}, "score_range: it must be two numbers"),
        ({"max_tokens": 0}, "max_tokens: it must be a whole number above 0"),
        ({"api_key_env": "NO_SUCH_KEY_HERE"}, "the environment variable NO_SUCH_KEY_HERE is not set"),
        ({"api_key_env": "sk-1234"}, "must be the name of an environment variable"),
        ({"modl": "x"}, "unexpected keyword argument 'modl'"),
    ],
)
def test_options_that_cannot_be_used_are_refused_before_a_run(endpoint, options, reason):
    with pytest.raises(RuleError, match=rf"^reward.rules.own.judge: .*{reason}"):
        check_own(config(endpoint, options=options).own)
