"""Trains the variants of an experiment. What was trained before is not trained again; what was broken off goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from bench.learning.commands import curlvpr
from bench.learning.experiments import EXPERIMENTS
from cluster.config.recipe_file import load_recipe
from cluster.record.run_writer import recipe_text


def trained(root: Path, name: str, variant: str, seed: int) -> Path:
    """The folder of the finished run of an experiment's variant, below `root`."""
    run = root / f"{name}-seed{seed}-{variant.replace(' ', '-')}"
    if finished(run):
        return run
    experiment = EXPERIMENTS[name]
    settings = (*experiment.settings, *experiment.variants[variant])
    if (run / "recipe.yaml").is_file():
        curlvpr("resume", run)
    elif experiment.start:
        copy_start(trained(root, experiment.start, EXPERIMENTS[experiment.start].first, seed), run)
        recipe = load_recipe(run / "recipe.yaml", settings)
        (run / "recipe.yaml").write_text(recipe_text(recipe), encoding="utf-8")
        curlvpr("resume", run)
    else:
        made = experiment.prepare(root, seed) if experiment.prepare else ()
        common = (f"root={root}", f"seed={seed}", "checkpoint.keep=1000")
        pairs = [part for setting in (*common, *made, *settings) for part in ("--set", setting)]
        curlvpr("train", experiment.recipe, "--name", run.name, *pairs)
    return run


def copy_start(first: Path, run: Path) -> None:
    """Makes `run` the run `first` as it was after its supervised stage. What `first` did afterwards is in no checkpoint
    of `run`, so resuming takes it out of the records.
    """
    supervised = json.loads((first / "summary.json").read_text(encoding="utf-8"))["stages"][0]
    later = {path.name for path in (first / "checkpoints").iterdir()} - {f"step-{supervised['steps']:07d}"}
    left_out = {first: {"model", "summary.json", "learner"}, first / "checkpoints": later}
    shutil.copytree(first, run, ignore=lambda folder, _: left_out.get(Path(folder), set()))


def finished(run: Path) -> bool:
    path = run / "summary.json"
    return path.is_file() and json.loads(path.read_text(encoding="utf-8"))["status"] == "finished"
