"""Which worker goes to which node."""

from actors.reward import RewardWorkersConfig
from cluster.planning.nodes import parse_nodes
from cluster.planning.placement import WorkerRequest, place, worker_requests


def loads(asks, nodes):
    placement = place(asks, parse_nodes(nodes))
    return [dict(load.holds) for load in placement.loads], dict(placement.unplaced)


def test_an_engine_of_two_gpus_needs_them_on_one_node():
    pair = WorkerRequest("rollout", 1, 1, 2)
    assert loads([pair], ["2x1x80"]) == ([{}, {}], {"rollout": 1})
    assert loads([pair], ["1x1x80", "1x2x80"]) == ([{}, {"rollout": 1}], {})
    assert loads([pair, WorkerRequest("learner", 2, 1, 1)], ["2x2x80"]) == ([{"rollout": 1}, {"learner": 2}], {})
    assert loads([WorkerRequest("rollout", 3, 1, 2)], ["2x3x80"])[1] == {"rollout": 1}


def test_parts_of_gpus_are_parts_of_one():
    assert loads([WorkerRequest("rollout", 3, 1, 0.6)], ["1x2x80"])[1] == {"rollout": 1}
    assert loads([WorkerRequest("rollout", 4, 1, 0.5)], ["1x2x80"])[1] == {}
    assert loads([WorkerRequest("rollout", 2, 1, 0.5), WorkerRequest("learner", 1, 1, 1)], ["1x2x80"])[1] == {}


def test_ranks_go_where_the_learner_resource_is_and_others_leave_it_alone():
    asks = [WorkerRequest("rollout", 4, 1, 2), WorkerRequest("learner", 8, 1, 1, 1), WorkerRequest("reward", 2, 1)]
    held, left = loads(asks, ["2x8x80,learner=4", "1x0,cpus=8"])
    assert left == {} and [node.get("learner") for node in held] == [4, 4, None] and held[2] == {"reward": 2}
    assert loads(asks, ["1x8x80,learner=8", "1x8x80"])[0] == [{"learner": 8, "reward": 2}, {"rollout": 4}]
    assert loads(asks, ["1x8x80,learner=4", "1x8x80"])[1] == {"learner": 4}


def test_cpus_are_of_a_node_as_well():
    assert loads([WorkerRequest("reward", 3, 2)], ["3x0,cpus=3"])[1] == {}
    assert loads([WorkerRequest("reward", 3, 2)], ["2x0,cpus=3"])[1] == {"reward": 1}


def test_workers_of_a_rule_ask_for_room_under_its_path_in_the_recipe():
    own = {"plain": {}, "judge": {"gpus": 1}, "metric": {"workers": 2, "cpus": 0.5}}
    rules = {name: {"rule": "m:rule", "weight": 0.1} | settings for name, settings in own.items()}
    reward = RewardWorkersConfig.model_validate({"workers": 3, "rules": {"own": rules}})
    assert worker_requests({"reward": reward}, learner=False) == [
        WorkerRequest("reward", 3, 0.25),
        WorkerRequest("reward.rules.own.judge", 1, 1, 1),
        WorkerRequest("reward.rules.own.metric", 2, 0.5),
    ]
