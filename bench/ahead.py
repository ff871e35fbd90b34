"""How much time generating one step ahead saves if generation takes as long as learning. The workers are simulated.

    python -m bench.ahead OUT [--seconds 2] [--steps 15] [--json]

`bench/simulated.py` lists which parts are real. OUT keeps the ledgers and metrics of both runs. The last line is one
JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import ray

from actors.runtime.environment import ENVIRONMENT, quiet_libraries

from .simulated import Quiet, simulated_recipe, train_simulated

WORKERS = 4


def seconds_a_step(out: Path, ahead: int, seconds: float, steps: int) -> tuple[float, int]:
    """Seconds per step once the pipeline is full, and the age of the oldest trained token."""
    recipe = simulated_recipe(WORKERS, WORKERS, steps, ahead)
    display = Quiet()
    train_simulated(out, recipe, display, hosts=1, group_s=seconds, spread=0.0, learn_s=seconds)
    times = [ended_at for ended_at, _ in display.steps]
    return (times[-1] - times[1]) / (len(times) - 2), max(row["staleness_max"] for _, row in display.steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="duration of a step's generation, and of its learning"
    )
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--json", action="store_true", help="no effect: only JSON is printed in any case")
    args = parser.parse_args()
    quiet_libraries()
    out = args.out.absolute()
    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": dict(ENVIRONMENT)},
    )
    start = time.monotonic()
    result = {}
    for ahead in (0, 1):
        step_s, oldest = seconds_a_step(out / f"ahead-{ahead}", ahead, args.seconds, args.steps)
        result |= {f"step_s_ahead_{ahead}": round(step_s, 3), f"oldest_token_ahead_{ahead}": oldest}
    ray.shutdown()
    print(
        json.dumps(
            result
            | {
                "times_as_fast": round(result["step_s_ahead_0"] / result["step_s_ahead_1"], 2),
                "simulated": True,
                "seconds": round(time.monotonic() - start),
            }
        )
    )


if __name__ == "__main__":
    main()
