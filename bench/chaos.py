"""A run whose workers are killed again and again, on a Ray cluster of several nodes on this machine.

    python -m bench.chaos OUT [--seed 0] [--json]

Real engines, real DeepSpeed: two rollout workers, two reward workers and two learner ranks on three nodes. The recipe
is as small as `recipes/smoke.yaml`, with more steps. At seeded moments rollout workers (7 times), reward workers (5),
learner ranks (5) and whole nodes (3) are killed with SIGKILL, half of them while weights are updated or a checkpoint
is committed. A new node joins for each one that was killed. The same recipe runs once without faults, for the score.
About 40 minutes on two cores.

The run without faults is reused if OUT already has it. OUT keeps both run folders and events.jsonl: the time of every
fault and of every step. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import ray
from ray.cluster_utils import Cluster

from actors.runtime.environment import ENVIRONMENT, quiet_libraries
from cluster.config.recipe import Recipe
from cluster.config.recipe_file import load_recipe
from cluster.record.console import LineDisplay, LoggedDisplay
from cluster.record.ledger import committed_events
from cluster.run.launch import open_run
from cluster.run.loop import Run

SETTINGS = [
    "data.phantoms.train=600",
    "stages.sft.gate.max_steps=150",
    "stages.sft.gate.every=75",
    "stages.sft.training.tasks_per_step=32",
    "stages.closed.gate.max_steps=80",
    "stages.closed.gate.every=20",
    "stages.closed.gate.plateau=null",
    "stages.closed.gate.threshold=null",
    "stages.open.gate.plateau=null",
    "stages.open.gate.threshold=null",
    "stages.open.gate.max_steps=40",
    "stages.open.gate.every=20",
    "stages.open.training.updates_per_step=1",
    "rollout.workers=2",
    "reward.workers=2",
    "learner.workers=2",
    "learner.zero_stage=2",
    "learner.silent_s=60",
    "rollout.silent_s=45",
    "learner.threads=1",
    "checkpoint.every_minutes=0.5",
    "checkpoint.keep=3",
]
KILLED = {"rollout": 7, "reward": 5, "learner": 5, "node": 3}
TITLES = {
    "rollout": r"^ray::(rollout-\d|RolloutWorker)",
    "reward": r"^ray::RewardWorker",
    "learner": r"^ray::(learner-\d|RayTrainWorker)",
}
NODE = dict(num_cpus=3, object_store_memory=300 * 2**20)
BUSY = ("publish", "commit")  # phases in which half of the faults strike


class Events:
    """OUT/events.jsonl: what happened, and when."""

    def __init__(self, path: Path) -> None:
        self.file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - open as long as the run
        self.start = time.monotonic()

    def add(self, **event: Any) -> None:
        self.file.write(json.dumps({"at_s": round(time.monotonic() - self.start, 2), **event}) + "\n")
        self.file.flush()


class Killer:
    """Kills by a seeded plan: one fault at a time, the next once the run has trained a step since the last one."""

    def __init__(self, run: Run, cluster: Cluster, seed: int, events: Events) -> None:
        self.run, self.cluster, self.events, self.rng = run, cluster, events, random.Random(seed)
        kinds = [kind for kind, count in KILLED.items() for _ in range(count)]
        self.rng.shuffle(kinds)
        self.plan = [(kind, number % 2 == 0) for number, kind in enumerate(kinds)]
        self.done: Counter[str] = Counter()
        self.in_busy = self.joining = 0
        self.ended = threading.Event()

    def work(self) -> None:
        for kind, busy in self.plan:
            trained = self.run.ledger.counts["trained"]
            while self.run.ledger.counts["trained"] <= trained or (
                not self.run.curriculum.finished and (self.run.curriculum.stage.kind == "sft")
            ):
                if self.ended.wait(0.1):
                    return
            self.ended.wait(self.rng.uniform(0, 4))
            while busy and self.run.phase not in BUSY:
                if self.ended.wait(0.01):
                    return
            self.ended.wait(self.rng.uniform(0, 0.3))
            while not self.strike(kind):
                if self.ended.wait(0.5):
                    return

    def strike(self, kind: str) -> bool:
        phase, step = self.run.context.phases.current, self.run.position.step
        if kind == "node":
            nodes = sorted(self.cluster.worker_nodes, key=lambda node: node.node_id)  # without the head: the driver's
            node = self.rng.choice(nodes)
            self.cluster.remove_node(node, allow_graceful=False)
            self.events.add(event="fault", kind=kind, phase=phase, step=step)
            self.joining += 1  # only the main thread may start a node
        else:
            pattern = re.compile(TITLES[kind])
            own_processes = psutil.Process().children(recursive=True)  # not those of other runs
            victims = [process for process in own_processes if pattern.match(title(process))]
            if not victims:
                return False
            self.rng.choice(victims).kill()
            self.events.add(event="fault", kind=kind, phase=phase, step=step)
        self.done[kind] += 1
        self.in_busy += phase in BUSY
        return True


def title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # the process has ended
        return ""


def train(
    recipe: Recipe, path: Path, cluster: Cluster, seed: int | None, events: Events
) -> tuple[dict[str, Any], Killer | None]:
    """Trains; with a seed, under faults. Returns the summary, and the killer if there is one."""
    with open_run(recipe, path, LoggedDisplay(LineDisplay(), path.name)) as run:
        handle, killer = run.requests.handle, None

        def watch() -> None:  # after every step
            events.add(
                event="step",
                run=path.name,
                step=run.position.step,
                ledger=run.ledger.totals(),
                lineage=run.position.lineage,
            )
            handle()
            while killer and killer.joining:
                cluster.add_node(**NODE)
                killer.joining -= 1
                events.add(event="joined", step=run.position.step)

        run.requests.handle = watch
        if seed is not None:
            killer = Killer(run, cluster, seed, events)
            thread = threading.Thread(target=killer.work, daemon=True)
            thread.start()
        try:
            summary = run.train()
        finally:
            if killer:
                killer.ended.set()
                thread.join()
            run.close()
    return summary, killer


def result(out: Path, killer: Killer, faulted: dict[str, Any], plain: dict[str, Any]) -> dict[str, Any]:
    events = committed_events(out / "faults" / "ledger.jsonl")
    trained = Counter(event["group"] for event in events if event["event"] == "trained")
    lines = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    ledgers = [line["ledger"] for line in lines if line["event"] == "step"]
    balanced = all(
        ledger["issued"] == ledger["trained"] + ledger["dropped"] + ledger["in_flight"] for ledger in ledgers
    )
    ends = [{stage["name"]: stage["evaluation"]["end"] for stage in summary["stages"]} for summary in (faulted, plain)]
    scores = {}
    for measure in ("closed_accuracy", "open_micro_f1"):
        with_faults, without = (end["open"] for end in ends)
        (low, high), (low_0, high_0) = with_faults["intervals"][measure], without["intervals"][measure]
        scores[measure] = {
            "faults": with_faults[measure],
            "none": without[measure],
            "overlap": low <= high_0 and low_0 <= high,
        }
    faults = sum(killer.done.values())
    recovery = {}
    for kind in KILLED:
        seconds = [
            until_next_step(lines, number)
            for number, line in enumerate(lines)
            if line["event"] == "fault" and line["kind"] == kind
        ]
        recovery[kind] = round(float(np.median(seconds)), 1)
    return {
        "faults": faults,
        **{f"{kind}_killed": n for kind, n in killer.done.items()},
        "in_update_or_commit": killer.in_busy,
        "steps_planned": plain["steps"],
        "steps_done": faulted["steps"],
        "ledger_balanced": balanced,
        "trained_twice": sum(count > 1 for count in trained.values()),
        "groups_trained": len(trained),
        "groups_dropped": sum(event["event"] == "dropped" for event in events),
        "scores": scores,
        "seconds": round(faulted["seconds"]["all"]),
        "seconds_without_faults": round(plain["seconds"]["all"]),
        "seconds_lost_per_fault": round((faulted["seconds"]["all"] - plain["seconds"]["all"]) / max(1, faults), 1),
        "median_seconds_to_the_next_step": recovery,
    }


def until_next_step(lines: list[dict[str, Any]], number: int) -> float:
    """Seconds from a fault to the end of the first step after the one in which it struck."""
    fault = lines[number]
    ends = (line["at_s"] for line in lines[number:] if line["event"] == "step" and line["step"] > fault["step"])
    return next(ends, math.inf) - fault["at_s"]


def finished(run: Path) -> dict[str, Any] | None:
    """The summary of a run that an earlier call finished; None if there is none."""
    path = run / "summary.json"
    summary = json.loads(path.read_text()) if path.is_file() else {"status": ""}
    return summary if summary["status"] == "finished" else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="no effect: the last line is JSON in any case")
    args = parser.parse_args()
    quiet_libraries()
    out = args.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    events = Events(out / "events.jsonl")
    cluster = Cluster(
        initialize_head=True, head_node_args=dict(num_cpus=1, object_store_memory=300 * 2**20, include_dashboard=False)
    )
    for _ in range(3):
        cluster.add_node(**NODE)
    ray.init(
        address=cluster.address, log_to_driver=False, logging_level="ERROR", runtime_env={"env_vars": dict(ENVIRONMENT)}
    )
    recipe = load_recipe(Path("recipes/smoke.yaml"), SETTINGS)
    try:
        plain = finished(out / "plain") or train(recipe, out / "plain", cluster, None, events)[0]
        faulted, killer = train(recipe, out / "faults", cluster, args.seed, events)
    finally:
        ray.shutdown()
        cluster.shutdown()
    print(json.dumps(result(out, killer, faulted, plain)))


if __name__ == "__main__":
    main()
