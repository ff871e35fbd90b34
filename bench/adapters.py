"""Adapters alone against adapters merged into whole weights, in turn in one run: bytes and seconds a version, tokens/s.

Two real rollout workers of one thread have the quickstart's tiny Qwen2.5-VL with random weights, and the adapters of
recipes/lora.yaml (rank 32, all parts). In every pass each worker gets the same new adapters, in its own way, through a
real weight store, and then writes the same responses. `publish_s` is the time until the store has the version,
`update_s` from there until the worker has proved by the probe that it holds it; computing the probe is left out. Ratios
are merged over alone; medians, with the smallest and largest pass.

    python -m bench.adapters --json
    python -m bench.adapters --hidden 1024 --layers 8
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ["RAY_worker_niceness"] = "0"  # else other work on the machine takes the cores

import ray
import torch

from actors.model.config import Lora
from actors.model.encode import Encoder, PromptConfig
from actors.model.lora import adapt, is_adapter
from actors.model.policy import Policy
from actors.model.tiny_model import TinyModelConfig, make_tiny_model
from actors.rollout.config import RolloutConfig
from actors.rollout.worker import RolloutWorker
from actors.runtime.environment import ENVIRONMENT, quiet_libraries
from actors.runtime.remote import wait_for
from actors.trajectory import Request, Sample
from actors.weights.buckets import bring_to_store
from actors.weights.store import WeightStore
from actors.weights.transports import TRANSPORTS
from actors.weights.version import Probe, Version
from curriculum.phantoms.phantom_set import PhantomConfig, draw_phantom_set
from curriculum.task import Task

LORA = Lora(rank=32, alpha=64, targets=("vision", "projector", "language"))
CONFIG = RolloutConfig(cpus=1, max_response_tokens=96, max_model_tokens=256)
WAYS = ("merged", "alone")
LIMIT_S = 300.0


class Learner:
    """Makes versions of adapters as rank 0 does."""

    def __init__(self, store: Any, folder: Path, tasks: list[Task]) -> None:
        torch.set_num_threads(1)
        self.store, self.tasks, self.bytes = store, tasks, 0
        self.policy = Policy(folder, Encoder(folder, PromptConfig()), torch.float32)
        adapt(self.policy.model, LORA)

    @torch.no_grad()
    def change(self, seed: int) -> None:
        drawn = torch.Generator().manual_seed(seed)
        for name, parameter in self.policy.model.named_parameters():
            if is_adapter(name):
                parameter.copy_(0.02 * torch.randn(parameter.shape, generator=drawn))

    @torch.no_grad()
    def publish(self, version: Version, alone: bool) -> tuple[float, int]:
        """Seconds and bytes."""
        probe: Probe = []
        for task in self.tasks[:2]:
            encoder = self.policy.encoder
            sample = Sample(encoder.expand(task), task.images, encoder.response_ids(task.reference or ""))
            batch = self.policy.collate([sample], [0], torch.device("cpu"))
            probe.append((task, sample, self.policy(batch, 1.0, True)[0].numpy()))
        size = sum(v.nbytes for part in self.policy.parts(adapters_alone=alone) for v in part.values())
        start = time.perf_counter()
        parts = map(self.policy.published, self.policy.parts(adapters_alone=alone))
        bring_to_store(self.store, version, parts, probe, "the learner", LIMIT_S)
        return time.perf_counter() - start, size


def measure(scratch: Path, model: TinyModelConfig, passes: int, groups: int) -> dict[str, list[dict[str, float]]]:
    """A row for each way and pass; the first pass warms up and is left out."""
    tasks = [t for t in draw_phantom_set(PhantomConfig(train=16, val=4, test=4), scratch) if t.family != "report"]
    folder = make_tiny_model(model, [f"{t.question} {t.reference}" for t in tasks], scratch / "model")
    store = ray.remote(WeightStore).options(num_cpus=0, max_concurrency=100).remote()
    learner = ray.remote(Learner).options(num_cpus=0, max_concurrency=2).remote(store, folder, tasks)
    workers = {}
    for way in WAYS:
        lora = LORA if way == "alone" else None
        workers[way] = (
            ray.remote(RolloutWorker)
            .options(num_cpus=1, max_concurrency=8)
            .remote(0, CONFIG, str(folder), PromptConfig(), store, 1, TRANSPORTS["store"], lora)
        )
        wait_for(workers[way].ready.remote(), LIMIT_S, "the rollout worker")
    rows: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    number = 0
    for turn in range(1 + passes):
        wait_for(learner.change.remote(turn), LIMIT_S, "the learner")
        for way in WAYS:
            number += 1
            version = Version(0, number)
            publish_s, size = wait_for(learner.publish.remote(version, way == "alone"), LIMIT_S, "the learner")
            start = time.perf_counter()
            wait_for(workers[way].update.remote(version), LIMIT_S, "the rollout worker")
            update_s = time.perf_counter() - start
            requests = [Request(f"g{i}", task, 4, 100 * i) for i, task in enumerate(tasks[:groups])]
            start = time.perf_counter()
            answers = [wait_for(r, LIMIT_S, "the worker") for r in workers[way].generate.remote(requests, 1.0, version)]
            tokens = sum(len(t.ids) for _, group in answers for t in group.trajectories)
            tokens_per_s = tokens / (time.perf_counter() - start)
            rows[way].append(
                {"bytes": size, "publish_s": publish_s, "update_s": update_s, "tokens_per_s": tokens_per_s}
            )
    return {way: found[1:] for way, found in rows.items()}


def summary(rows: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for way, found in rows.items():
        result[way] = {name: round(statistics.median(row[name] for row in found), 4) for name in found[0]}
    for name in rows["alone"][0]:
        ratios = sorted(m[name] / a[name] for m, a in zip(rows["merged"], rows["alone"], strict=True))
        result[f"{name}_ratio"] = [round(value, 3) for value in (statistics.median(ratios), ratios[0], ratios[-1])]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print only the last line, one JSON object")
    parser.add_argument("--hidden", type=int, default=TinyModelConfig().hidden)
    parser.add_argument("--layers", type=int, default=TinyModelConfig().layers)
    parser.add_argument("--passes", type=int, default=5, help="after one that warms up")
    parser.add_argument("--groups", type=int, default=32, help="of four responses, that each worker writes in a pass")
    args = parser.parse_args()
    quiet_libraries()
    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": dict(ENVIRONMENT)},
    )
    model = TinyModelConfig(hidden=args.hidden, layers=args.layers, vision_steps=0)
    with tempfile.TemporaryDirectory() as scratch:
        rows = measure(Path(scratch), model, args.passes, args.groups)
    ray.shutdown()
    if not args.json:
        print(json.dumps(rows, indent=1), flush=True)
    print(json.dumps(summary(rows)))


if __name__ == "__main__":
    main()
