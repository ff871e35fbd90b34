"""Workers that wait instead of working, for benches of the coordinator: nothing is generated, scored or learnt.

What is real: the run loop, curriculum, sampler, ledger on disk, pools, health, advantages, and all objects that are
sent.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import ray

from actors.learner.grpo_update import GrpoUpdate
from actors.learner.orders import Order, UpdateResult
from actors.reward import Response
from actors.runtime.restart_policy import Restarts
from actors.trajectory import Group, Request, Trajectory
from actors.weights.transports.base import Sent
from actors.weights.version import Version
from cluster.config.recipe import Recipe
from cluster.control.run_actor import Control
from cluster.pools.pool_config import WorkPoolConfig
from cluster.pools.reward_pool import RewardPool
from cluster.pools.rollout_pool import SHARES, RolloutPool
from cluster.pools.work_pool import WorkPool
from cluster.pools.worker_health import Limits
from cluster.record.run_writer import RunWriter
from cluster.run.loop import Run
from cluster.run.prepare import Prepared
from cluster.run.workers import Workers
from curriculum.phantoms.phantom_set import PhantomConfig, draw_phantom_set
from curriculum.sets.task_table import TaskTable
from curriculum.task import Split
from rewards.verdict import StepVerdict, Verdict

TOKENS = 1024  # in a response
STEPS = 5
VARIANTS = 64  # different responses
TEXT = "".join(f"<think>{'The lung is clear. ' * 20}</think><answer>{letter}) ❌</answer>" for letter in "ABCD") + (
    "<think>So.</think><answer>A</answer>"
)


class Host:
    """One process that simulates many workers. An engine writes all its groups at the same time.

    Args:
        seconds: mean of the log-normal distribution of a group's duration.
        spread: its sigma; with 0 a group takes exactly `seconds`.
    """

    def __init__(self, seconds: float, spread: float) -> None:
        self.seconds, self.spread = seconds, spread
        rng = np.random.default_rng(0)
        # Made once: real engines would not make them on the coordinator's cores.
        self.ids = rng.integers(0, 150_000, (VARIANTS, TOKENS)).astype(np.int32)
        self.logprobs = -rng.random((VARIANTS, TOKENS)).astype(np.float32)
        self.char_ends = np.linspace(1, len(TEXT), TOKENS).astype(np.int32)

    async def ready(self) -> str:
        return ray.get_runtime_context().get_node_id()

    async def ping(self) -> None:
        pass

    async def update(self, version: Version) -> float:
        return 0.0

    async def generate(
        self, rank: int, requests: Sequence[Request], temperature: float, version: Version
    ) -> list[Group]:
        draws = (np.random.default_rng(request.seed).normal(-(self.spread**2) / 2, self.spread) for request in requests)
        await asyncio.sleep(self.seconds * float(np.exp(max(draws, default=0.0))))
        versions = np.full(TOKENS, version.number, np.int32)
        return [
            Group(
                r.group_id,
                r.task,
                self.ids[0, :256],
                tuple(
                    Trajectory(
                        TEXT,
                        self.ids[(r.seed + i) % VARIANTS],
                        self.logprobs[(r.seed + i) % VARIANTS],
                        versions,
                        self.char_ends,
                        "stop",
                        r.seed + i,
                    )
                    for i in range(r.count)
                ),
            )
            for r in requests
        ]

    async def score(self, rank: int, responses: Sequence[Response], evaluation: bool, workers: int) -> list[Verdict]:
        edges = np.linspace(0, len(TEXT), STEPS + 1).astype(int).tolist()
        return [self._verdict(edges, hash((r.task.id, r.index)) % 8) for r in responses]

    @staticmethod
    def _verdict(edges: list[int], luck: int) -> Verdict:
        steps = tuple(
            StepVerdict(
                a, b, "ABCDE"[i], "right" if luck >> (i % 3) & 1 else "wrong", float(luck >> (i % 3) & 1), "simulated"
            )
            for i, (a, b) in enumerate(pairwise(edges))
        )
        outcome = float(luck > 3)
        return Verdict(0.1 + outcome, 0.1 + outcome, 1.0, outcome, 0.5, 0.5, ("A",), steps, (), ("simulated",))


class _Method:
    def __init__(self, method: Any, rank: int | None = None) -> None:
        self.method, self.rank = method, rank

    def remote(self, *arguments: Any) -> Any:
        return self.method.remote(*arguments) if self.rank is None else self.method.remote(self.rank, *arguments)


class Handle:
    """One of the workers that a host simulates, with the methods of a rollout or reward worker's handle."""

    def __init__(self, host: Any, rank: int) -> None:
        self.ready, self.ping, self.update = _Method(host.ready), _Method(host.ping), _Method(host.update)
        self.generate, self.score = _Method(host.generate, rank), _Method(host.score, rank)


class SimulatedRollouts(RolloutPool):
    def __init__(self, config: Any, start: Callable[[int, str], Any], kill: Callable[[Any], None] = ray.kill) -> None:
        self.config, self.tokens = config, 0
        settings = WorkPoolConfig(
            "simulated", "rollout", config.workers, Limits(), min_share_s=60, tries=3, beat_s=5.0, shares_each=SHARES
        )

        def update(worker: Any, version: Version) -> Any:
            return worker.update.remote(version)

        self.pool = WorkPool(settings, start, Restarts(20, 600, 1), update, kill=kill)


class SimulatedRewards(RewardPool):
    def __init__(self, config: Any, hosts: Sequence[Any], meanwhile: Callable[[], None]) -> None:
        self.config, self.meanwhile = config, meanwhile
        self.waits, self.rule_workers = False, {}
        self.waiting, self.sent = {False: [], True: []}, {}

        def start(rank: int, name: str) -> Handle:
            return Handle(hosts[rank % len(hosts)], rank)

        settings = WorkPoolConfig("simulated", "reward", config.workers, Limits(), min_share_s=5)
        self.pool = WorkPool(settings, start, Restarts(20, 600, 1), kill=lambda worker: None)


class SimulatedLearner:
    """Takes `seconds` for a step, and puts each order into the object store."""

    def __init__(self, seconds: float, meanwhile: Callable[[], None]) -> None:
        self.seconds, self.meanwhile, self.ranks = seconds, meanwhile, 1

    def update(self, order: GrpoUpdate, next_films: Sequence[str] = ()) -> UpdateResult:
        until = time.monotonic() + self.seconds
        ray.put(order)
        while (seconds_left := until - time.monotonic()) > 0:
            self.meanwhile()
            time.sleep(min(0.02, seconds_left))
        tokens = sum(len(t.ids) for g in order.groups for t in g.group.trajectories)
        numbers = {
            "loss": 0.0,
            "kl": 0.0,
            "entropy": 1.0,
            "grad_norm": 1.0,
            "logp_diff_max": 0.0,
            "ratio_diff_max": 0.0,
            "tokens": tokens,
            "lr": order.lr,
            "skipped": 0.0,
        }
        return UpdateResult(numbers, [])

    def call(self, order: Order[Any]) -> None:
        pass

    def publish(self, version: Version, probe: Any, receivers: Any) -> Sent:
        return Sent(0, [])

    def finish(self, wait: bool = True) -> None:
        pass

    def grow(self) -> None:
        pass

    def save(self, storage: Any) -> dict[str, str]:
        return {}


class SimulatedWorkers(Workers):
    """As `Workers`: the recipe's rollout and reward workers, simulated by `hosts` processes.

    Args:
        recipe: sets the numbers of workers.
        hosts: number of processes.
        group_s, spread: mean and sigma of the duration of a group at a rollout worker.
        learn_s: seconds of a step at the learner.
        start: starts the rollout workers; None if the hosts simulate them.
    """

    def __init__(
        self,
        recipe: Recipe,
        hosts: int,
        group_s: float,
        spread: float,
        learn_s: float,
        start: Callable[[int, str], Any] | None = None,
    ) -> None:
        host = ray.remote(Host).options(num_cpus=0, max_concurrency=10_000)
        self.hosts = [host.remote(group_s, spread) for _ in range(hosts)]
        self.rollouts = (
            SimulatedRollouts(recipe.rollout, start)
            if start
            else SimulatedRollouts(
                recipe.rollout, lambda rank, name: Handle(self.hosts[rank % hosts], rank), lambda worker: None
            )
        )
        self.rewards = SimulatedRewards(recipe.reward, self.hosts, lambda: self.rollouts.pool.pump(0))
        self.learner = SimulatedLearner(learn_s, self.pump)

    def __enter__(self) -> SimulatedWorkers:
        self.rollouts.ready()
        return self

    def stop(self) -> None:
        self.rollouts.stop()
        for host in self.hosts:
            ray.kill(host)


def simulated_recipe(workers: int, groups_per_step: int, steps: int, staleness: int, group_size: int = 8) -> Recipe:
    """A recipe with one closed stage of `steps` steps."""
    return Recipe.model_validate(
        {
            "name": "simulated",
            "data": {"phantoms": {"train": 200, "val": 4, "test": 4}},
            "model": {"tiny": {}},
            "stages": [
                {
                    "name": "closed",
                    "kind": "grpo",
                    "tasks": {"single_choice": 1},
                    "gate": {"measure": "closed_accuracy", "every": steps, "max_steps": steps},
                    "training": {
                        "tasks_per_step": groups_per_step,
                        "group_size": group_size,
                        "max_staleness": staleness,
                        "correction": "token",
                    },
                }
            ],
            "rollout": {"workers": workers},
            "reward": {"workers": 4},
            "guards": [],
            "checkpoint": {"every_minutes": 1000},
            "evaluation": {"val_per_family": 2, "test_per_family": 2},
        }
    )


class Quiet:
    """A display that shows nothing and keeps the time at which each step ended."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, dict[str, Any]]] = []

    def say(self, text: str) -> None:
        pass

    def step(self, row: dict[str, Any]) -> None:
        self.steps.append((time.monotonic(), row))

    def evaluation(self, *_: Any) -> None:
        pass

    def close(self) -> None:
        pass


def train_simulated(out: Path, recipe: Recipe, display: Quiet, **workers: Any) -> float:
    """Trains a whole run in the new folder `out`; `workers` are the arguments of `SimulatedWorkers`.

    Returns:
        When training began, after the workers were up, by `time.monotonic`.
    """
    folder = RunWriter(out)
    folder.write_recipe(recipe)
    tasks = TaskTable.of(draw_phantom_set(PhantomConfig(train=200, val=4, test=4), out / "data"))
    prepared = Prepared({split: tasks.of_split(split) for split in get_args(Split)}, out, Counter())
    with Control(out) as control, SimulatedWorkers(recipe, **workers) as started_workers:
        run = Run(recipe, prepared, folder, started_workers, display, control)
        start = time.monotonic()
        run.train()
        run.close()
    return start
