"""A rule in an actor of its own, and how it is reached."""

import asyncio

import pytest
import ray

from actors.reward.rule_worker import RemoteTarget, RuleWorker
from rewards.config import OwnRule, RewardConfig
from rewards.custom_rules import RuleError, RuleFault, RuleInput
from rewards.score import score
from tests.support.rewards.responses import SINGLE, pairs
from tests.support.rewards.waiting_rules import worth

RULES = "tests.support.rewards.waiting_rules"


def item(words):
    text = pairs("B", think=words)
    return RuleInput(SINGLE, text, score(SINGLE, text, RewardConfig()))


def own(rule, **options):
    return OwnRule(rule=f"{RULES}:{rule}", weight=1, options=options, workers=1)


@pytest.mark.parametrize("rule, batch_size, concurrency", [("plain", 1, 32), ("Asks", 1, 32), ("Batches", 8, 1)])
def test_every_form_runs_in_a_worker_of_its_own(tmp_path, rule, batch_size, concurrency):
    async def use():
        worker = RuleWorker("mine", own(rule), str(tmp_path))
        assert repr(worker) == "rule-mine"
        assert await worker.ready() == (batch_size, concurrency)
        items = [item(words) for words in ("a", "bb", "ccc")]
        assert await worker.score(items) == [worth(each.response) for each in items]

    asyncio.run(use())


def test_options_are_checked_where_the_rule_runs(tmp_path):
    with pytest.raises(RuleError, match="unexpected keyword argument 'prat'"):
        RuleWorker("mine", own("Asks", prat=1), str(tmp_path))


def test_several_workers_take_calls_in_turn_and_errors_come_back_as_they_were(ray_session, tmp_path):
    actor = ray.remote(RuleWorker)
    actors = [actor.options(num_cpus=0).remote("mine", own("Asks"), str(tmp_path)) for _ in range(2)]

    async def use():
        target = RemoteTarget(actors)
        await target.start()
        assert (target.batch_size, target.concurrency) == (1, 64)
        for words in ("a", "bb", "ccc"):
            assert await target.score([item(words)]) == [worth(item(words).response)]
        with pytest.raises(RuleFault, match="no opinion"):
            await target.score([item("refuses")])

    asyncio.run(use())
    for each in actors:
        ray.kill(each)
