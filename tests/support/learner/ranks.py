"""Learner ranks without Ray Train around them: processes that stay, in which ranks are made one after the other."""

import gc
import socket
import sys
import threading
import time
import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import ray
import torch

from actors.learner.config import LearnerConfig
from actors.learner.setup import RankSetup
from actors.model.encode import Encoder, PromptConfig
from actors.runtime.remote import wait_for
from actors.trajectory import Group, ScoredGroup, Trajectory
from actors.weights.transports import TRANSPORTS
from rewards.verdict import Verdict

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers have no folder of tests
NO_CHANGE = {}  # of DeepSpeed's settings
PROMPT = PromptConfig()
ENTIRELY = {"stage3_param_persistence_threshold": 0}  # ZeRO-3 shards small weights, too


class RankHost:
    """One process of a world. It keeps the gradients, whole, of the last step."""

    def __init__(self, rank, world):
        self.rank, self.world = rank, world

    def make(self, setup, zero):
        """A new rank; `zero` is laid over DeepSpeed's settings."""
        from torch.multiprocessing.reductions import StorageWeakRef

        from actors.learner import deepspeed_engine
        from actors.learner.rank import DeepSpeedRank

        self.earlier = {place: StorageWeakRef(storage) for place, storage in storages()}  # no address is taken again
        plain = deepspeed_engine.settings
        deepspeed_engine.settings = lambda config: (
            plain(config) | {"zero_optimization": plain(config)["zero_optimization"] | zero}
        )
        try:
            self.made = DeepSpeedRank(setup, self.rank, self.world)
        finally:
            deepspeed_engine.settings = plain
        self.gradients, step = {}, self.made.engine.step

        def watched(lr):
            from deepspeed.utils import safe_get_full_grad

            whole = (lambda p: p.grad) if self.made.config.zero_stage == 0 else safe_get_full_grad
            self.gradients = {
                name: whole(p).float().numpy(force=True).copy()
                for name, p in self.made.policy.named_parameters()
                if p.requires_grad
            }
            return step(lr)

        self.made.engine.step = watched

    def loading_sharded(self, setup):
        """Loads a policy as a rank with ZeRO-3 does; the bytes of memory that this took at most."""
        before, peak, loaded = anonymous_bytes(), [0], threading.Event()

        def watch():
            while not loaded.is_set():
                peak[0] = max(peak[0], anonymous_bytes())
                time.sleep(0.002)

        watcher = threading.Thread(target=watch)
        watcher.start()
        self.made.setup, self.made.config = setup, setup.config
        try:
            with self.made._sharding():
                policy = self.made._make_policy()
        finally:
            loaded.set()
            watcher.join()
        assert all(hasattr(parameter, "ds_id") for parameter in policy.parameters())
        return peak[0] - before

    def call(self, order):
        return order.run(self.made)

    def pad(self):
        """From now on samples are padded, not packed."""
        policy = self.made.policy
        policy.packed, policy.model.get_decoder().config._attn_implementation = False, "sdpa"

    def bytes_at_the_update(self, order):
        """Makes the step of an order; the bytes of all tensors right before its update that this rank has made."""
        held, update = [], self.made.engine.step

        def watched(lr):
            mine = {place: storage.nbytes() for place, storage in storages() if place not in self.earlier}
            held.append(sum(mine.values()))
            return update(lr)

        self.made.engine.step = watched
        order.run(self.made)
        return held[-1]

    def state(self):
        return {name: value.float().numpy() for name, value in self.made.policy.state().items()}

    def publish_in(self, bucket_bytes):
        """From now on it publishes in buckets of this size."""
        self.made.policy.parts = partial(type(self.made.policy).parts, self.made.policy, bucket_bytes)

    def publish_watched(self, version, probe, bucket_bytes):
        """Publishes; the most bytes of gathered weights that lived at a time."""
        import deepspeed
        from torch.multiprocessing.reductions import StorageWeakRef

        lives, peaks, plain = {}, [], deepspeed.zero.GatheredParameters
        living = lambda: [size for storage, size in lives.items() if not storage.expired()]  # noqa: E731

        class Watched(plain):
            def __enter__(self):
                deadline = time.monotonic() + 2
                while living() and time.monotonic() < deadline:  # Ray may need a moment to let go of what it sent
                    time.sleep(0.01)
                super().__enter__()
                for parameter in self.params:
                    storage = parameter.data.untyped_storage()
                    lives[StorageWeakRef(storage)] = storage.nbytes()
                peaks.append(sum(living()))

        deepspeed.zero.GatheredParameters = Watched
        self.publish_in(bucket_bytes)
        try:
            self.made.publish(version, probe, {})
        finally:
            deepspeed.zero.GatheredParameters = plain
            del self.made.policy.parts
        return max(peaks)

    def logprobs(self, samples):
        return self.made.logprobs(self.made.policy, samples, 1.0)

    def reference_logprobs(self, samples):
        return self.made.reference_logprobs(samples, 1.0)

    def held(self):
        """The folders of models beside the policy."""
        return list(self.made.frozen)

    def weights(self):
        """As they lie in the model, adapters apart."""
        from actors.model.gather import gathered

        named = dict(self.made.policy.model.named_parameters())
        with gathered(named.values()):
            return {name: p.detach().float().numpy(force=True).copy() for name, p in named.items()}

    def optimiser(self):
        """Whole, by the weights' names: master weight and both moments; of each group, what AdamW is told; and its
        counts of steps.
        """
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        engine, held = self.made.engine, {}
        if hasattr(
            engine.optimizer, "_hp_optimizer_states_linked"
        ):  # ZeRO-1 and 2 looked for moments before there were any
            engine.optimizer._hp_optimizer_states_linked = False
            engine.optimizer._lazy_init_hp_params_optimizer_state()
        for name, p in self.made.policy.named_parameters():
            if p.requires_grad and self.made.config.zero_stage == 0:
                held[name] = [p.detach(), *(engine.optimizer.state[p][key] for key in ("exp_avg", "exp_avg_sq"))]
            elif p.requires_grad:
                held[name] = [
                    safe_get_full_fp32_param(p),
                    *(safe_get_full_optimizer_state(p, key) for key in ("exp_avg", "exp_avg_sq")),
                ]
        told = [
            {key: group[key] for key in ("weight_decay", "betas", "eps")} for group in engine.optimizer.param_groups
        ]
        return (
            {
                f"{name} {n}": v.float().numpy(force=True).copy()
                for name, values in held.items()
                for n, v in enumerate(values)
            },
            told,
            sorted({float(state["step"]) for state in engine._states()}),
        )

    def last_gradients(self):
        return self.gradients


@dataclass
class World:
    hosts: list[Any]
    model: str

    def make(self, zero=NO_CHANGE, **config):
        """New ranks; `zero` is laid over DeepSpeed's settings."""
        self.make_unchecked(zero, **dict(LearnerConfig(**{"micro_batch_tokens": 600} | config)))

    def make_unchecked(self, zero=NO_CHANGE, store=None, transport="store", prompt=PROMPT, alone=False, **config):
        """As `make`, of a configuration that no recipe may have."""
        whole = LearnerConfig(micro_batch_tokens=600).model_copy(update=config)
        setup = RankSetup(whole, prompt, self.model, store, 0, TRANSPORTS[transport], adapters_alone=alone)
        self.all("make", setup, zero)

    def all(self, method, *arguments):
        """What each host answers."""
        return wait_for([getattr(host, method).remote(*arguments) for host in self.hosts], 120, "the ranks")

    def call(self, order):
        """What rank 0 answers; all do it."""
        return self.every(order)[0]

    def update(self, order):
        """The numbers of a step of training."""
        return self.call(order).numbers

    def every(self, order):
        return wait_for([host.call.remote(order) for host in self.hosts], 120, "the ranks")

    def first(self, method, *arguments):
        return self.all(method, *arguments)[0]

    def end(self):
        for host in self.hosts:
            ray.kill(host)


def anonymous_bytes():
    """Memory of this process that is no file's."""
    with open("/proc/self/status") as status:
        (line,) = [line for line in status if line.startswith("RssAnon:")]
    return int(line.split()[1]) * 1024


def storages():
    """(an address, storage) of all living tensors of this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tensors = [thing for thing in gc.get_objects() if isinstance(thing, torch.Tensor) and not thing.is_meta]
    return [(tensor.untyped_storage()._cdata, tensor.untyped_storage()) for tensor in tensors]


def same(a, b):
    return a.keys() == b.keys() and all((a[name] == b[name]).all() for name in a)


def two_groups(model, tasks):
    """Two groups of two responses of different worth."""
    encoder = Encoder(model, PromptConfig())
    made = []
    for number, task in enumerate(tasks[:2]):
        ids = encoder.response_ids(task.reference)
        responses = tuple(
            Trajectory(
                "",
                ids[: 20 + n],
                np.full(20 + n, -6, np.float32),
                np.zeros(20 + n, np.int32),
                np.arange(20 + n),
                "stop",
                0,
            )
            for n in range(2)
        )
        worth = tuple(Verdict(total, total, 1.0, total, 0.0, 0.0, None, ()) for total in (0.0, 1.0))
        made.append(ScoredGroup(Group(str(number), task, encoder.expand(task), responses), worth))
    return made


def start_world(ranks, model):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    alike = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    hosts = [
        ray.remote(RankHost)
        .options(  # two threads: one hands over what the other publishes
            num_cpus=0.25, max_concurrency=2, runtime_env={"env_vars": alike | {"RANK": str(r), "LOCAL_RANK": str(r)}}
        )
        .remote(r, ranks)
        for r in range(ranks)
    ]
    return World(hosts, str(model))
