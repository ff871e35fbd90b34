"""Whether throughput follows the number of rollout workers (1 → 4 → 2) during a run. The engines are simulated.

    python -m bench.elastic OUT [--window 20] [--json]

Two runs on a Ray cluster of real nodes on one machine; each node has room for one engine. In the first run there are
four nodes, and `curlvpr scale` asks for 1, 4 and 2 workers. In the second, four workers are requested, and nodes join
and leave: 1, 4, 2. An engine writes one group in half a second and never two at once, so n workers write 2n groups a
second. `bench/simulated.py` lists which other parts are real. About four minutes.

OUT keeps both run folders, and events.jsonl: every request to an engine with its time, and every window. The last
line is one JSON object: `rates` are groups a second, as a share of what the workers could write;
`late_joiners_proved_first` is whether the pool brought every engine to a version before its first group. (A simulated
engine has no weights to prove; `tests/actors/rollout/test_worker.py` checks that a real one answers only with proven
weights.)
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from actors.runtime.environment import ENVIRONMENT, quiet_libraries
from actors.trajectory import Group, Request
from actors.weights.version import Version
from cluster.control.run_actor import read_status
from cluster.record.ledger import committed_events

from .simulated import Host, Quiet, simulated_recipe, train_simulated

GROUP_S, GROUPS, AHEAD = 0.5, 8, 3
SETTLE_S = 4.0  # from a change to the start of a window: earlier shares end within it
NODE = dict(num_cpus=2, resources={"engine": 1}, object_store_memory=200 * 2**20)


class Journal:
    """Keeps the events of the engines, with their times: an actor that outlives them."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def add(self, **event: Any) -> None:
        self.events.append({"at_s": time.time(), **event})

    def read(self) -> list[dict[str, Any]]:
        return self.events


class Engine(Host):
    """One rollout worker, which writes one group after the other."""

    def __init__(self, name: str, journal: Any) -> None:
        super().__init__(GROUP_S, 0.0)
        self.name, self.journal, self.version, self.lock = name, journal, None, asyncio.Lock()

    async def update(self, version: Version) -> float:
        self.version = version
        self.journal.add.remote(event="update", engine=self.name, version=str(version))
        return 0.0

    async def generate(self, requests: Sequence[Request], temperature: float, version: Version) -> list[Group]:
        groups = []
        for request in requests:
            async with self.lock:
                groups += await super().generate(0, [request], temperature, version)
            self.journal.add.remote(event="group", engine=self.name, group=request.group_id, holds=str(self.version))
        return groups


def curlvpr(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "cluster.cli", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def ready(run: Path, count: int) -> None:
    """Waits until exactly `count` rollout workers are ready."""
    until = time.monotonic() + 90
    while (
        not (run / "recipe.yaml").is_file()
        or read_status(run).get("workers", {}).get("rollout", {}).get("ready") != count
    ):
        if time.monotonic() > until:
            raise SystemExit(f"{count} rollout workers should be ready; the status of the run is {read_status(run)}")
        time.sleep(0.2)


def train(run: Path, journal: Any, act: Callable[[Path], None]) -> None:
    """Trains while `act` runs beside it. The run stops when `act` returns."""
    recipe = simulated_recipe(1, GROUPS, 10_000, AHEAD)
    engine = ray.remote(Engine)

    def start(rank: int, name: str) -> Any:
        return engine.options(num_cpus=0, resources={"engine": 1}, max_concurrency=100).remote(name, journal)

    with ThreadPoolExecutor(1) as pool:  # only the main thread may start nodes
        training = pool.submit(
            train_simulated, run, recipe, Quiet(), hosts=1, group_s=GROUP_S, spread=0.0, learn_s=0.0, start=start
        )
        try:
            act(run)
        finally:
            curlvpr("stop", run)
        training.result()


def rate(events: Sequence[dict[str, Any]], window: dict[str, Any]) -> float:
    written = sum(event["event"] == "group" and window["from_s"] <= event["at_s"] < window["to_s"] for event in events)
    return written / (window["to_s"] - window["from_s"]) * GROUP_S / window["workers"]


def proved_first(events: Sequence[dict[str, Any]]) -> bool:
    logs = defaultdict(list)
    for event in events:
        if "engine" in event:
            logs[event["engine"]].append(event)
    return all(
        log[0]["event"] == "update" and all(event["holds"] != "None" for event in log if event["event"] == "group")
        for log in logs.values()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--window", type=float, default=20.0, help="seconds over which a rate is measured")
    parser.add_argument("--json", action="store_true", help="no effect: only JSON is printed in any case")
    args = parser.parse_args()
    quiet_libraries()
    out = args.out.absolute()
    out.mkdir(parents=True)
    cluster = Cluster(
        initialize_head=True, head_node_args=dict(num_cpus=4, include_dashboard=False, object_store_memory=600 * 2**20)
    )
    ray.init(
        address=cluster.address, log_to_driver=False, logging_level="ERROR", runtime_env={"env_vars": dict(ENVIRONMENT)}
    )
    journal = ray.remote(Journal).options(num_cpus=0).remote()
    windows: list[dict[str, Any]] = []
    nodes = [cluster.add_node(**NODE) for _ in range(4)]

    def measure(run: Path, count: int) -> None:
        ready(run, count)
        time.sleep(SETTLE_S)
        start = time.time()
        time.sleep(args.window)
        windows.append({"event": "window", "run": run.name, "workers": count, "from_s": start, "to_s": time.time()})

    def by_command(run: Path) -> None:
        measure(run, 1)
        for count in (4, 2):
            curlvpr("scale", run, "--rollout", count)
            measure(run, count)

    def by_nodes(run: Path) -> None:
        measure(run, 1)
        curlvpr("scale", run, "--rollout", 4)
        nodes.extend(cluster.add_node(**NODE) for _ in range(3))
        measure(run, 4)
        for node in nodes[2:]:
            cluster.remove_node(node, allow_graceful=False)
        measure(run, 2)

    try:
        train(out / "command", journal, by_command)
        for node in nodes[1:]:
            cluster.remove_node(node)
        del nodes[1:]
        train(out / "nodes", journal, by_nodes)
        events = [*ray.get(journal.read.remote(), timeout=60), *windows]
    finally:
        ray.shutdown()
        cluster.shutdown()
    (out / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    rates = defaultdict(dict)
    for window in windows:
        rates[window["run"]][str(window["workers"])] = round(rate(events, window), 3)
    ledgers = [committed_events(out / run / "ledger.jsonl") for run in ("command", "nodes")]
    trained = [Counter(e["group"] for e in ledger if e["event"] == "trained") for ledger in ledgers]
    print(
        json.dumps(
            {
                "rates": rates,
                "within_a_tenth": all(
                    0.9 <= value <= 1.1 for run_rates in rates.values() for value in run_rates.values()
                ),
                "late_joiners_proved_first": proved_first(events),
                "trained": sum(map(len, trained)),
                "trained_twice": sum(count > 1 for counts in trained for count in counts.values()),
                "dropped": sum(e["event"] == "dropped" for ledger in ledgers for e in ledger),
                "simulated": True,
            }
        )
    )


if __name__ == "__main__":
    main()
