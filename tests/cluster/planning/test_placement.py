"""Which worker goes to which node."""

import json
import subprocess
import sys

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


GPUS_OF = """
import json, ray

@ray.remote
class Worker:
    def gpu(self):
        (gpu,) = ray.get_runtime_context().get_accelerator_ids()["GPU"]
        return gpu

ray.init(num_cpus=8, num_gpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
ranks = [Worker.options(num_gpus=0.6).remote() for _ in range(4)]
of_ranks = ray.get([worker.gpu.remote() for worker in ranks])
engines = [Worker.options(num_gpus=0.4).remote() for _ in range(4)]
print(json.dumps([of_ranks, ray.get([worker.gpu.remote() for worker in engines])]))
"""


def test_ray_puts_one_engine_beside_each_rank_if_the_ranks_come_first():
    """As `Workers` starts them where they share GPUs, and as the plan has them."""
    output = subprocess.run([sys.executable, "-c", GPUS_OF], capture_output=True, text=True, timeout=120, check=True)
    of_ranks, of_engines = json.loads(output.stdout.splitlines()[-1])
    assert sorted(of_ranks) == sorted(of_engines) == ["0", "1", "2", "3"]
    asks = [WorkerRequest("rollout", 4, 1, 0.4), WorkerRequest("learner", 4, 1, 0.6)]
    assert loads(asks, ["1x4x80"]) == ([{"learner": 4, "rollout": 4}], {})


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
