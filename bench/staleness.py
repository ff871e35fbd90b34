"""Whether generating one step ahead costs score on the quickstart: `max_staleness` 0 and 1, seed by seed.

    python -m bench.staleness runs/staleness --seeds 0 1 2 [--ahead 1]

Every stage of reinforcement learning has 20 steps of 64 groups, whatever the score, as in `bench.credit`, whose runs
with credit by step equal the on-policy runs here. About 15 minutes a run on two cores. The results of each run are
kept in the folder's staleness.json and not computed again. With --ahead only these numbers of steps ahead are run.
Ends with a table.
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
    """Returns the run folder, which is trained unless it is finished."""
    run = root / f"seed{seed}-ahead{ahead}"
    if not finished(run):
        shutil.rmtree(run, ignore_errors=True)
        fixed_length(root, run.name, seed, SETTINGS[ahead])
    return run


def oldest(run: Path) -> int:
    rows = pq.read_table(run / "metrics.parquet").to_pylist()
    return max(row["staleness_max"] for row in rows if row["event"] == "step" and row["kind"] == "grpo")


def table(records: Records) -> str:
    """Markdown: the score at the end of each stage, for each seed, and the mean over seeds."""
    seeds = sorted({seed for by_seed in records.values() for seed in by_seed})
    columns = [
        "steps ahead",
        *(f"{stage}, seed {seed}" for stage in STAGES for seed in seeds),
        *(f"mean {s}" for s in STAGES),
    ]
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for ahead, by_seed in sorted(records.items()):
        cells, means = [ahead], []
        for stage in STAGES:
            ends = {seed: result[stage]["start"] + result[stage]["gain"] for seed, result in by_seed.items()}
            cells += [f"{ends[seed]:.3f}" if seed in ends else "" for seed in seeds]
            means.append(f"{np.mean(list(ends.values())):.3f}")
        lines.append("| " + " | ".join([*cells, *means]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ahead", type=int, nargs="+", choices=SETTINGS, default=list(SETTINGS))
    args = parser.parse_args()
    root = args.folder.absolute()
    root.mkdir(parents=True, exist_ok=True)
    records_path = root / "staleness.json"
    records: Records = json.loads(records_path.read_text()) if records_path.is_file() else {}
    for seed in args.seeds:
        for ahead in args.ahead:
            by_seed = records.setdefault(str(ahead), {})
            if str(seed) not in by_seed:
                run = train(root, ahead, seed)
                by_seed[str(seed)] = record(run) | {"oldest": oldest(run)}
                records_path.write_text(json.dumps(records, indent=1))
    print(table(records))


if __name__ == "__main__":
    main()
