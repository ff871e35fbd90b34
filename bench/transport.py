"""Weight transport through Ray's object store against a plain memcpy of the same bytes, in turn, in one run.

The learner's side is an actor with 1 GiB of float32 tensors, which sends them in buckets as a rank does (`in_parts`,
`publish`) to a real `WeightStore`. The reader's side is another actor with tensors of the same shapes. It fetches the
version once it is published, maps its buckets and copies every tensor into its own. The time counts everything from
the order to publish to the reader's last byte, calls included. So every byte is copied twice, one copy after the
other, since no version is visible before it is complete. The memcpy copies the learner's tensors once into others of
that process, on one thread.

`ratio` is memcpy's time over the transport's if the arena is warm: its pages, and both sides' view of them, have been
used before. `ratio_cold` is that of the first version, for which every page of the store is made. `ratio_file` is of
the path that a rollout worker takes: it copies each bucket into a file in memory, which the engine's process maps and
copies. `verified_s` is the time from the order to publish the tiny Qwen2.5-VL until a real rollout worker has its
weights and has proved them by the probe. The learner's log-probabilities for the probe are computed beforehand.

    python -m bench.transport --json
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

import numpy as np
import ray
import torch
from safetensors.torch import load_file

from actors.model.config import WEIGHTS_AT_ONCE
from actors.model.encode import Encoder, PromptConfig
from actors.model.gather import in_parts
from actors.model.policy import Policy
from actors.model.tiny_model import TinyModelConfig, make_tiny_model
from actors.rollout.config import RolloutConfig
from actors.rollout.worker import RolloutWorker
from actors.runtime.environment import ENVIRONMENT, quiet_libraries
from actors.runtime.remote import wait_for
from actors.trajectory import Sample
from actors.weights.buckets import bring_to_store, files_of
from actors.weights.store import WeightStore
from actors.weights.version import Version
from curriculum.phantoms.phantom_set import PhantomConfig, draw_phantom_set

THREADS = 2
WARMING = 4  # versions until every page of the arena has been used
LIMIT_S = 120.0


def tensors(mib: int, value: float) -> dict[str, torch.Tensor]:
    """Layers, each with a matrix of 32 MiB, two of 16 MiB and two small vectors."""
    shapes = {"a": (2048, 4096), "b": (1024, 4096), "c": (1024, 4096), "d": (4096,), "e": (1024,)}
    return {f"layers.{n}.{name}": torch.full(shape, value) for n in range(mib // 64) for name, shape in shapes.items()}


class Learner:
    """Holds the weights, and publishes them as rank 0 does."""

    def __init__(self, store: Any, state: Any) -> None:
        torch.set_num_threads(THREADS)
        self.store, self.state, self.others = store, state, {}

    def fill(self, mib: int) -> int:
        """Makes the weights; returns their size in bytes."""
        self.state, self.others = tensors(mib, 0.0), tensors(mib, 0.0)
        return sum(value.nbytes for value in self.state.values())

    def step(self, value: float) -> None:
        for tensor in self.state.values():
            tensor.fill_(value)

    def memcpy(self) -> float:
        """Copies the weights once; returns the seconds."""
        start = time.perf_counter()
        for name, tensor in self.state.items():
            np.copyto(self.others[name].numpy(), tensor.numpy())
        return time.perf_counter() - start

    def publish(self, version: Version, probe: Any) -> None:
        bring_to_store(self.store, version, in_parts(self.state, WEIGHTS_AT_ONCE, str), probe, "the learner", LIMIT_S)


class Reader:
    """Holds a model's tensors, and copies versions into them."""

    def __init__(self, store: Any, mib: int) -> None:
        torch.set_num_threads(THREADS)
        self.store, self.own = store, tensors(mib, -1.0)

    def take(self, version: Version) -> None:
        references, _ = wait_for(self.store.fetch.remote(version), LIMIT_S, "the store")
        for header, *parts in ray.get(references, timeout=LIMIT_S):
            for (name, layout), part in zip(json.loads(header[8:].tobytes()).items(), parts, strict=True):
                self.own[name].copy_(torch.from_numpy(part).view(torch.float32).view(layout["shape"]))

    def take_by_file(self, version: Version) -> None:
        references, _ = wait_for(self.store.fetch.remote(version), LIMIT_S, "the store")
        for path in files_of(ray.get(references, timeout=LIMIT_S)):
            for name, tensor in load_file(path).items():
                self.own[name].copy_(tensor)

    def check(self, value: float) -> None:
        assert all((tensor == value).all() for tensor in self.own.values()), (
            "the weights differ from the published ones"
        )


def against_memcpy(mib: int, passes: int) -> dict[str, Any]:
    store = ray.remote(WeightStore).options(num_cpus=0, max_concurrency=100).remote()
    learner = ray.remote(Learner).options(num_cpus=0, max_concurrency=2).remote(store, {})
    reader = ray.remote(Reader).options(num_cpus=0).remote(store, mib)
    size = ray.get(learner.fill.remote(mib), timeout=LIMIT_S)
    ray.get(reader.check.remote(-1.0), timeout=LIMIT_S)
    copies: list[float] = []
    times: dict[str, list[float]] = {"take": [], "take_by_file": []}
    publishing: list[float] = []
    for _ in range(WARMING + passes):
        for method, seconds in times.items():
            version = Version(0, len(copies) + 1)
            ray.get(learner.step.remote(version.number), timeout=LIMIT_S)
            copies.append(ray.get(learner.memcpy.remote(), timeout=LIMIT_S))
            start = time.perf_counter()
            wait_for(learner.publish.remote(version, []), LIMIT_S, "the learner")
            published = time.perf_counter()
            wait_for(getattr(reader, method).remote(version), LIMIT_S, "the reader")
            seconds.append(time.perf_counter() - start)
            publishing.append(published - start)
            ray.get(reader.check.remote(version.number), timeout=LIMIT_S)
    for actor in (learner, reader, store):
        ray.kill(actor)
    memcpy = statistics.median(copies[2 * WARMING :])
    ratios = {method: sorted(memcpy / s for s in seconds[WARMING:]) for method, seconds in times.items()}
    return {
        "bytes": size,
        "memcpy_gb_per_s": round(size / memcpy / 1e9, 2),
        "publish_s": round(statistics.median(publishing[2 * WARMING :]), 3),
        "ratio": round(statistics.median(ratios["take"]), 2),
        "ratio_min": round(ratios["take"][0], 2),
        "ratio_max": round(ratios["take"][-1], 2),
        "ratio_cold": round(memcpy / times["take"][0], 3),
        "ratio_file": round(statistics.median(ratios["take_by_file"]), 2),
    }


def until_verified(scratch: Path, passes: int) -> dict[str, float]:
    tasks = [t for t in draw_phantom_set(PhantomConfig(train=8, val=4, test=4), scratch) if t.family != "report"]
    folder = make_tiny_model(
        TinyModelConfig(vision_steps=0), [f"{t.question} {t.reference}" for t in tasks], scratch / "model"
    )
    policy = Policy(folder, Encoder(folder, PromptConfig()), torch.float32)
    store = ray.remote(WeightStore).options(num_cpus=0, max_concurrency=100).remote()
    state = {name: value.clone() for name, value in policy.published(policy.state()).items()}
    learner = ray.remote(Learner).options(num_cpus=0, max_concurrency=2).remote(store, state)
    worker = (
        ray.remote(RolloutWorker)
        .options(num_cpus=1, max_concurrency=8)
        .remote(0, RolloutConfig(threads=THREADS), str(folder), PromptConfig(), store, 1)
    )
    wait_for(worker.ready.remote(), 300, "the rollout worker")
    probe, times = [], []
    for task in tasks[:2]:
        sample = Sample(policy.encoder.expand(task), task.images, policy.encoder.response_ids(task.reference))
        with torch.no_grad():
            probe.append(
                (task, sample, policy(policy.collate([sample], [0], torch.device("cpu")), 1.0, True)[0].numpy())
            )
    for number in range(1 + passes):
        start = time.perf_counter()
        wait_for(learner.publish.remote(Version(0, number), probe), LIMIT_S, "the learner")
        wait_for(worker.update.remote(Version(0, number)), LIMIT_S, "the rollout worker")
        times.append(time.perf_counter() - start)
    return {
        "verified_s": round(statistics.median(times[1:]), 3),
        "verified_bytes": sum(value.nbytes for value in state.values()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print only the last line, one JSON object")
    parser.add_argument("--mib", type=int, default=1024, help="size of the weights; a multiple of 64")
    parser.add_argument("--passes", type=int, default=5, help="timed versions of each path, once the arena is warm")
    args = parser.parse_args()
    quiet_libraries()
    ray.init(
        address="local",
        num_cpus=4,
        object_store_memory=4 * args.mib * 2**20,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": dict(ENVIRONMENT)},
    )
    result = against_memcpy(args.mib, args.passes)
    if not args.json:
        print(json.dumps(result, indent=1), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        result |= until_verified(Path(scratch), args.passes)
    ray.shutdown()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
