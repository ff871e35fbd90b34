"""deploy.yaml: what KubeRay accepts, and what Ray's autoscaler makes of it for the recipe that it is written for."""

import gzip
import json
import re
import shlex
from collections import Counter
from functools import cache
from pathlib import Path

import jsonschema
import pytest
import ray
import yaml
from pydantic import ValidationError
from ray._common.utils import import_attr
from ray._private.ray_constants import RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil
from ray.core.generated.autoscaler_pb2 import GangResourceRequest
from ray.serve import Application
from ray.serve.schema import ServeDeploySchema
from typer.testing import CliRunner

from cluster.cli.app import app
from cluster.config.recipe_file import load_recipe
from cluster.control.ray_connection import LEARNER_RESOURCE
from cluster.planning.doctor import SHM_SHARE, STORE_SHARE
from cluster.planning.footprint import VERSIONS_IN_FLIGHT, missing_resource, services_ram
from cluster.planning.worker_memory import GIB, PROCESS_BYTES, learner_ram, rollout_ram
from cluster.service.serving import ServiceArguments

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ITEMS = {item["kind"]: item for item in yaml.safe_load((ROOT / "deploy.yaml").read_text(encoding="utf-8"))["items"]}
CLAIM, CLUSTER, JOB, SERVICE = (ITEMS[kind] for kind in ("PersistentVolumeClaim", "RayCluster", "RayJob", "RayService"))
JOB_CPUS, JOB_RESOURCES = JOB["spec"]["entrypointNumCpus"], json.loads(JOB["spec"]["entrypointResources"])
SPEC = CLUSTER["spec"]
GROUPS = {group["groupName"]: group for group in SPEC["workerGroupSpecs"]}
PODS = {name: group["template"]["spec"] for name, group in {"head": SPEC["headGroupSpec"], **GROUPS}.items()}
RECIPE = load_recipe(ROOT / "recipes" / "cx_mind_7b.yaml")
ROLLOUT = {"CPU": RECIPE.rollout.cpus, "GPU": RECIPE.rollout.gpus}
REWARD = {"CPU": RECIPE.reward.cpus}
LEARNER = {"CPU": RECIPE.learner.cpus, "GPU": RECIPE.learner.gpus, LEARNER_RESOURCE: 1}
PARAMETERS = 8_292_166_656  # of the model that the recipe names, by `curlvpr plan`
VERSIONS = VERSIONS_IN_FLIGHT * 2 * PARAMETERS  # bytes; the learner's dtype is bfloat16
RUN = {"CPU": JOB_CPUS, **JOB_RESOURCES}  # the run loop that the RayJob starts
SUBMITTED = {"CPU": 1, "memory": VERSIONS}  # the one that `curlvpr submit --driver-cpus 1` and the service start


def strict(schema):
    """The schema, but a field that it does not name is refused: Kubernetes would drop it without a word."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {
        key: {name: strict(part) for name, part in value.items()} if key == "properties" else strict(value)
        for key, value in schema.items()
    }
    return schema if "properties" not in schema else {"additionalProperties": False, **schema}


@cache
def validator(kind):
    schema = json.loads(gzip.decompress((HERE / "kuberay" / f"{kind.lower()}-v1.json.gz").read_bytes()))
    return jsonschema.Draft202012Validator(strict(schema))


def autoscaling():
    """Ray's own reading of the manifest, as its autoscaler in the head pod gets it from the API server."""
    return _derive_autoscaling_config_from_ray_cr(
        {**CLUSTER, "metadata": {**CLUSTER["metadata"], "namespace": "default"}}
    )


def launched(requests=(), gangs=()):
    """How many pods of each group the autoscaler brings to an empty cluster; nothing asked for may be left out."""
    config = AutoscalingConfig(autoscaling())
    make = ResourceRequestUtil.make
    reply = ResourceDemandScheduler().schedule(
        SchedulingRequest(
            disable_launch_config_check=True,
            node_type_configs=config.get_node_type_configs(),
            max_num_nodes=config.get_max_num_worker_nodes(),
            resource_requests=ResourceRequestUtil.group_by_count([make(r) for r in requests]),
            gang_resource_requests=[GangResourceRequest(requests=[make(r) for r in gang]) for gang in gangs],
        )
    )
    assert not reply.infeasible_resource_requests and not reply.infeasible_gang_resource_requests
    return Counter({launch.instance_type: launch.count for launch in reply.to_launch})


@pytest.mark.parametrize("kind", ["RayCluster", "RayJob", "RayService"])
def test_the_manifest_meets_kuberays_schema(kind):
    assert ITEMS[kind]["apiVersion"] == "ray.io/v1"
    assert [f"{e.json_path}: {e.message}" for e in validator(kind).iter_errors(ITEMS[kind])] == []


@pytest.mark.parametrize(
    "kind, path, value",
    [
        ("RayCluster", ("enableInTreeAutoScaling",), True),
        ("RayCluster", ("autoscalerOptions", "version"), "v3"),
        ("RayCluster", ("workerGroupSpecs", 0, "maxReplicas"), "8"),
        ("RayCluster", ("workerGroupSpecs", 0, "template", "spec", "containers", 0, "imagePullpolicy"), "Always"),
        ("RayCluster", ("headGroupSpec", "rayStartParams", "num-cpus"), 0),
        ("RayCluster", ("gcsFaultToleranceOptions", "redisPasswordSecret"), "curlvpr"),
        ("RayJob", ("entryPoint",), "true"),
        ("RayJob", ("clusterSelector",), "curlvpr"),
        ("RayService", ("serveConfig",), ""),
        ("RayService", ("rayClusterConfig", "headGroup"), {}),
    ],
)
def test_the_schema_refuses_what_kubernetes_would_refuse_or_drop(kind, path, value):
    broken = json.loads(json.dumps(ITEMS[kind]))
    node = broken["spec"]
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    assert not validator(kind).is_valid(broken)


def test_each_part_can_be_applied_alone_and_finds_what_it_names():
    parts = {kind: item["metadata"]["labels"]["part"] for kind, item in ITEMS.items()}
    assert parts == {
        "PersistentVolumeClaim": "shared",
        "Deployment": "shared",
        "Service": "shared",
        "RayCluster": "cluster",
        "RayJob": "run",
        "RayService": "service",
    }
    assert JOB["spec"]["clusterSelector"] == {"ray.io/cluster": CLUSTER["metadata"]["name"]}
    redis = ITEMS["Service"]
    (port,) = redis["spec"]["ports"]
    assert SPEC["gcsFaultToleranceOptions"]["redisAddress"] == f"redis://{redis['metadata']['name']}:{port['port']}"
    assert redis["spec"]["selector"].items() <= ITEMS["Deployment"]["spec"]["template"]["metadata"]["labels"].items()


def test_the_documented_commands_name_parts_that_there_are_and_end_redis_last():
    """KubeRay clears Redis before it lets a cluster go: what is deleted with Redis would wait for ever."""
    text = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    commands = re.findall(r"kubectl (apply|delete) -f deploy.yaml(?: -l (?:part=(\w+)|'part in \(([\w, ]+)\)'))?", text)
    named = [(verb, set(filter(None, re.split(", ", f"{one}{several}")))) for verb, one, several in commands]
    parts = {item["metadata"]["labels"]["part"] for item in ITEMS.values()}
    assert all(chosen and chosen <= parts for _, chosen in named)
    assert set.union(*(chosen for verb, chosen in named if verb == "apply")) == parts
    assert named[-1] == ("delete", {"shared"}) and named[-2] == ("delete", parts - {"shared"})


def test_the_job_gives_a_command_of_ours_with_a_recipe_that_exists(monkeypatch):
    """Read by the command line itself, in the place where the image has the code."""
    command = shlex.split(JOB["spec"]["entrypoint"].replace("/curlvpr/", f"{ROOT}/"))
    started = []
    monkeypatch.setattr("cluster.run.launch.start", lambda recipe, path: started.append((recipe, path)) or 0)
    assert command.pop(0) == "curlvpr"
    CliRunner().invoke(app, command, catch_exceptions=False)
    ((recipe, path),) = started
    assert recipe.roles == RECIPE.roles and path == Path("/shared/runs/cx_mind_7b")
    assert all(Path(place).is_relative_to("/shared") for place in (recipe.data.tasks, recipe.model.path))
    assert JOB_CPUS >= 1  # else Ray puts the run loop into the head pod


def test_the_service_is_one_that_serve_and_we_can_build(tmp_path):
    spec = SERVICE["spec"]
    assert spec["rayClusterConfig"] == SPEC  # all that holds for the cluster's pods holds for the service's
    assert spec["upgradeStrategy"]["type"] == "None"  # else a change of the manifest ends the runs
    (deployed,) = ServeDeploySchema(**yaml.safe_load(spec["serveConfigV2"])).applications
    args = ServiceArguments(**deployed.args)
    mounts = PODS["reward"]["containers"][0]["volumeMounts"]
    assert any(args.tokens.is_relative_to(mount["mountPath"]) and mount["name"] == "tokens" for mount in mounts)
    assert args.root == RECIPE.root and args.driver_cpus >= 1
    (tmp_path / "tokens.yaml").write_text("[]")
    build = import_attr(deployed.import_path)
    assert isinstance(
        build(args.model_copy(update={"root": tmp_path, "tokens": tmp_path / "tokens.yaml"})), Application
    )
    with pytest.raises(ValidationError, match="driver_cpu"):
        ServiceArguments(**deployed.args, driver_cpu=1)


def test_ray_is_the_version_that_runs_here():
    assert SPEC["rayVersion"] == ray.__version__


def offers():
    """What a pod of each group offers to Ray."""
    return {name: node["resources"] for name, node in autoscaling()["available_node_types"].items()}


def holds(offer, asked):
    """How many workers a pod holds."""
    return min(int(offer.get(resource, 0) // count) for resource, count in asked.items())


def test_the_head_takes_no_work_and_each_special_resource_is_offered_by_its_group_alone():
    assert offers()["headgroup"]["CPU"] == 0 and "GPU" not in offers()["headgroup"]
    for resource, group in ((LEARNER_RESOURCE, "learner"), *((name, "run") for name in JOB_RESOURCES)):
        assert {name for name, offer in offers().items() if resource in offer} == {group}


def test_a_pod_holds_one_run_or_as_many_engines_or_ranks_as_it_has_gpus():
    """All ranks of the learner in one pod. Reward workers that come first keep no other worker out."""
    offered = offers()
    assert holds(offered["run"], RUN) == holds(offered["run"], SUBMITTED) == 1
    assert holds(offered["rollout"], ROLLOUT) == offered["rollout"]["GPU"]
    assert holds(offered["learner"], LEARNER) == offered["learner"]["GPU"] == offered["learner"][LEARNER_RESOURCE]
    assert offered["learner"]["GPU"] == RECIPE.learner.workers
    for name, cpus in (("rollout", RECIPE.rollout.cpus), ("learner", RECIPE.learner.cpus)):
        assert offered[name]["CPU"] - offered[name]["GPU"] * cpus >= RECIPE.reward.workers * RECIPE.reward.cpus
    assert holds(offered["reward"], REWARD) >= 1 and not {"GPU"} & {*offered["reward"], *offered["run"]}


def test_every_group_starts_from_nothing_and_the_recipe_fits_into_all_at_their_largest():
    limits = Counter()
    for name, group in GROUPS.items():
        assert group["minReplicas"] == 0 and group.get("replicas", 0) == 0
        for resource, count in autoscaling()["available_node_types"][name]["resources"].items():
            limits[resource] += group["maxReplicas"] * count
    assert missing_resource(RECIPE.roles, limits) is None


def test_the_autoscaler_brings_the_pods_that_the_recipe_needs():
    rollouts, rewards = [ROLLOUT] * RECIPE.rollout.workers, [REWARD] * RECIPE.reward.workers
    ranks = [LEARNER] * RECIPE.learner.workers
    assert launched([RUN]) == launched([SUBMITTED]) == {"run": 1}
    assert launched([{"CPU": 1}]) == {"reward": 1}  # a job of a model of unknown size
    assert launched(rollouts) == {"rollout": 1}
    # As the run asks for it, all at once; in spare CPUs of these pods there is room for the reward workers.
    assert launched(gangs=[[*rollouts, *rewards, *ranks]]) == {"rollout": 1, "learner": 1}
    assert launched([*rollouts, *rewards], [ranks]) == {"rollout": 1, "learner": 1}


def test_rollouts_on_learner_pods_leave_room_for_the_learner():
    """One that is replaced may take a GPU that a rank has just left; the learner's group may grow by as many."""
    workers = RECIPE.learner.workers + RECIPE.rollout.workers
    pod = offers()["learner"]
    assert GROUPS["learner"]["maxReplicas"] * pod["GPU"] >= workers
    # A GPU without a rank has its CPUs and its unit of `learner` left for one, wherever the rollout workers are.
    assert pod["CPU"] >= pod["GPU"] * max(RECIPE.learner.cpus, RECIPE.rollout.cpus)


@pytest.mark.parametrize("pod", [*PODS.values(), ITEMS["Deployment"]["spec"]["template"]["spec"]], ids=[*PODS, "redis"])
def test_a_pod_is_confined(pod):
    (container,) = pod["containers"]
    assert (
        pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    )
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert container["resources"]["requests"] == container["resources"]["limits"]


@pytest.mark.parametrize("name", GROUPS)
def test_a_pod_that_is_taken_back_has_time_to_drain(name):
    """Ray drains a node at SIGTERM; Kubernetes must not kill it before Ray is done and has ended its processes."""
    assert PODS[name]["terminationGracePeriodSeconds"] >= RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S + 15


def mounted(pod):
    """The volumes of a pod by the place where it sees them."""
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    return {mount["mountPath"]: volumes[mount["name"]] for mount in pod["containers"][0]["volumeMounts"]}


def gib_of(text):
    assert text.endswith("Gi")
    return int(text.removesuffix("Gi")) * GIB


def memory_of(pod):
    return gib_of(pod["containers"][0]["resources"]["limits"]["memory"])


def object_store_of(name):
    """Bytes of Ray's object store in a pod: as stated, else its share of the memory."""
    group = SPEC["headGroupSpec"] if name == "head" else GROUPS[name]
    stated = group["rayStartParams"].get("object-store-memory")
    return int(stated) if stated else STORE_SHARE * memory_of(PODS[name])


@pytest.mark.parametrize("name", PODS)
def test_a_pod_has_memory_for_what_it_shares(name):
    pod, places = PODS[name], mounted(PODS[name])
    assert places["/dev/shm"]["emptyDir"]["medium"] == "Memory"
    memory, shm, store = memory_of(pod), gib_of(places["/dev/shm"]["emptyDir"]["sizeLimit"]), object_store_of(name)
    # Ray makes a store no larger than this part of /dev/shm, and starts with none that was asked to be larger.
    assert store < SHM_SHARE * shm
    assert shm <= 0.7 * memory  # what lies there is the pod's memory, too
    assert places["/shared"]["persistentVolumeClaim"]["claimName"] == CLAIM["metadata"]["name"]
    assert RECIPE.root.is_relative_to("/shared") and CLAIM["spec"]["accessModes"] == ["ReadWriteMany"]
    assert pod["containers"][0]["image"] == PODS["head"]["containers"][0]["image"]


def test_a_pod_holds_what_lies_there_by_the_plan():
    """The versions of the weights in Ray's object store, and not in its files on disk."""
    weights = 2 * PARAMETERS
    engines, ranks = (int(offers()[name]["GPU"]) for name in ("rollout", "learner"))
    needs = {
        "run": services_ram(RECIPE, PARAMETERS),
        "rollout": engines * rollout_ram(RECIPE, PARAMETERS) + VERSIONS,
        "learner": ranks * (learner_ram(RECIPE, PARAMETERS, PARAMETERS) + weights),  # each also reads its reference
        "reward": holds(offers()["reward"], REWARD) * PROCESS_BYTES["reward"],
    }
    assert set(needs) == set(GROUPS)
    for name, need in needs.items():
        assert need < memory_of(PODS[name]), name
    assert all(object_store_of(name) > VERSIONS for name in ("run", "rollout"))
