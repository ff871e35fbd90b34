"""Whether generating one step ahead costs score on the embedded default: `max_staleness` 0 and 1, seed by seed.

    python -m bench.staleness runs/staleness --seeds 0 1 2 [--ahead 1]

Every stage of reinforcement learning has 20 steps of 64 groups, whatever the score, as in `bench.credit`, whose runs
with credit by step are the same as those on-policy here. About 15 minutes a run on two cores. What each run came to
is kept in the folder's staleness.json, and is not made again; with --ahead only so many steps ahead are run. Ends
with a table.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from .credit import STAGES, finished, fixed_length, record

SETTINGS = {
    0: [],
    1: [
        f"stages.{stage}.training.{setting}" for stage in STAGES for setting in ("max_staleness=1", "correction=token")
    ],
}

Records = dict[str, dict[str, dict[str, Any]]]
"""Steps ahead, seed, stage to what `bench.credit.record` returns; `oldest` to the age of the oldest trained token."""


def train(root: Path, ahead: int, seed: int) -> Path:
    """The run folder, made where it is not finished."""
    run = root / f"seed{seed}-ahead{ahead}"
    if not finished(run):
        shutil.rmtree(run, ignore_errors=True)
        fixed_length(root, run.name, seed, SETTINGS[ahead])
    return run


def oldest(run: Path) -> int:
    rows = pq.read_table(run / "metrics.parquet").to_pylist()
    return max(row["staleness_max"] for row in rows if row["event"] == "step" and row["kind"] == "grpo")


def table(records: Records) -> str:
    """Markdown: where each stage ended, for each seed, and over the seeds."""
    seeds = sorted({seed for of_ahead in records.values() for seed in of_ahead})
    columns = [
        "steps ahead",
        *(f"{stage}, seed {seed}" for stage in STAGES for seed in seeds),
        *(f"mean {s}" for s in STAGES),
    ]
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for ahead, of_ahead in sorted(records.items()):
        cells, means = [ahead], []
        for stage in STAGES:
            ends = {seed: told[stage]["start"] + told[stage]["gain"] for seed, told in of_ahead.items()}
            cells += [f"{ends[seed]:.3f}" if seed in ends else "" for seed in seeds]
            means.append(f"{np.mean(list(ends.values())):.3f}")
        lines.append("| " + " | ".join([*cells, *means]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ahead", type=int, nargs="+", choices=SETTINGS, default=list(SETTINGS))
    given = parser.parse_args()
    root = given.folder.absolute()
    root.mkdir(parents=True, exist_ok=True)
    kept = root / "staleness.json"
    records: Records = json.loads(kept.read_text()) if kept.is_file() else {}
    for seed in given.seeds:
        for ahead in given.ahead:
            of_ahead = records.setdefault(str(ahead), {})
            if str(seed) not in of_ahead:
                run = train(root, ahead, seed)
                of_ahead[str(seed)] = record(run) | {"oldest": oldest(run)}
                kept.write_text(json.dumps(records, indent=1))
    print(table(records))


if __name__ == "__main__":
    main()
