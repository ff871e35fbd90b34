"""Starts the workers of own rules that have some."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ray

from actors.reward.rule_worker import AT_ONCE, RuleWorker
from rewards.config import OwnRule


def start_rule_workers(run: str, rules: Mapping[str, OwnRule], folder: str) -> dict[str, list[Any]]:
    """The actors of each rule that has workers of its own. Ray starts one again if it dies.

    Args:
        folder: is searched for the modules of rules, in addition to installed packages.
    """
    started: dict[str, list[Any]] = {}
    for name, own in rules.items():
        for rank in range(own.own_workers):
            options = {
                "name": f"{run}/rule-{name}-{rank}",
                "num_cpus": own.worker_cpus,
                "num_gpus": own.worker_gpus,
                "max_restarts": -1,
                "max_concurrency": AT_ONCE,
            }
            if own.runtime_env is not None:
                options["runtime_env"] = own.runtime_env
            actor = ray.remote(RuleWorker).options(**options).remote(name, own, folder)
            started.setdefault(name, []).append(actor)
    return started
