from actors.reward import RewardWorkersConfig


def test_the_rules_that_have_workers_of_their_own():
    own = {
        "plain": {"rule": "a:b", "weight": 1},
        "judge": {"rule": "a:c", "weight": 1, "gpus": 0.5},
    }
    config = RewardWorkersConfig.model_validate({"rules": {"own": own}})
    assert list(config.rules_with_workers) == ["judge"]
    (judge,) = config.rules_with_workers.values()
    assert (judge.own_workers, judge.worker_cpus, judge.worker_gpus) == (1, 1, 0.5)
