"""Learner ranks without Ray Train around them: processes that stay, in which ranks are made one after the other."""

import socket
import sys
from dataclasses import dataclass
from typing import Any

import ray

from actors.encode import PromptConfig
from actors.training import LearnerConfig
from actors.waiting import wait_for

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers have no folder of tests
ENTIRELY = {"stage3_param_persistence_threshold": 0}  # ZeRO-3 shards small weights, too


class RankHost:
    """One process of a world. It keeps the gradients, whole, of the last step."""

    def __init__(self, rank, world):
        self.rank, self.world = rank, world

    def make(self, setup, zero):
        """A new rank; `zero` is laid over DeepSpeed's settings."""
        from actors import deepspeed_engine
        from actors.deepspeed_rank import DeepSpeedRank

        plain = deepspeed_engine.settings
        deepspeed_engine.settings = lambda config: plain(config) | {"zero_optimization": plain(config)["zero_optimization"] | zero}
        try:
            self.made = DeepSpeedRank(setup, self.rank, self.world)
        finally:
            deepspeed_engine.settings = plain
        self.gradients, step = {}, self.made.engine.step

        def watched(lr):
            from deepspeed.utils import safe_get_full_grad

            whole = (lambda p: p.grad) if self.made.config.zero_stage == 0 else safe_get_full_grad
            self.gradients = {name: whole(p).float().numpy(force=True).copy()
                              for name, p in self.made.policy.named_parameters() if p.requires_grad}
            return step(lr)

        self.made.engine.step = watched

    def call(self, method, *arguments, **named):
        return getattr(self.made, method)(*arguments, **named)

    def state(self):
        return {name: value.float().numpy() for name, value in self.made._state().items()}

    def last_gradients(self):
        return self.gradients


@dataclass
class World:
    hosts: list[Any]
    model: str

    def make(self, store=None, seed=0, zero={}, **config):
        setup = dict(config=LearnerConfig(**{"micro_batch_tokens": 600} | config), model=self.model, prompt=PromptConfig(),
                     store=store, seed=seed)
        self.all("make", setup, zero)

    def make_unchecked(self, zero={}, **config):
        """As `make`, of a configuration that no recipe may have."""
        whole = LearnerConfig(micro_batch_tokens=600).model_copy(update=config)
        self.all("make", dict(config=whole, model=self.model, prompt=PromptConfig(), store=None, seed=0), zero)

    def all(self, method, *arguments):
        """What each host answers."""
        return wait_for([getattr(host, method).remote(*arguments) for host in self.hosts], 120, "the ranks")

    def call(self, method, *arguments, **named):
        """What rank 0 answers; all do it."""
        return self.every(method, *arguments, **named)[0]

    def every(self, method, *arguments, **named):
        return wait_for([host.call.remote(method, *arguments, **named) for host in self.hosts], 120, "the ranks")

    def first(self, method):
        return self.all(method)[0]

    def end(self):
        for host in self.hosts:
            ray.kill(host)


def start_world(ranks, model):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    alike = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    hosts = [ray.remote(RankHost).options(num_cpus=0.25, runtime_env={"env_vars": alike | {"RANK": str(r), "LOCAL_RANK": str(r)}}
                                          ).remote(r, ranks) for r in range(ranks)]
    return World(hosts, str(model))
