"""Adapters that travel alone, in real engines: against merged ones, in mid-response, after sleep, in a new worker.

Which families' engines take them: test_families.py, and two of these in every run of the suite.
"""

import os
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import ray
import torch
from vllm.config.lora import MaxLoRARanks

from actors.learner.orders import Keep, Publish
from actors.learner.sft_update import SftUpdate
from actors.model.config import Lora
from actors.model.encode import Encoder, PromptConfig
from actors.model.lora import adapt, is_adapter
from actors.model.policy import Policy
from actors.rollout.adapters import RANKS
from actors.rollout.config import RolloutConfig
from actors.runtime.remote import RemoteFailure, wait_for
from actors.trajectory import Request, Sample
from actors.weights.store import WeightStore
from actors.weights.transports import TRANSPORTS
from actors.weights.version import ASLEEP, Version
from cluster.pools.rollout_pool import RolloutPool
from cluster.pools.worker_health import State
from tests.support.engines.probes import logprobs, probe_of
from tests.support.engines.second_runner import SECOND_RUNNER
from tests.support.engines.worker import WatchedWorker
from tests.support.sender import start_sender

pytestmark = pytest.mark.slow
CONFIG = RolloutConfig(cpus=0.5, max_response_tokens=24, max_model_tokens=256)
LORA = Lora(rank=4, alpha=6, targets=("vision", "projector", "language"))


@pytest.fixture(scope="module")
def policy(tiny_model):
    policy = Policy(tiny_model, Encoder(tiny_model, PromptConfig()), torch.float32)
    adapt(policy.model, LORA)
    return policy


@pytest.fixture(scope="module")
def store(ray_session):
    store = ray.remote(WeightStore).options(num_cpus=0, max_concurrency=100).remote()
    yield store
    ray.kill(store)


@pytest.fixture(scope="module")
def sender(store):
    sender = start_sender(store)
    yield sender
    ray.kill(sender)


def start_worker(store, model, environment, lora):
    here = {"PYTHONPATH": str(Path(__file__).parents[3])}  # for tests.support
    worker = (
        ray.remote(WatchedWorker)
        .options(num_cpus=0.5, max_concurrency=8, runtime_env={"env_vars": here | environment})
        .remote(0, CONFIG, str(model), PromptConfig(), store, 1, TRANSPORTS["store"], lora)
    )
    wait_for(worker.ready.remote(), 300, "the worker")
    return worker


@pytest.fixture(
    scope="module",
    params=[pytest.param({}, id="runner of CPUs"), pytest.param(SECOND_RUNNER, id="of GPUs")],
)
def environment(request):
    """Of workers; it says which model runner they have."""
    return request.param


@pytest.fixture(scope="module")
def worker(environment, store, tiny_model):
    worker = start_worker(store, tiny_model, environment, LORA)
    yield worker
    ray.kill(worker)


def draw_adapters(policy, seed):
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            if is_adapter(name):
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)))


def publish(policy, sender, tasks, version, alone=True):
    """In buckets that cut layers apart."""
    buckets = [policy.published(part) for part in policy.parts(2**12 if alone else 2**18, adapters_alone=alone)]
    wait_for(sender.publish.remote(version, buckets, probe_of(policy, tasks)), 60, "the sender")


def update(worker, version):
    return wait_for(worker.update.remote(version), 120, "rollout-0")


def generate(worker, requests, version):
    numbered = [wait_for(reference, 120, "the worker") for reference in worker.generate.remote(requests, 1.0, version)]
    return [group for _, group in sorted(numbered, key=lambda pair: pair[0])]


def requests_for(tasks):
    return [Request(f"g{number}", task, 3, 100 * number) for number, task in enumerate(tasks)]


@pytest.fixture
def ready(policy, sender, worker, phantom_tasks):
    """The worker on version 0.1, whose adapters are the policy's."""
    draw_adapters(policy, 1)
    publish(policy, sender, phantom_tasks[:2], Version(0, 1))
    assert update(worker, Version(0, 1)) < 1e-5
    return worker


def test_both_ways_give_the_same_log_probabilities(
    ready, environment, policy, store, sender, tiny_model, phantom_tasks
):
    """The same tokens by the same seeds, before and after another version; a run that went back comes the same way."""
    merging = start_worker(store, tiny_model, environment, None)
    sizes = []
    try:
        for seed, version, same_again in ((1, 2, 3), (5, 4, 5)):
            draw_adapters(policy, seed)
            groups = []
            for number, worker, alone in ((version, ready, True), (same_again, merging, False)):
                publish(policy, sender, phantom_tasks[:2], Version(1, number), alone)
                assert update(worker, Version(1, number)) < 1e-5
                groups.append(generate(worker, requests_for(phantom_tasks[:4]), Version(1, number)))
                references, _ = wait_for(store.fetch.remote(Version(1, number)), 60, "the store")
                sizes.append(sum(part.nbytes for bucket in ray.get(references) for part in bucket))
            for mine, theirs in zip(*groups, strict=True):
                for one, other in zip(mine.trajectories, theirs.trajectories, strict=True):
                    assert one.ids.tolist() == other.ids.tolist()
                    assert np.abs(one.logprobs - other.logprobs).max() < 1e-4
    finally:
        ray.kill(merging)
    assert sizes[0] == sizes[2] < sizes[1] / 10


def test_adapters_reach_an_engine_that_is_writing(ready, policy, sender, phantom_tasks):
    """Every token keeps the version that wrote it, and has the log-probability that this version gives it."""
    draw_adapters(policy, 2)
    publish(policy, sender, phantom_tasks[:1], Version(0, 4))
    pending = ready.generate.remote(requests_for(phantom_tasks[:6]), 1.0, Version(0, 1))
    assert update(ready, Version(0, 4)) < 1e-5
    groups = [wait_for(reference, 120, "the worker")[1] for reference in pending]
    trajectories = [(group, trajectory) for group in groups for trajectory in group.trajectories]
    assert {1, 4} == {int(v) for _, t in trajectories for v in t.versions}, "the update came too early or too late"
    for version, seed in ((1, 1), (4, 2)):
        draw_adapters(policy, seed)
        for group, trajectory in trajectories:
            (expected,) = logprobs(policy, [Sample(group.prompt_ids, group.task.images, trajectory.ids)])
            own = trajectory.versions == version
            assert np.abs(trajectory.logprobs - expected)[own].max(initial=0) < 1e-4


def test_a_sleeping_engine_keeps_its_base_weights_and_gets_adapters_when_it_wakes(ready, phantom_tasks):
    requests = requests_for(phantom_tasks[:4])
    before = [t.ids.tolist() for group in generate(ready, requests, Version(0, 1)) for t in group.trajectories]
    ask = lambda: wait_for(ready.ask_engine.remote("memory_events"), 60, "the engine")  # noqa: E731
    ask()
    update(ready, ASLEEP)
    assert update(ready, Version(0, 1)) < 1e-5
    assert ask() == ["sleep 1", "wake weights", "load", "wake kv_cache"]
    after = [t.ids.tolist() for group in generate(ready, requests, Version(0, 1)) for t in group.trajectories]
    assert after == before


def test_adapters_that_the_engine_has_no_layer_for_are_named(ready, policy, sender, phantom_tasks):
    (part,) = [policy.published(part) for part in policy.parts(adapters_alone=True)]
    known = next(name for name in part if ".layers.1." in name and ".lora_A." in name)
    strange = known.replace(".layers.1.", ".layers.7.")
    part[strange] = part.pop(known)
    wait_for(sender.publish.remote(Version(0, 6), [part], probe_of(policy, phantom_tasks[:1])), 60, "the sender")
    with pytest.raises(RemoteFailure, match=r"no layer for 1 of \d+ adapters, such as language_model.model.layers.7"):
        update(ready, Version(0, 6))
    with pytest.raises(RemoteFailure, match="0.6 is wanted"):
        generate(ready, requests_for(phantom_tasks[:1]), Version(0, 6))


@pytest.mark.parametrize("transport", ["store", "collective"])
def test_a_learners_adapters_reach_a_pool_and_a_worker_in_place_of_another(
    transport, one, store, tiny_model, phantom_tasks
):
    config = RolloutConfig(workers=1, cpus=0.25, max_response_tokens=24, max_model_tokens=256, max_sequences=8)
    name = f"test-{os.urandom(4).hex()}"
    pool = RolloutPool(name, config, tiny_model, PromptConfig(), store, 1, TRANSPORTS[transport], LORA)
    one.make_unchecked(store=store, transport=transport, lora=LORA, alone=True)
    nothing = lambda: None  # noqa: E731
    try:
        pool.ready()
        for number in (1, 2):
            one.update(SftUpdate(phantom_tasks[:4], 1e-2))
            version = Version(2 + (transport == "collective"), number)
            direct, sent = TRANSPORTS[transport].direct, None
            if direct:
                pool.begin_update(version, False, nothing)
                sent = one.hosts[0].call.remote(Publish(version, phantom_tasks[:2], pool.receivers()))
                while not ray.wait([sent], timeout=0.05)[0]:
                    pool.pool.pump(0)
                assert ray.get(sent).reached == 1
                one.call(Keep(version))
            else:
                one.call(Publish(version, phantom_tasks[:2]))
                pool.begin_update(version, False, nothing)
            assert pool.wait_until_current(nothing) < 1e-5
        (worker,) = pool.pool.workers.values()
        ray.kill(worker.actor)
        while pool.pool.deaths == 0 or pool.pool.count(State.READY) < 1:
            pool.pool.pump()
        assert pool.wait_until_current(nothing) < 1e-5 and pool.pool.deaths == 1
    finally:
        pool.stop()


def test_the_ranks_are_those_that_vllm_makes_room_for():
    assert get_args(MaxLoRARanks) == RANKS
