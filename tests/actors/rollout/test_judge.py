"""A model that the run serves itself as a judge: a tiny one, whose opinion is worth nothing, but it is asked."""

import asyncio

import pytest
import ray

from actors.reward.rule_worker import RemoteTarget, RuleWorker
from rewards.config import OwnRule, RewardConfig
from rewards.custom_rules import RuleError, RuleFault, RuleInput, check_rule
from rewards.score import score
from tests.support.rewards.responses import SINGLE, pairs


def rule(path, **options):
    shared = {"path": str(path), "max_model_tokens": 1024, "system": "", "prompt": "{{ question }}"}
    return OwnRule(rule="actors.rollout.judge:ServedJudge", weight=0.1, workers=1, options=shared | options)


def test_a_folder_without_a_model_is_refused_before_a_run(tmp_path):
    with pytest.raises(RuleError, match=r"path: .* is no model folder"):
        check_rule(rule(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    check_rule(rule(tmp_path))
    with pytest.raises(RuleError, match="score_range: its ends must differ"):
        check_rule(rule(tmp_path, score_range=[1, 1]))


@pytest.mark.slow
def test_a_model_in_a_worker_of_its_own_is_asked(ray_session, tiny_model, tmp_path):
    text = pairs("B")
    item = RuleInput(SINGLE, text, score(SINGLE, text, RewardConfig()))
    # Any character is a match, so that what the model wrote is read as a score and refused as no number.
    own = rule(tiny_model, score_regex="(?s)(.)", max_tokens=900)
    actor = ray.remote(RuleWorker).options(num_cpus=0.5).remote("judge", own, str(tmp_path))

    async def use():
        target = RemoteTarget([actor])
        await target.start()
        assert target.concurrency == 32
        answers = await asyncio.gather(*(target.score([item]) for _ in range(4)), return_exceptions=True)
        assert all(isinstance(answer, RuleFault | list) for answer in answers), answers
        assert len({str(answer) for answer in answers}) == 1  # at temperature 0 it says the same

    asyncio.run(asyncio.wait_for(use(), 400))
    ray.kill(actor)
