"""How long a judge of one second per response takes through the run's reward workers, and what faults cost.

    python -m bench.judge [--json] [--responses 640] [--concurrency 32] [--workers 2] [--latency 1] [--step 60]

The judge is simulated: an HTTP server on this machine that waits and then gives a grade (tests/support). The reward
workers, their pool, the rule and its client are the real ones. Four passes have all responses at once: no judge; the
judge; the judge with 5 % of the responses never answered and 5 % answered with nonsense; and an endpoint that is dead
for 30 s from the start. In the last two, `step` and `step_no_judge`, groups arrive over 60 s, as two simulated engines
finish them: `added_s` is how long the verdicts take after the last group.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import ray

from actors.reward import RewardWorkersConfig
from actors.runtime.restart_policy import Restarts
from actors.trajectory import Group
from cluster.pools.pool_config import WorkPoolConfig
from cluster.pools.reward_pool import RewardPool
from cluster.pools.work_pool import WorkPool
from cluster.pools.worker_health import Limits
from rewards.config import RewardConfig
from rewards.verdict import Verdict
from tests.support.rewards.choice import groups
from tests.support.simulated_judge import SimulatedJudge

GROUP = 8
DEAD_S = 30.0
TIMEOUT_S = 5.0


def text(number: int, mark: str) -> str:
    return f"<think>Haze at both bases, film {number}. {mark}</think><answer>B</answer>"


def rules(judge: SimulatedJudge | None, concurrency: int, retries: int) -> RewardConfig:
    if judge is None:
        return RewardConfig()
    rule = {
        "rule": "rewards.judge:Judge",
        "weight": 0.2,
        "options": {"model": "simulated", "base_url": judge.url},
        "concurrency": concurrency,
        "timeout_s": TIMEOUT_S,
        "retries": retries,
    }
    return RewardConfig.model_validate({"own": {"judge": rule}})


def one_pass(texts: list[str], config: RewardConfig, workers: int) -> tuple[float, list[Verdict], list[str], int]:
    """Seconds for scoring all texts, the verdicts, what the pool told, and how many workers died."""
    pool = RewardPool("bench-judge", RewardWorkersConfig(workers=workers, cpus=0.25, rules=config))
    try:
        pool.pool.wait_until_ready()
        start = time.perf_counter()
        found = pool.take(groups(*texts, size=GROUP))
        seconds = time.perf_counter() - start
        return seconds, [verdict for group in found for verdict in group], pool.pool.take_events(), pool.pool.deaths
    finally:
        pool.stop()


class SimulatedEngine:
    """Hands out its groups over a step, evenly from a tenth of its time on, as an engine finishes them."""

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s

    async def ready(self) -> str:
        return ray.get_runtime_context().get_node_id()

    async def generate(self, made: Sequence[Group]) -> Any:
        start = time.monotonic()
        for number, group in enumerate(made):
            due = start + self.step_s * (0.1 + 0.9 * (number + 1) / len(made))
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            yield number, group


def one_step(texts: list[str], config: RewardConfig, workers: int, step_s: float) -> tuple[float, float, int]:
    """Seconds until the last group has arrived, seconds from there to the last verdict, and responses without value."""
    engine = ray.remote(SimulatedEngine)
    engines = WorkPool(
        WorkPoolConfig("bench-judge", "engine", 2, Limits(), min_share_s=60),
        lambda rank, name: engine.options(num_cpus=0).remote(step_s),
        Restarts(1, 60, 0),
    )
    rewards = RewardPool("bench-judge", RewardWorkersConfig(workers=workers, cpus=0.25, rules=config))
    try:
        engines.wait_until_ready()
        rewards.pool.wait_until_ready()
        start = time.perf_counter()
        batch = engines.submit(
            groups(*texts, size=GROUP), lambda worker, share: worker.generate.remote(share), 600, rewards.add
        )
        made = engines.gather(batch, rewards.pump)
        arrived = time.perf_counter()
        verdicts = [verdict for group in rewards.take(made) for verdict in group]
        return arrived - start, time.perf_counter() - arrived, sum(bool(verdict.failed) for verdict in verdicts)
    finally:
        engines.stop()
        rewards.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print only the last line, one JSON object")
    parser.add_argument("--responses", type=int, default=640)
    parser.add_argument("--concurrency", type=int, default=32, help="of each worker")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--latency", type=float, default=1.0, help="seconds of a judgement")
    parser.add_argument("--step", type=float, default=60.0, help="seconds for which a step generates")
    args = parser.parse_args()
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    plain = [text(i, f"grade={i % 11}") for i in range(args.responses)]
    faulty = list(plain)
    rng = np.random.default_rng(0)
    chosen = rng.permutation(args.responses)
    share = args.responses // 20
    for number in chosen[:share]:
        faulty[number] = text(number, "answer-never")
    for number in chosen[share : 2 * share]:
        faulty[number] = text(number, "answer-nonsense")
    least_s = args.responses * args.latency / (args.workers * args.concurrency)
    result: dict[str, Any] = {"responses": args.responses, "least_s": round(least_s, 1)}
    with SimulatedJudge(args.latency) as judge:
        for name, texts, dead_s, retries in (
            ("no_judge", plain, 0.0, 2),
            ("judge", plain, 0.0, 2),
            ("faults", faulty, 0.0, 2),
            ("dead", plain, DEAD_S, 2),
        ):
            config = rules(None if name == "no_judge" else judge, args.concurrency, retries)
            judge.requests.clear()
            judge.most_at_once = 0
            if dead_s:
                judge.die(dead_s)
            seconds, verdicts, told, deaths = one_pass(texts, config, args.workers)
            failed = [number for number, verdict in enumerate(verdicts) if verdict.failed]
            wrong = [
                number
                for number, verdict in enumerate(verdicts)
                if not verdict.failed and dict(verdict.more).get("judge", number % 11 / 10) != number % 11 / 10
            ]
            expected = sorted(chosen[: 2 * share].tolist()) if name == "faults" else []
            row = {
                "seconds": round(seconds, 2),
                "failed": len(failed),
                "failed_as_injected": failed == expected,
                "wrong_values": len(wrong),
                "requests": sum(judge.requests.values()),
                "most_at_once": judge.most_at_once,
                "deaths": deaths,
            }
            result[name] = row
            if not args.json:
                print(f"{name}: {row}")
                for line in told:
                    print(f"    told: {line}")
                reasons = Counter(verdicts[number].why[-1][:110] for number in failed)
                for reason, count in reasons.most_common(4):
                    print(f"    {count} ×: {reason}")
        for name in ("step_no_judge", "step"):
            config = rules(None if name == "step_no_judge" else judge, args.concurrency, retries=2)
            step_s, added_s, without = one_step(plain, config, args.workers, args.step)
            result[name] = {"step_s": round(step_s, 2), "added_s": round(added_s, 2), "failed": without}
            if not args.json:
                print(f"{name}: {result[name]}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
