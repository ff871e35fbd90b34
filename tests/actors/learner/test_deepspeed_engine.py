"""What the learner's switches do to the model and its gradients, on one rank and on two."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForImageTextToText

from actors.algorithm.config import GrpoTraining
from actors.learner.config import Freeze
from actors.learner.deepspeed_engine import checkpoint_layers, freeze
from actors.learner.grpo_update import GrpoUpdate
from actors.learner.sft_update import SftUpdate
from cluster.config.recipe import ModelConfig
from cluster.config.recipe_file import load_recipe
from cluster.planning.model_shape import shape_of
from cluster.planning.worker_memory import rank_state
from tests.support.learner.ranks import ENTIRELY, same, two_groups

LR = 1e-3
RECIPES = Path(__file__).parents[3] / "recipes"


@pytest.fixture(scope="module")
def tasks(phantom_tasks):
    return phantom_tasks[:4]


@pytest.fixture(scope="module")
def plain(one, tasks):
    """Weights before, gradients, and weights after a step of one rank without any switch."""
    one.make()
    before = one.first("state")
    row = one.update(SftUpdate(tasks, LR))
    return before, one.first("last_gradients"), one.first("state"), row


# Offloading is refused on a CPU, where it moves nothing: but DeepSpeed takes the same way, and no GPU is at hand.
@pytest.mark.parametrize(
    "config",
    [
        dict(zero_stage=1, micro_batch_tokens=300),
        dict(zero_stage=2, gradient_checkpointing=True),
        pytest.param(dict(zero_stage=3), marks=pytest.mark.slow),
        pytest.param(dict(zero_stage=2, offload="optimiser", micro_batch_tokens=300), marks=pytest.mark.slow),
        dict(zero_stage=3, offload="parameters"),
    ],
    ids=str,
)
def test_two_ranks_make_the_step_of_one(two, plain, tasks, config):
    """That gradients do not depend on the layout is shown in test_grpo_step.py; this is what becomes of them."""
    _, gradients, after, row = plain
    two.make_unchecked(ENTIRELY, **config)
    ours, found = two.update(SftUpdate(tasks, LR)), two.first("last_gradients")
    assert ours["loss"] == pytest.approx(row["loss"], rel=1e-5) and ours["grad_norm"] == pytest.approx(
        row["grad_norm"], rel=1e-5
    )
    assert sum(np.square(found[name] - gradients[name]).sum() for name in gradients) ** 0.5 < 1e-5 * row["grad_norm"]
    for name, value in two.first("state").items():
        # AdamW's first step is the gradient's sign: where the gradient is next to nothing, rounding decides it.
        assert (np.abs(value - after[name]) > 1e-5).mean() < 1e-3, name


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_an_offloaded_optimiser_learns_the_same(two, tasks, stage, dtype):
    """Over several steps of several micro-batches."""
    learnt = []
    for offload in ("none", "optimiser"):
        two.make_unchecked(ENTIRELY, zero_stage=stage, dtype=dtype, offload=offload, micro_batch_tokens=300)
        rows = [two.update(SftUpdate(tasks, LR)) for _ in range(4)]
        learnt.append([(row["loss"], row["grad_norm"]) for row in rows])
    assert np.allclose(*learnt, rtol=1e-4 if dtype == "float32" else 0.02)
    assert learnt[0][-1][0] < learnt[0][0][0]


def test_what_is_frozen_keeps_its_weights(two, plain, tasks):
    before, *_ = plain
    two.make(zero_stage=2, gradient_checkpointing=True, freeze=Freeze(vision=True, embedding=True, layers=2))
    two.update(SftUpdate(tasks, LR))
    stay = {name for name, value in two.first("state").items() if (value == before[name]).all()}
    frozen = {
        name
        for name in before
        if ("visual" in name and "merger" not in name)
        or "embed_tokens" in name
        or ".layers.0." in name
        or ".layers.1." in name
    }
    assert stay == frozen and any(".layers.2." in name for name in before) and any("merger" in name for name in before)


def test_freezing_what_is_not_there_is_refused(tiny_model):
    model = AutoModelForImageTextToText.from_pretrained(tiny_model)
    for what, why in (
        (Freeze(layers=4), "layers: 4 is too many, the language model has 3 layers"),
        (Freeze(vision=True, projector=True, embedding=True, layers=3), None),
    ):
        with pytest.raises(ValueError, match=why) if why else nullcontext():
            freeze(model, what)
    assert [name for name, p in model.named_parameters() if p.requires_grad] == [
        "model.language_model.norm.weight",
        "lm_head.weight",
    ]
    text = nn.ModuleDict({"layers": nn.ModuleList([nn.Linear(2, 2)])})
    for what, why in (
        (Freeze(vision=True), "vision: this model has no part"),
        (Freeze(layers=1), "nothing is left to train"),
    ):
        with pytest.raises(ValueError, match=why):
            freeze(text, what)


def test_checkpointed_layers_are_computed_twice(tiny_model):
    model = AutoModelForImageTextToText.from_pretrained(tiny_model)
    calls = []
    for tower in (model.model.language_model.layers, model.model.visual.blocks):
        tower[0].mlp.register_forward_pre_hook(lambda module, *_: calls.append(module))
    checkpoint_layers(model)
    assert not any(
        module.training for name, module in model.named_modules() if name.endswith("attn")
    )  # nothing drops out
    pixels = torch.rand(16, 3 * 2 * 14**2)
    (
        model.model.get_image_features(pixels, torch.tensor([[1, 4, 4]])).pooler_output[0].sum()
        + model(torch.tensor([[1, 2, 3]])).logits.sum()
    ).backward()
    assert len(calls) == 4 and len(set(calls)) == 2


def test_parts_learn_at_their_own_rates(two, plain, tasks):
    """AdamW's first step is the learning rate, whatever the gradient's size; decay comes on top of it."""
    before, gradients, *_ = plain
    two.make(zero_stage=3, weight_decay=0, lr_scale={"vision": 0.25, "projector": 0.5})
    two.update(SftUpdate(tasks, LR))
    for name, value in two.first("state").items():
        scale = 0.5 if "merger" in name else 0.25 if "visual" in name else 1
        if np.abs(gradients["model." + name]).max() > 1e-4:
            assert np.abs(value - before[name]).max() == pytest.approx(scale * LR, rel=0.01), name


@pytest.mark.parametrize(
    "dtype, stage",
    [
        pytest.param("float32", 0, marks=pytest.mark.slow),
        ("float32", 2),
        ("bfloat16", 1),
        pytest.param("bfloat16", 2, marks=pytest.mark.slow),
        ("bfloat16", 3),
    ],
)
def test_a_rank_holds_what_the_plan_counts(two, tiny_model, tasks, dtype, stage):
    """Weights, sums of gradients, master weights and moments, right before an update."""
    two.make(ENTIRELY | {"reduce_bucket_size": 10_000}, dtype=dtype, zero_stage=stage)
    two.update(SftUpdate(tasks, LR))  # makes the moments
    real = two.all("bytes_at_the_update", SftUpdate(tasks, LR))
    shape = shape_of(ModelConfig(path=tiny_model))
    recipe = load_recipe(
        RECIPES / "quickstart.yaml", [f"learner.dtype={dtype}", f"learner.zero_stage={stage}", "learner.workers=2"]
    )
    counted = rank_state(recipe, shape.parameters, shape.trained)
    assert real == pytest.approx([sum(counted.values()) - counted["reference"]] * 2, rel=0.07)  # and films


@pytest.mark.parametrize("ranks, stage", [(1, 1), (2, 3)])
def test_bfloat16_keeps_small_steps_in_master_weights(one, two, plain, tasks, ranks, stage):
    """A norm's weight is 1; the next number below in bfloat16 is 0.996. Six steps of 0.001 get there, one alone does
    not.
    """
    *_, row = plain
    world = two if ranks == 2 else one
    world.make(dtype="bfloat16", zero_stage=stage)
    rows = [world.update(SftUpdate(tasks, LR))]
    assert rows[0]["loss"] == pytest.approx(row["loss"], rel=2e-3) and rows[0]["grad_norm"] == pytest.approx(
        row["grad_norm"], rel=0.02
    )
    norms = [name for name in world.first("state") if "language_model" in name and "norm" in name]
    assert all((world.first("state")[name] == 1).all() for name in norms)
    rows += [world.update(SftUpdate(tasks, LR)) for _ in range(5)]
    state = world.first("state")
    assert np.mean([(state[name] < 1).mean() for name in norms]) > 0.1
    assert rows[-1]["loss"] < rows[0]["loss"]


@pytest.mark.parametrize(
    "ranks, config",
    [
        (1, {}),
        pytest.param(2, {}, marks=pytest.mark.slow),
        (2, dict(zero_stage=1, dtype="bfloat16")),
        pytest.param(2, dict(zero_stage=2), marks=pytest.mark.slow),
        (2, dict(zero_stage=3)),
    ],
    ids=str,
)
def test_a_gradient_that_is_not_finite_changes_nothing_on_any_rank(one, two, tiny_model, tasks, ranks, config):
    """One rank's group has an infinite reward."""
    training, groups = GrpoTraining(credit="response"), two_groups(tiny_model, tasks)
    worth = groups[1].verdicts[0]
    broken = [groups[0], replace(groups[1], verdicts=(worth._replace(total=np.inf), worth))]
    world = two if ranks == 2 else one
    world.make(**config)
    world.update(GrpoUpdate(groups, training, LR, 1.0))
    before = world.first("state")
    results = world.every(GrpoUpdate(broken, training, LR, 1.0))
    samples = [sample for result in results for sample in result.non_finite_samples]
    assert all(result.numbers["skipped"] == 1 and "loss" not in result.numbers for result in results)
    assert len({sample["rank"] for sample in samples}) == 1 and len(samples) == 2
    assert samples[0]["images"] == list(groups[1].group.task.images) and not np.isfinite(samples[0]["advantages"]).any()
    assert [len(sample["response_ids"]) for sample in samples] == [20, 21]
    assert same(world.first("state"), before)
    after = world.update(GrpoUpdate(groups, training, LR, 1.0))
    skipping = world.first("state")
    world.make(**config)
    world.update(GrpoUpdate(groups, training, LR, 1.0))
    straight = world.update(GrpoUpdate(groups, training, LR, 1.0))
    assert same(world.first("state"), skipping) and after == straight and straight["skipped"] == 0
