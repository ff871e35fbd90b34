"""Which credit teaches most on the quickstart: no process reward, credit by response, by step, or by return.

    python -m bench.credit runs/credit --seeds 0 1 2

Each seed has one run with credit by step; the other runs start from its weights at the end of the supervised stage.
Every stage of reinforcement learning has 20 steps, whatever the score, so that all runs have the same length. About
40 minutes a seed on two cores. The results of each run are kept in the folder's credit.json and not computed again.
Ends with a table and credit.png.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pyarrow.parquet as pq
import yaml

RECIPE = "recipes/quickstart.yaml"
STEPS = 20
VARIANTS = {  # name → credit, weight of process in the total
    "step": ("step", 0.3),
    "return": ("return", 0.3),
    "response": ("response", 0.3),
    "no process": ("response", 0.0),
}
STAGES = {"closed": "closed_accuracy", "open": "open_micro_f1"}

Records = dict[str, dict[str, dict[str, Any]]]
"""Seed, variant, stage to `start` (the test score before it), `gain`, its 95 % `interval`, and the validation curve
(`steps` and `scores`)."""


def curlvpr(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "cluster.cli", *map(str, arguments)], check=True)


def fixed_length(root: Path, name: str, seed: int, settings: Sequence[str] = ()) -> None:
    """Trains root/name by the quickstart's recipe with `settings`; every stage of RL has `STEPS` steps."""
    gate = {"every": 5, "min_steps": 5, "max_steps": STEPS, "threshold": "null", "plateau": "null"}
    gates: list[str] = []
    for stage in STAGES:
        gates += [f"stages.{stage}.gate.{key}={value}" for key, value in gate.items()]
    changes = [f"root={root}", f"seed={seed}", "checkpoint.keep=10", *gates, *settings]
    curlvpr("train", RECIPE, "--name", name, *(part for change in changes for part in ("--set", change)))


def train(root: Path, seed: int, variant: str) -> Path:
    """Returns the run folder of a variant, which is trained unless it is finished."""
    run = root / f"seed{seed}-{variant.replace(' ', '-')}"
    if finished(run):
        return run
    shutil.rmtree(run, ignore_errors=True)
    if variant == "step":
        fixed_length(root, run.name, seed)
        return run
    first = train(root, seed, "step")
    after_sft = json.loads((first / "summary.json").read_text())["stages"][0]["steps"]
    later = {path.name for path in (first / "checkpoints").iterdir()} - {f"step-{after_sft:07d}"}
    left_out = {first: {"model", "summary.json", "learner"}, first / "checkpoints": later}
    shutil.copytree(first, run, ignore=lambda folder, _: left_out.get(Path(folder), set()))
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    credit, weight = VARIANTS[variant]
    for stage in recipe["stages"]:
        if stage["kind"] == "grpo":
            stage["training"]["credit"] = credit
    recipe["reward"]["rules"]["process"] = weight
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    curlvpr("resume", run)
    return run


def finished(run: Path) -> bool:
    path = run / "summary.json"
    return path.is_file() and json.loads(path.read_text())["status"] == "finished"


def record(run: Path) -> dict[str, dict[str, Any]]:
    """The results of a run, by stage."""
    stages = {stage["name"]: stage["evaluation"] for stage in json.loads((run / "summary.json").read_text())["stages"]}
    rows = [row for row in pq.read_table(run / "metrics.parquet").to_pylist() if row["event"] == "val"]
    results = {}
    for stage, measure in STAGES.items():
        curve = [(row["stage_step"], row[measure]) for row in rows if row["stage"] == stage]
        gain = stages[stage]["gain"]
        results[stage] = {
            "start": stages[stage]["start"][measure],
            "gain": gain[measure],
            "interval": gain["intervals"][measure],
            "steps": [step for step, _ in curve],
            "scores": [score for _, score in curve],
        }
    return results


def table(records: Records) -> str:
    """Markdown: the score at the end of each stage, with gain and 95 % interval, for each seed; the mean over seeds."""
    columns = [
        "credit",
        *(f"{stage}, seed {seed}" for stage in STAGES for seed in records),
        *(f"mean {s}" for s in STAGES),
    ]
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for variant in VARIANTS:
        cells, means = [variant], []
        for stage in STAGES:
            results = [records[seed][variant][stage] for seed in records]
            ends = [result["start"] + result["gain"] for result in results]
            cells += [
                "{:.3f} ({:+.3f} [{:+.3f}, {:+.3f}])".format(end, result["gain"], *result["interval"])
                for end, result in zip(ends, results, strict=True)
            ]
            means.append(f"{np.mean(ends):.3f}")
        lines.append("| " + " | ".join([*cells, *means]) + " |")
    return "\n".join(lines)


def figure(records: Records, path: Path) -> None:
    """The validation score of each stage over its steps: a thin line for each seed, a thick one for their mean."""
    fig, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for axis, (stage, measure) in zip(axes, STAGES.items(), strict=True):
        for colour, variant in zip(("C0", "C1", "C2", "C7"), VARIANTS, strict=True):
            curves = [variants[variant][stage] for variants in records.values()]
            for curve in curves:
                axis.plot(curve["steps"], curve["scores"], color=colour, alpha=0.3, linewidth=1)
            mean = np.mean([curve["scores"] for curve in curves], axis=0)
            axis.plot(curves[0]["steps"], mean, color=colour, linewidth=2.5, label=variant)
        axis.set(title=f"{stage} stage", xlabel="steps", ylabel=f"validation {measure.replace('_', ' ')}")
        axis.grid(alpha=0.3)
    axes[0].legend(frameon=False)
    fig.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    root = args.folder.absolute()
    records_path = root / "credit.json"
    records: Records = json.loads(records_path.read_text()) if records_path.is_file() else {}
    for seed in args.seeds:
        for variant in VARIANTS:
            variants = records.setdefault(str(seed), {})
            if variant not in variants:
                variants[variant] = record(train(root, seed, variant))
                records_path.write_text(json.dumps(records, indent=1))
    figure(records, root / "credit.png")
    print(table(records))


if __name__ == "__main__":
    main()
