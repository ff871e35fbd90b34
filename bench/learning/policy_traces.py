"""A round of rejection sampling after the quickstart's supervised stage, by `curlvpr data traces --writer policy`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from bench.learning.commands import curlvpr
from curriculum.taskset import read_tasks, write_tasks

FAMILIES = ("binary", "single_choice", "multiple_choice", "diagnosis")
ASKED = 1_500
SAMPLES = 4


def write_policy_traces(root: Path, seed: int) -> tuple[str, ...]:
    """Has the policy answer some of its train tasks, and keeps what the verifier accepts. Returns the settings with
    which `after_sft.yaml` reads the model and both task sets.
    """
    run, folder = root / f"quickstart-seed{seed}-as-it-is", root / f"policy_traces-seed{seed}"
    model, asked, traced = (folder / name for name in ("model", "asked", "traced"))
    folder.mkdir(exist_ok=True)
    if not model.exists():
        supervised = json.loads((run / "summary.json").read_text(encoding="utf-8"))["stages"][0]
        curlvpr("export", run, "--step", supervised["steps"], "--out", model)
    if not asked.exists():
        tasks = [task for task in read_tasks(run / "data") if task.split == "train" and task.family in FAMILIES]
        chosen = np.random.default_rng(seed).choice(len(tasks), ASKED, replace=False)
        write_tasks([tasks[number] for number in sorted(chosen)], asked)
    if not (traced / "tasks.parquet").exists():
        writer = ("--writer", "policy", "--model", model, "--recipe", run / "recipe.yaml", "--samples", SAMPLES)
        # Phantoms' traces describe shapes in words that no ontology knows, so there is no grounding to ask for.
        curlvpr("data", "traces", asked, "--out", traced, *writer, "--attempts", 1, "--grounding", 0)
    return (
        f"data.sources.phantoms.tasks={run / 'data'}",
        f"data.sources.traces.tasks={traced}",
        f"model.path={model}",
    )
