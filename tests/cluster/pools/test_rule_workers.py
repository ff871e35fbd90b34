"""Own rules that wait, on real Ray actors: reward workers, workers of one rule, a simulated judge."""

import os
import time

import pytest
import ray

from actors.reward import RewardWorkersConfig
from cluster.pools.reward_pool import RewardPool
from rewards.config import RewardConfig
from rewards.verdict import NOT_SCORED
from tests.support.rewards.choice import groups, say
from tests.support.rewards.waiting_rules import worth
from tests.support.simulated_judge import SimulatedJudge

RULES = "tests.support.rewards.waiting_rules"
PIDS = """
import asyncio, os, pathlib, time

class Where:
    opinion = False
    batch_size = 4

    def __init__(self, *, folder):
        self.folder = pathlib.Path(folder)

    def score_batch(self, inputs):
        (self.folder / str(os.getpid())).touch()
        if any("crash" in item.response for item in inputs):
            os._exit(1)
        return [0.25] * len(inputs)

def hang(task, response, verdict):
    if "hang" in response:
        time.sleep(1000)
    return 0.5

async def slow(task, response, verdict):
    await asyncio.sleep(4)
    return 0.5
"""


@pytest.fixture
def pool_of(ray_session, tmp_path, monkeypatch):
    """Starts a pool of two workers with own rules; its rules may be in the working directory."""
    pools = []

    def open_pool(cache=None, timeout_s=20.0, response_timeout_s=2.0, workers=2, **own):
        rules = RewardConfig.model_validate({"own": own})
        config = RewardWorkersConfig(
            workers=workers, cpus=0.1, timeout_s=timeout_s, response_timeout_s=response_timeout_s, rules=rules
        )
        pools.append(RewardPool(f"test-{os.urandom(4).hex()}", config, cache=cache))
        pools[-1].pool.wait_until_ready()
        return pools[-1]

    yield open_pool
    for pool in pools:
        pool.stop()


@pytest.fixture
def house(tmp_path, monkeypatch):
    (tmp_path / "house_of_rule_workers.py").write_text(PIDS)
    monkeypatch.chdir(tmp_path)
    return "house_of_rule_workers"


def scored(pool, *texts):
    return [verdict for group in pool.take(groups(*texts, size=len(texts))) for verdict in group]


def test_faults_of_a_judge_are_those_of_single_responses_and_told_in_a_line(pool_of, tmp_path):
    marks = ["grade=3", "answer-nonsense", "grade=4", "answer-never", "grade=5", "grade=12", "grade=6", "grade=7"]
    with SimulatedJudge() as endpoint:
        judge = {
            "rule": "rewards.judge:Judge",
            "weight": 0.2,
            "timeout_s": 3,
            "retries": 0,
            "cache": "disk",
            "options": {"model": "m", "base_url": endpoint.url},
        }
        pool = pool_of(judge=judge, cache=tmp_path)
        verdicts = scored(pool, *map(say, marks))
        asked = sum(endpoint.requests.values())
        assert [dict(v.more)["judge"] for v in verdicts] == [0.3, 0, 0.4, 0, 0.5, 0, 0.6, 0.7]
        assert [number for number, v in enumerate(verdicts) if v.failed] == [1, 3, 5] and asked == 8
        (event,) = pool.pool.take_events()
        assert event.startswith("own rule judge has no value for 3 of 8 responses") and pool.pool.deaths == 0
        pool.stop()
        later = pool_of(judge=judge, cache=tmp_path)
        again = scored(later, *map(say, marks[:1] + marks[2:3] + marks[4:5]))
        assert [dict(v.more)["judge"] for v in again] == [0.3, 0.4, 0.5]
        assert sum(endpoint.requests.values()) == asked  # a run that goes on pays for nothing twice


def test_a_rule_that_waits_longer_than_a_share_may_take_costs_no_worker(pool_of, house):
    pool = pool_of(timeout_s=2.0, response_timeout_s=1.0, slow={"rule": f"{house}:slow", "weight": 0.1})
    verdicts = scored(pool, *(say(f"film {number}") for number in range(40)))
    assert pool.pool.deaths == 0 and all(dict(v.more) == {"slow": 0.5} for v in verdicts)


@pytest.mark.slow
def test_a_plain_function_that_hangs_beside_a_rule_that_waits_costs_its_response_alone(pool_of, house):
    pool = pool_of(
        hang={"rule": f"{house}:hang", "weight": 0.1},
        asks={"rule": f"{RULES}:asks", "weight": 0.1},
    )
    texts = [say(words) for words in ("a", "bb", "hang", "ccc", "dddd", "eeeee")]
    verdicts = scored(pool, *texts)
    assert [number for number, v in enumerate(verdicts) if NOT_SCORED in v.faults] == [2]
    assert "a response took longer than 2 s to score" in verdicts[2].why[0]
    for text, verdict in zip(texts[:2] + texts[3:], verdicts[:2] + verdicts[3:], strict=True):
        assert dict(verdict.more) == {"hang": 0.5, "asks": worth(text)}


def test_a_rule_with_workers_of_its_own_runs_there_and_only_there(pool_of, house, tmp_path):
    folder = tmp_path / "pids"
    folder.mkdir()
    rule = {"rule": f"{house}:Where", "weight": 0.1, "workers": 2, "cpus": 0.1, "options": {"folder": str(folder)}}
    pool = pool_of(where=rule)
    verdicts = scored(pool, *(say(f"film {number}") for number in range(30)))
    assert all(dict(v.more) == {"where": 0.25} for v in verdicts)
    pids = {int(path.name) for path in folder.iterdir()}
    assert len(pids) == 2 and os.getpid() not in pids
    actors = pool.rule_workers["where"]
    assert len(actors) == 2
    pool.stop()
    for actor in actors:
        with pytest.raises(ray.exceptions.RayActorError):
            for _ in range(100):  # a kill takes effect after the call returns
                ray.get(actor.ready.remote(), timeout=30)
                time.sleep(0.1)


@pytest.mark.slow
def test_a_worker_of_a_rule_that_dies_is_started_again_and_only_its_response_is_hurt(pool_of, house, tmp_path):
    folder = tmp_path / "pids"
    folder.mkdir()
    rule = {
        "rule": f"{house}:Where",
        "weight": 0.1,
        "workers": 1,
        "cpus": 0.1,
        "retries": 4,
        "options": {"folder": str(folder)},
    }
    pool = pool_of(workers=1, where=rule)
    verdicts = scored(pool, say("a"), say("crash"), say("b"))
    assert [v.failed for v in verdicts] == [(), ("where",), ()]
    assert "failed: Actor" in verdicts[1].why[-1] and len(list(folder.iterdir())) > 1 and pool.pool.deaths == 0


def test_a_rule_worker_whose_rule_cannot_be_made_ends_the_start_with_the_reason(pool_of):
    with pytest.raises(Exception, match="no such model folder"):
        pool_of(broken={"rule": f"{RULES}:Broken", "weight": 0.1, "workers": 1, "cpus": 0.1})
