"""The checks of `curlvpr smoke` that train: a run of every stage in a few steps, in several set-ups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cluster.standalone.smoke_context import CheckFailed, Context, check_error

if TYPE_CHECKING:
    from cluster.config.recipe import Recipe


IN_TURN = {"gpus": 0.4, "sleep": True, "gpu_memory": 0.5}
SOME_GIB = {"hidden": 2048, "layers": 4}  # a rank of this model takes 4 GiB, which an engine that starts beside it sees


def on_cpu(context: Context) -> str:
    return whole_run("cpu", context, transport="collective")


def shared(context: Context) -> str:
    return whole_run("shared-gpu", context, IN_TURN, {"gpus": 0.6, "gradient_checkpointing": True}, SOME_GIB)


def offloaded(context: Context) -> str:
    return whole_run("offloaded", context, IN_TURN, {"gpus": 0.6, "offload": "optimiser", "zero_stage": 2}, SOME_GIB)


def adapters(context: Context) -> str:
    return whole_run("adapters", context, IN_TURN, {"gpus": 0.6, "lora": {"rank": 8, "alpha": 16}})


def apart(context: Context) -> str:
    return whole_run("gpu-each", context, {"gpus": 1}, {"gpus": 1})


def sharded(context: Context) -> str:
    """Two engines and two ranks on two GPUs."""
    return whole_run("two-ranks", context, IN_TURN | {"workers": 2}, {"workers": 2, "gpus": 0.6, "zero_stage": 3})


def tensor_parallel(context: Context) -> str:
    return whole_run("tensor-parallel", context, {"gpus": 2}, {"gpus": 1})


def two_of_each(context: Context) -> str:
    return whole_run(
        "two-of-each", context, {"gpus": 1, "workers": 2}, {"gpus": 1, "workers": 2, "zero_stage": 2}, SOME_GIB
    )


class QuietDisplay:
    """A run's display that shows nothing, and keeps the rows of its reinforcement learning steps."""

    def __init__(self) -> None:
        self.steps: list[Mapping[str, Any]] = []

    def say(self, text: str) -> None:
        pass

    def step(self, row: Mapping[str, Any]) -> None:
        if row["kind"] == "grpo":
            self.steps.append(row)

    def evaluation(self, *_: Any) -> None:
        pass

    def close(self) -> None:
        pass


def whole_run(
    name: str,
    context: Context,
    rollout: Mapping[str, Any] = {},
    learner: Mapping[str, Any] = {},
    model: Mapping[str, Any] = {},
    transport: str = "auto",
) -> str:
    """Trains every stage for a few steps; the learner must give tokens the log-probabilities they had in the engine.

    Args:
        name: of the run folder.
        rollout: settings of the recipe's `rollout` beside the common ones.
        learner: settings of the recipe's `learner` beside the common ones.
        model: settings of the recipe's `model.tiny` beside the common ones.
        transport: the recipe's.
    """
    from cluster.control.ray_connection import ray_cluster
    from cluster.record.console import LoggedDisplay
    from cluster.run.launch import open_run

    recipe = smoke_recipe(name, context, rollout, learner, model, transport)
    display = QuietDisplay()
    folder = context.folder / name
    with ray_cluster(recipe.roles), open_run(recipe, folder, LoggedDisplay(display, name)) as run:
        summary = run.train()
        run.close()
    ledger = summary["ledger"]
    if ledger["issued"] != ledger["trained"] + ledger["dropped"] + ledger["in_flight"]:
        raise CheckFailed(f"the ledger does not balance: {ledger}")
    skipped = sum(row["skipped"] for row in display.steps)
    if skipped:
        raise CheckFailed(f"{skipped:g} updates were skipped, because their gradients were not finite")
    by_store = [row for row in display.steps if row.get("by_collective", 1.0) < 1]
    if by_store:
        raise CheckFailed(
            f"in {len(by_store)} of {len(display.steps)} steps weights did not go straight to every rollout worker, "
            "but through the store"
        )
    difference = max(row["logp_diff_mean"] for row in display.steps)
    limit = 1e-5 if context.dtype == "float32" else 0.05
    return (
        f"{summary['steps']} steps; weights went {_transport_words(recipe)}; "
        f"{check_error('engine and learner differ by a mean of', difference, limit)}"
    )


def _transport_words(recipe: Recipe) -> str:
    if not recipe.weight_transport.direct:
        return "through the store"
    return "by NCCL" if recipe.learner.gpus else "by gloo"


def smoke_recipe(
    name: str,
    context: Context,
    rollout: Mapping[str, Any],
    learner: Mapping[str, Any],
    model: Mapping[str, Any],
    transport: str,
) -> Recipe:
    """The recipe of a `whole_run`."""
    from cluster.config.recipe import Recipe

    half = context.dtype != "float32"
    training = {"tasks_per_step": 8, "group_size": 4, "lr": 1e-4, "kl": 0.01}
    return Recipe.model_validate(
        {
            "name": name,
            "root": context.folder,
            "transport": transport,
            "data": {"phantoms": {"train": 60, "val": 8, "test": 12}},
            # The number of the tower's heads is even, so that two GPUs can share them.
            "model": {"tiny": {"vision_steps": 0, "vision_hidden": 128, **model}},
            "stages": [
                {
                    "name": "sft",
                    "kind": "sft",
                    "tasks": {"binary": 1, "diagnosis": 1},
                    "gate": {"measure": "closed_accuracy", "every": 12, "max_steps": 12},
                    "training": {"lr": 1e-3, "tasks_per_step": 16},
                },
                {
                    "name": "closed",
                    "kind": "grpo",
                    "tasks": {"binary": 1},
                    "training": training,
                    "gate": {"measure": "closed_accuracy", "every": 2, "max_steps": 2},
                },
                {
                    "name": "open",
                    "kind": "grpo",
                    "tasks": {"diagnosis": 1},
                    "training": training | {"updates_per_step": 2},
                    "gate": {"measure": "open_micro_f1", "every": 2, "max_steps": 2},
                },
            ],
            "rollout": {
                "cpus": 0.5,
                "dtype": context.dtype,
                "max_response_tokens": 96,
                "max_model_tokens": 384,
                **rollout,
            },
            "reward": {"cpus": 0.25},
            "learner": {"cpus": 0.5, "threads": 2, "dtype": context.dtype, "zero_stage": int(half), **learner},
            "evaluation": {"val_per_family": 8, "test_per_family": 8},
            "guards": [],
        }
    )
