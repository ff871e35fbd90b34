"""deploy.yaml: what KubeRay accepts, and what Ray's autoscaler makes of it for the recipe that it is written for."""

import gzip
import json
from collections import Counter
from pathlib import Path

import jsonschema
import pytest
import ray
import yaml
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil
from ray.core.generated.autoscaler_pb2 import GangResourceRequest

from cluster.footprint import lacking
from cluster.ray_cluster import LEARNER_RESOURCE
from cluster.recipe import load_recipe

HERE = Path(__file__).parent
CLAIM, CLUSTER = yaml.safe_load_all((HERE.parent / "deploy.yaml").read_text(encoding="utf-8"))
SPEC = CLUSTER["spec"]
GROUPS = {group["groupName"]: group for group in SPEC["workerGroupSpecs"]}
PODS = {name: group["template"]["spec"] for name, group in {"head": SPEC["headGroupSpec"], **GROUPS}.items()}
RECIPE = load_recipe(HERE.parent / "recipes" / "cx_mind_7b.yaml")
ROLLOUT = {"CPU": RECIPE.rollout.cpus, "GPU": RECIPE.rollout.gpus}
REWARD = {"CPU": RECIPE.reward.cpus}
LEARNER = {"CPU": RECIPE.learner.cpus, "GPU": RECIPE.learner.gpus, LEARNER_RESOURCE: 1}


def strict(schema):
    """The schema, but a field that it does not name is refused: Kubernetes would drop it without a word."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: {name: strict(part) for name, part in value.items()} if key == "properties" else strict(value)
              for key, value in schema.items()}
    return schema if "properties" not in schema else {"additionalProperties": False, **schema}


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(gzip.decompress((HERE / "kuberay" / "raycluster-v1.json.gz").read_bytes()))
    return jsonschema.Draft202012Validator(strict(schema))


def autoscaling():
    """Ray's own reading of the manifest, as its autoscaler in the head pod gets it from the API server."""
    return _derive_autoscaling_config_from_ray_cr({**CLUSTER, "metadata": {**CLUSTER["metadata"], "namespace": "default"}})


def launched(requests=(), gangs=()):
    """How many pods of each group the autoscaler brings to an empty cluster; nothing asked for may be left out."""
    config = AutoscalingConfig(autoscaling())
    make = ResourceRequestUtil.make
    reply = ResourceDemandScheduler().schedule(SchedulingRequest(
        disable_launch_config_check=True, node_type_configs=config.get_node_type_configs(),
        max_num_nodes=config.get_max_num_worker_nodes(),
        resource_requests=ResourceRequestUtil.group_by_count([make(r) for r in requests]),
        gang_resource_requests=[GangResourceRequest(requests=[make(r) for r in gang]) for gang in gangs]))
    assert not reply.infeasible_resource_requests and not reply.infeasible_gang_resource_requests
    return Counter({launch.instance_type: launch.count for launch in reply.to_launch})


def test_the_manifest_meets_kuberays_schema(validator):
    assert (CLUSTER["apiVersion"], CLUSTER["kind"]) == ("ray.io/v1", "RayCluster")
    assert [f"{e.json_path}: {e.message}" for e in validator.iter_errors(CLUSTER)] == []


@pytest.mark.parametrize("path, value", [
    (("enableInTreeAutoScaling",), True), (("autoscalerOptions", "version"), "v3"),
    (("workerGroupSpecs", 0, "maxReplicas"), "8"),
    (("workerGroupSpecs", 0, "template", "spec", "containers", 0, "imagePullpolicy"), "Always"),
    (("headGroupSpec", "rayStartParams", "num-cpus"), 0)])
def test_the_schema_refuses_what_kubernetes_would_refuse_or_drop(validator, path, value):
    broken = json.loads(json.dumps(CLUSTER))
    node = broken["spec"]
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    assert not validator.is_valid(broken)


def test_ray_is_the_version_that_runs_here():
    assert SPEC["rayVersion"] == ray.__version__


def test_the_head_takes_no_work_and_only_learner_pods_offer_the_learner_resource():
    offers = {name: node["resources"] for name, node in autoscaling()["available_node_types"].items()}
    assert offers["headgroup"]["CPU"] == 0 and "GPU" not in offers["headgroup"]
    assert {name for name, offer in offers.items() if LEARNER_RESOURCE in offer} == {"learner"}


def test_a_pod_of_each_group_holds_one_worker_of_the_recipe():
    offers = {name: node["resources"] for name, node in autoscaling()["available_node_types"].items()}
    for name, asked in (("rollout", ROLLOUT), ("reward", REWARD), ("learner", LEARNER)):
        assert all(offers[name].get(resource, 0) >= count for resource, count in asked.items()), name
    # One GPU a pod, and one learner: a second worker of the kind cannot crowd in.
    assert offers["rollout"]["GPU"] == offers["learner"]["GPU"] == offers["learner"][LEARNER_RESOURCE] == 1
    assert "GPU" not in offers["reward"]


def test_every_group_starts_from_nothing_and_the_recipe_fits_into_all_at_their_largest():
    limits = Counter()
    for name, group in GROUPS.items():
        assert group["minReplicas"] == 0 and group.get("replicas", 0) == 0
        for resource, count in autoscaling()["available_node_types"][name]["resources"].items():
            limits[resource] += group["maxReplicas"] * count
    assert lacking(RECIPE.roles, limits) is None


def test_the_autoscaler_brings_the_pods_that_the_recipe_needs():
    rollouts, rewards = [ROLLOUT] * RECIPE.rollout.workers, [REWARD] * RECIPE.reward.workers
    assert launched([{"CPU": 1}]) == {"reward": 1}  # the run loop, before it asks for anything
    assert launched(rollouts) == {"rollout": RECIPE.rollout.workers}
    together = launched([*rollouts, *rewards], [[LEARNER] * RECIPE.learner.workers])
    assert together["learner"] == RECIPE.learner.workers and together["rollout"] == RECIPE.rollout.workers


def test_rollouts_on_learner_pods_leave_room_for_the_learner():
    """Whichever pod is up first gets the actor that waits; the learner's group may grow by as many."""
    assert GROUPS["learner"]["maxReplicas"] >= RECIPE.learner.workers + RECIPE.rollout.workers


@pytest.mark.parametrize("name", PODS)
def test_a_pod_is_confined_and_sized(name):
    pod = PODS[name]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert container["resources"]["requests"] == container["resources"]["limits"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes[mounts["/dev/shm"]]["emptyDir"]["medium"] == "Memory"
    # Ray takes 30 % of a pod's memory for its object store; what lies in /dev/shm counts as the pod's memory.
    memory, shm = (_gib(text) for text in (container["resources"]["limits"]["memory"],
                                           volumes[mounts["/dev/shm"]]["emptyDir"]["sizeLimit"]))
    assert 0.3 * memory < shm <= memory / 2
    assert volumes[mounts["/shared"]]["persistentVolumeClaim"]["claimName"] == CLAIM["metadata"]["name"]
    assert RECIPE.root.is_relative_to("/shared") and CLAIM["spec"]["accessModes"] == ["ReadWriteMany"]
    assert container["image"] == PODS["head"]["containers"][0]["image"]


def _gib(text):
    assert text.endswith("Gi")
    return int(text.removesuffix("Gi"))
