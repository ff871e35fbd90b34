"""Reward workers under faults: real Ray actors, rules of one's own that crash, hang and raise."""

import os
import signal
import threading
import time

import pytest
import ray

from actors.reward import RewardWorkersConfig
from actors.trajectory import Group
from cluster.pools.reward_pool import RewardPool
from rewards.config import RewardConfig
from rewards.score import score
from rewards.verdict import NOT_SCORED
from tests.support.rewards.choice import TASK, groups, say

DEFAULT_RULES = RewardConfig()
RULE = """
import os, time

def misbehave(task, response, verdict):
    if "crash" in response:
        os._exit(1)
    if "hang" in response:
        time.sleep(1000)
    if "raise" in response:
        raise ValueError("no such thing")
    if "far" in response:
        return 7.0
    return 0.5
"""


def open_pool(workers, rules=DEFAULT_RULES, timeout=30.0):
    config = RewardWorkersConfig(workers=workers, cpus=0.1, timeout_s=timeout, response_timeout_s=4, rules=rules)
    return RewardPool(f"test-{os.urandom(4).hex()}", config)


@pytest.fixture
def own_rule(tmp_path, monkeypatch):
    (tmp_path / "misbehaving_rules.py").write_text(RULE)
    monkeypatch.chdir(tmp_path)
    return RewardConfig.model_validate({"own": {"house": {"rule": "misbehaving_rules:misbehave", "weight": 0.2}}})


@pytest.mark.parametrize("workers", [1, 3])
def test_verdicts_do_not_depend_on_the_number_of_workers(ray_session, workers):
    texts = [say(str(i), "AB"[i % 3 == 0]) for i in range(14)]
    pool = open_pool(workers)
    found = pool.take(groups(*texts))
    pool.stop()
    assert [v for group in found for v in group] == [score(TASK, text, RewardConfig()) for text in texts]
    assert [len(group) for group in found] == [2] * 7


def test_a_response_that_crashes_hangs_or_raises_costs_its_own_verdict_alone(ray_session, own_rule):
    texts = [say(word) for word in ("a", "raise", "b", "crash", "c", "d", "hang", "far", "e", "f")]
    pool = open_pool(2, own_rule, timeout=12)
    verdicts = [v for group in pool.take(groups(*texts)) for v in group]
    pool.stop()
    lost = [i for i, v in enumerate(verdicts) if NOT_SCORED in v.faults]
    assert lost == [3, 6] and "died" in verdicts[3].why[0] and "did not answer its work within" in verdicts[6].why[0]
    assert all(verdicts[i].total == verdicts[i].base == 0 for i in lost)
    assert "ValueError: no such thing" in verdicts[1].why[-1] and "7.0" in verdicts[7].why[-1]
    for i in {0, 2, 4, 5, 8, 9}:
        assert dict(verdicts[i].more) == {"house": 0.5} and verdicts[i].total == pytest.approx(1.1)
    assert verdicts[1].total == verdicts[7].total == pytest.approx(1.0)


def test_a_killed_worker_is_replaced_and_nothing_is_lost(ray_session, tmp_path, monkeypatch):
    (tmp_path / "holding_rules.py").write_text(
        "import time, os, pathlib\n\ndef slow(task, response, verdict, *, folder):\n"
        "    pathlib.Path(folder, str(os.getpid())).touch()\n    time.sleep(0.2)\n    return 1.0\n"
    )
    monkeypatch.chdir(tmp_path)
    pids = tmp_path / "pids"
    pids.mkdir()
    rules = {"own": {"slow": {"rule": "holding_rules:slow", "weight": 0.1, "options": {"folder": str(pids)}}}}
    pool = open_pool(1, RewardConfig.model_validate(rules))

    def kill():
        while not (seen := list(pids.iterdir())):
            time.sleep(0.05)
        os.kill(int(seen[0].name), signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    verdicts = [v for group in pool.take(groups(*[say(str(i)) for i in range(8)])) for v in group]
    thread.join()
    again = pool.take(groups(say("later"), say("on")))
    pool.stop()
    assert len(list(pids.iterdir())) >= 2  # another process took over
    assert all(dict(v.more) == {"slow": 1.0} for v in verdicts) and len(again[0]) == 2


def test_groups_are_scored_as_they_come_and_taken_in_any_order(ray_session):
    texts = [say(str(i), "AB"[i % 3 == 0]) for i in range(12)]
    made, pool = groups(*texts), open_pool(2)
    expected = [tuple(score(TASK, t.text, RewardConfig()) for t in group.trajectories) for group in made]
    for group in made[:4]:
        pool.add(group)
        pool.pump()
    pool.add(made[4])
    assert pool.known(made[4]) is None is pool.known(made[5])  # not sent yet; not added
    until = time.monotonic() + 60
    while not all(sent.batch.done for sent in pool.sent.values()):
        assert time.monotonic() < until
        pool.pump()
    assert [pool.known(group) for group in made[:5]] == expected[:5]  # and they can still be taken
    assert pool.take([made[3], made[0]]) == [expected[3], expected[0]]
    pool.drop(made[1].group_id)
    assert set(pool.sent) == {made[2].group_id, made[4].group_id}
    changed = Group(made[2].group_id, TASK, made[2].prompt_ids, made[2].trajectories[:1])
    assert pool.take([changed, made[5], made[4]]) == [expected[2][:1], expected[5], expected[4]]
    pool.add(made[0])
    pool.pump()
    pool.discard_all()
    assert not pool.sent and pool.take(made) == expected
    pool.stop()


def test_a_stopped_pool_has_no_actors_left(ray_session):
    pool = open_pool(2)
    pool.take(groups(say("a"), say("b")))
    actors = [worker.actor for worker in pool.pool.workers.values()]
    pool.stop()
    assert len(actors) == 2
    for worker in actors:
        with pytest.raises(ray.exceptions.RayActorError):
            for _ in range(100):  # a kill takes effect after the call returns
                ray.get(worker.ready.remote(), timeout=30)
                time.sleep(0.1)
