"""Weights & Biases. Server, project and key come from its own environment variables, never from a recipe."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from cluster.trackers.base import PROJECT, RunInfo


class WandbTracker:
    def __init__(self, run: RunInfo) -> None:
        import wandb

        run.ids.setdefault("wandb", uuid.uuid4().hex)
        self.run = wandb.init(
            project=PROJECT,
            name=run.folder.name,
            id=run.ids["wandb"],
            resume="allow",
            dir=str(run.folder),
            config=dict(run.recipe),
            settings=wandb.Settings(silent=True),
        )
        # A run that went back to a commit counts its steps again, which wandb's own counter would refuse.
        self.run.define_metric("*", step_metric="run_step")

    def add(self, numbers: Mapping[str, float], step: int) -> None:
        self.run.log({**numbers, "run_step": step})

    def close(self) -> None:
        self.run.finish()
