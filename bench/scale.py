"""How many trajectories a second pass through the coordinator, from 32 to 512 workers. The workers are simulated.

    python -m bench.scale OUT [--workers 32 128 512] [--steps 40] [--memory 1000000] [--json]

`bench/simulated.py` lists which parts are real. A group of eight responses takes 8.4 s, log-normally spread (sigma
0.25); a response has 1,024 tokens with ids, log-probabilities, versions and offsets, and five judged steps. A step has
two groups for each worker, which form one share; a worker writes two shares at a time, each until its slower group
ends (9.6 s on average): 3.3 trajectories/s if no worker ever waited. Generation runs six steps ahead. Rates leave out
the filling and the emptying of the pipeline. Linearity is the rate per worker at the largest number of workers over
that at the smallest. With --memory that many more trajectories pass at the largest number, and the result has the
coordinator's memory after a tenth of them and at the end.

OUT keeps each run's ledger and records.json: times and memory at every step. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import psutil
import ray

from actors.runtime.environment import ENVIRONMENT, quiet_libraries

from .simulated import Quiet, simulated_recipe, train_simulated

GROUP_S, SPREAD, AHEAD, GROUP_SIZE, HOSTS = 8.4, 0.25, 6, 8, 4
GROUPS = 2  # in a step, for each worker


def measure(out: Path, workers: int, steps: int) -> dict[str, Any]:
    """Trains for `steps` steps, each of `GROUPS` groups for each worker; returns the record of the run."""
    recipe = simulated_recipe(workers, GROUPS * workers, steps, AHEAD, GROUP_SIZE)
    display, resident = Quiet(), []
    log_step = display.step

    def step(row: dict[str, Any]) -> None:
        log_step(row)
        resident.append(psutil.Process().memory_info().rss / 2**20)

    display.step = step
    start = train_simulated(out, recipe, display, hosts=HOSTS, group_s=GROUP_S, spread=SPREAD, learn_s=0.0)
    times = [ended_at - start for ended_at, _ in display.steps]
    first, last = AHEAD + 1, len(times) - AHEAD - 1  # between them the pipeline is full
    rate = (last - first) * GROUPS * workers * GROUP_SIZE / (times[last] - times[first])
    return {
        "workers": workers,
        "steps": steps,
        "trajectories_per_s": round(rate, 1),
        "step_ends_s": times,
        "resident_mib": resident,
        "rows": [row for _, row in display.steps],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, nargs="+", default=[32, 128, 512])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--memory", type=int, default=0, help="trajectories in the memory test")
    parser.add_argument("--json", action="store_true", help="print only the last line")
    args = parser.parse_args()
    quiet_libraries()
    out = args.out.absolute()
    out.mkdir(parents=True)
    ray.init(
        address="local",
        num_cpus=4,
        object_store_memory=3 * 2**30,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": dict(ENVIRONMENT)},
    )
    records = []
    for workers in args.workers:
        records.append(measure(out / f"workers-{workers}", workers, args.steps))
        if not args.json:
            print(f"{workers} workers: {records[-1]['trajectories_per_s']:,.0f} trajectories/s", flush=True)
    first, last = records[0], records[-1]
    result = {
        "workers": last["workers"],
        "trajectories_per_s": last["trajectories_per_s"],
        "linearity": round(
            last["trajectories_per_s"] / first["trajectories_per_s"] * first["workers"] / last["workers"], 3
        ),
        "simulated": True,
    }
    if args.memory:
        steps = args.memory // (GROUPS * last["workers"] * GROUP_SIZE)
        records.append(measure(out / "memory", last["workers"], steps))
        resident = records[-1]["resident_mib"]
        result |= {
            "memory_trajectories": steps * GROUPS * last["workers"] * GROUP_SIZE,
            "resident_mib_tenth": round(resident[steps // 10]),
            "resident_mib_end": round(resident[-1]),
        }
    (out / "records.json").write_text(json.dumps(records), encoding="utf-8")
    ray.shutdown()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
