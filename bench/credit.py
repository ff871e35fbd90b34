"""Which credit teaches most on the embedded default: no process reward, credit by response, by step, by return.

    python -m bench.credit runs/credit --seeds 0 1 2

For each seed one run with credit by step; the others go on from the same weights, those at the end of its supervised stage.
Every stage of reinforcement learning has 30 steps, whatever the score, so that all are alike. About 40 minutes a seed on two
cores. What is finished already is not made again. Ends with a table and, in the folder, credit.png.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pyarrow.parquet as pq
import yaml

RECIPE = "recipes/quickstart.yaml"
STEPS = 30
VARIANTS = {  # name → credit, weight of process in the total
    "step": ("step", 0.3), "return": ("return", 0.3), "response": ("response", 0.3), "no process": ("response", 0.0)}
STAGES = {"closed": "closed_accuracy", "open": "open_micro_f1"}


def curlvpr(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "cluster.cli", *map(str, arguments)], check=True)


def train(root: Path, seed: int, variant: str) -> Path:
    """The run folder of a variant, made where it is not finished."""
    run = root / f"seed{seed}-{variant.replace(' ', '-')}"
    if finished(run):
        return run
    shutil.rmtree(run, ignore_errors=True)
    if variant == "step":
        gates = [f"stages.{stage}.gate.{key}={value}" for stage in STAGES
                 for key, value in (("min_steps", STEPS), ("max_steps", STEPS), ("threshold", "null"), ("plateau", "null"))]
        changes = [f"root={root}", f"seed={seed}", "checkpoint.keep=10", *gates]
        curlvpr("train", RECIPE, "--name", run.name, *(part for change in changes for part in ("--set", change)))
        return run
    first = train(root, seed, "step")
    after_sft = json.loads((first / "summary.json").read_text())["stages"][0]["steps"]
    commit = f"step-{after_sft:07d}"
    shutil.copytree(first, run, ignore=lambda _, names: {
        n for n in names if n in ("model", "summary.json", "learner") or (n.startswith("step-") and n != commit)})
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


def table(runs: dict[tuple[int, str], Path]) -> str:
    """Markdown: the gain of each stage with its 95 % interval for each seed, and the mean over seeds."""
    seeds = sorted({seed for seed, _ in runs})
    lines = ["| credit | " + " | ".join(f"{stage}, seed {seed}" for stage in STAGES for seed in seeds) + " | mean closed | mean open |",
             "|" + "---|" * (2 * len(seeds) + 3)]
    for variant in VARIANTS:
        cells, means = [], []
        for stage, measure in STAGES.items():
            gains = []
            for seed in seeds:
                summary = json.loads((runs[seed, variant] / "summary.json").read_text())
                gain = next(s for s in summary["stages"] if s["name"] == stage)["evaluation"]["gain"]
                low, high = gain["intervals"][measure]
                gains.append(gain[measure])
                cells.append(f"{gain[measure]:+.3f} [{low:+.3f}, {high:+.3f}]")
            means.append(f"{np.mean(gains):+.3f}")
        lines.append(f"| {variant} | " + " | ".join([*cells, *means]) + " |")
    return "\n".join(lines)


def figure(runs: dict[tuple[int, str], Path], path: Path) -> None:
    """The validation score of each stage over its steps: a thin line for each seed, a thick one for their mean."""
    fig, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for axis, (stage, measure) in zip(axes, STAGES.items(), strict=True):
        for colour, variant in zip(("C0", "C1", "C2", "C7"), VARIANTS, strict=True):
            lines = []
            for (_, name), run in runs.items():
                if name == variant:
                    rows = [r for r in pq.read_table(run / "metrics.parquet").to_pylist()
                            if r["event"] == "val" and r["stage"] == stage]
                    lines.append(([r["stage_step"] for r in rows], [r[measure] for r in rows]))
                    axis.plot(*lines[-1], color=colour, alpha=0.3, linewidth=1)
            axis.plot(lines[0][0], np.mean([scores for _, scores in lines], axis=0), color=colour, linewidth=2.5, label=variant)
        axis.set(title=f"{stage} stage", xlabel="steps", ylabel=f"validation {measure.replace('_', ' ')}")
        axis.grid(alpha=0.3)
    axes[0].legend(frameon=False)
    fig.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    runs = {(seed, variant): train(given.folder.absolute(), seed, variant) for seed in given.seeds for variant in VARIANTS}
    figure(runs, given.folder / "credit.png")
    print(table(runs))


if __name__ == "__main__":
    main()
