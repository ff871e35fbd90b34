"""The memory of one worker, against the literature and against torch."""

import math

import numpy as np
import pytest

from cluster.config.recipe import ModelConfig
from cluster.config.recipe_file import load_recipe
from cluster.errors import UserError
from cluster.planning.footprint import version_parameters
from cluster.planning.model_shape import shape_of
from cluster.planning.nodes import Node
from cluster.planning.worker_memory import GIB, activations, rank_state, rollout_memory
from tests.support.plans import PARAMETERS, RECIPES, quickstart


@pytest.mark.parametrize(
    "ranks, stage, weights, gradients, optimiser",
    [(4, 1, 2, 6, 3), (4, 2, 2, 1, 3), (4, 3, 0.5, 1, 3), (8, 3, 0.25, 0.5, 1.5)],
)
def test_zero_shares_out_a_ranks_state(seven, ranks, stage, weights, gradients, optimiser):
    """Bytes per parameter: 2 for a bfloat16 weight, 4 for its gradients, 12 for the master copy and Adam's moments."""
    recipe = seven("1x8x80", f"learner.workers={ranks}", f"learner.zero_stage={stage}").recipe
    state = rank_state(recipe, PARAMETERS, PARAMETERS)
    buckets = 1e9 if stage < 3 else 2e9  # 5e8 gradients of 2 bytes, twice where ZeRO-3 overlaps
    assert state["weights"] == weights * PARAMETERS and state["gradients"] == gradients * PARAMETERS + buckets
    assert state["optimiser"] == optimiser * PARAMETERS and state["reference"] == 2 * PARAMETERS


def test_what_is_not_trained_has_neither_gradients_nor_moments(seven):
    frozen = seven("1x8x80", "learner.freeze={vision: true, projector: true}")
    assert frozen.shape.trained == 7_615_616_512  # the parameters of Qwen2.5-7B, its language model
    lora = seven("1x8x80", "learner.lora={rank: 16}")
    pairs = (
        2 * (3584 + 3584) + 2 * (3584 + 512) + 3 * (3584 + 18944)
    )  # of q, o; k, v; gate, up, down: widths in and out
    adapters = lora.shape.trained
    assert adapters == 28 * 16 * pairs and lora.shape.parameters == PARAMETERS
    parts = lora.memory["learner"].parts
    assert parts["weights"] == 2 * (PARAMETERS + adapters) and parts["optimiser"] == 3 * adapters
    assert parts["gradients"] == 1 * adapters + 1e9 and parts["reference"] == 2 * adapters
    assert "stages.closed.training.lr: 1e-06 is a rate for whole weights" in lora.notes[0] and len(lora.notes) == 3
    with pytest.raises(UserError, match="learner.freeze.layers: 29 is too many, the language model has 28 layers"):
        seven("1x8x80", "learner.freeze.layers=29")


def test_adapters_that_travel_alone_are_what_a_version_takes(seven):
    """In the object store, and beside an engine's base weights."""
    alone, merged = (
        seven(
            "1x8x80", f"learner.lora={{rank: {rank}, targets: [language]}}", "learner.zero_stage=3", "transport=store"
        )
        for rank in (512, 513)
    )
    assert "alone" in alone.notes[-1] and "of rank 512 at most" in merged.notes[-1]
    adapters = alone.shape.trained
    assert version_parameters(alone.recipe, PARAMETERS, adapters) == adapters
    assert version_parameters(merged.recipe, PARAMETERS, adapters) == PARAMETERS
    weights = [plan.memory["rollout"].parts["weights"] for plan in (alone, merged)]
    assert weights[0] - weights[1] == 2 * adapters


def test_what_is_offloaded_lies_in_the_ram(seven):
    """ZeRO-Offload (arXiv 2101.06840, §4.1): per parameter 2 bytes stay on the GPU, 16 go to RAM."""
    whole = seven("1x8x80", "learner.offload=optimiser").memory["learner"]
    assert whole.parts["weights"] == 2 * PARAMETERS and not whole.parts["optimiser"] and not whole.parts["reference"]
    assert whole.parts["gradients"] == 1e9  # the bucket
    plain = seven("1x8x80").memory["learner"]
    assert whole.ram - plain.ram == (16 / 4 + 2) * PARAMETERS  # on four ranks, and the reference
    sharded = seven("1x8x80", "learner.offload=parameters", "learner.zero_stage=3").memory["learner"]
    assert sharded.parts["weights"] == 2e9 and sharded.ram - whole.ram == 2 / 4 * PARAMETERS


def test_every_rank_holds_teachers_and_references_of_other_folders_whole(seven, seven_billion):
    teacher = f"{{path: {seven_billion}, weight: 0.5}}"
    plain = seven("1x8x80").memory["learner"]
    taught = seven("1x8x80", f"stages.closed.training.teacher={teacher}", f"stages.open.training.teacher={teacher}")
    parts = taught.memory["learner"].parts
    assert parts["other models"] == 2 * PARAMETERS == parts["reference"] and not plain.parts["other models"]
    measured = [f"stages.{stage}.training.reference_path={seven_billion}" for stage in ("closed", "open")]
    parts = seven("1x8x80", *measured).memory["learner"].parts
    assert (parts["other models"], parts["reference"]) == (2 * PARAMETERS, 0)  # in place of the stage's start
    away = "learner.offload=optimiser"
    offloaded = seven("1x8x80", away, f"stages.closed.training.teacher={teacher}").memory["learner"]
    assert offloaded.ram - seven("1x8x80", away).memory["learner"].ram == 2 * PARAMETERS


def test_zero_3_does_not_have_the_whole_weights_at_any_time(seven):
    memory = seven(
        "16x8x80",
        "learner.workers=16",
        "learner.zero_stage=3",
        "learner.micro_batch_tokens=256",
        "rollout.max_model_tokens=256",
        "rollout.max_response_tokens=128",
    ).memory["learner"]
    assert memory.when != "publishing" and memory.parts["weights"] == 2 * PARAMETERS / 16


def learning(tiny_model, phantom_tasks, response, dtype, more):
    """A recipe, and what a learner does with the largest pack that it allows: (recipe, policy, pack)."""
    import torch

    from actors.learner.deepspeed_engine import checkpoint_layers, choose_trained
    from actors.model.encode import Encoder, PromptConfig
    from actors.model.policy import Policy
    from actors.trajectory import Sample

    encoder = Encoder(tiny_model, PromptConfig())
    policy = Policy(tiny_model, encoder, getattr(torch, dtype))
    prompt, count = encoder.expand(phantom_tasks[0]), 3
    length = len(prompt) + response
    recipe = load_recipe(
        RECIPES / "quickstart.yaml",
        [
            f"rollout.max_model_tokens={length}",
            f"rollout.max_response_tokens={response}",
            f"learner.dtype={dtype}",
            "learner.zero_stage=1",
            f"learner.micro_batch_tokens={length * count}",
            *more,
        ],
    )
    choose_trained(policy.model, recipe.learner)
    if recipe.learner.gradient_checkpointing:
        checkpoint_layers(policy.model)
    films = list(dict.fromkeys(task.images for task in phantom_tasks))[:count]
    samples = [Sample(prompt, images, np.full(response, 300, np.int32)) for images in films]
    return recipe, policy, policy.collate(samples, range(count), torch.device("cpu"))


@pytest.mark.parametrize(
    "response, dtype, more",
    [
        (240, "float32", []),
        (60, "float32", []),
        (240, "bfloat16", []),
        (60, "bfloat16", []),
        (240, "bfloat16", ["learner.lora={rank: 16}"]),
        (60, "float32", ["learner.freeze.vision=true"]),
    ],
)
def test_the_activations_are_those_that_torch_keeps(tiny_model, phantom_tasks, response, dtype, more):
    import torch

    recipe, policy, batch = learning(tiny_model, phantom_tasks, response, dtype, more)
    own = {tensor.untyped_storage().data_ptr() for tensor in (*policy.parameters(), *policy.buffers())}
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        policy(batch, 1.0)
    real = sum(size for place, size in kept.items() if place not in own)
    parts = activations(recipe, shape_of(ModelConfig(path=tiny_model)))
    assert parts["activations"] == pytest.approx(real, rel=0.1)  # and no logits


@pytest.mark.parametrize("response", [60, 500])
def test_checkpointed_layers_leave_their_inputs_and_one_layer(tiny_model, phantom_tasks, response):
    """By all that torch takes and gives back while it learns."""
    from torch.profiler import ProfilerActivity, profile

    recipe, policy, batch = learning(
        tiny_model, phantom_tasks, response, "float32", ["learner.gradient_checkpointing=true"]
    )
    for parameter in policy.parameters():
        parameter.grad = parameter.detach().clone()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        policy(batch, 1.0)[0].sum().backward()
    events = sorted(
        (e for e in watched.profiler.kineto_results.events() if e.name() == "[memory]"), key=lambda e: e.start_ns()
    )
    real = np.cumsum([event.nbytes() for event in events]).max()
    parts = activations(recipe, shape_of(ModelConfig(path=tiny_model)))
    assert sum(parts.values()) == pytest.approx(real, rel=0.15)


def test_an_engine_fills_its_gpu_with_kv_cache(seven):
    plan = seven("1x8x80")
    memory = plan.memory["rollout"]
    assert memory.total == pytest.approx(0.9 * 80 * GIB) and memory.parts["weights"] == 2 * PARAMETERS
    assert plan.sequences == math.floor(memory.parts["KV cache"] / (57_344 * 10240))
    split = seven("1x8x80", "rollout.gpus=2").memory["rollout"]
    assert split.parts["weights"] == PARAMETERS
    assert rollout_memory(plan.recipe, plan.shape, None).parts["KV cache"] == 0


def test_an_engine_that_has_no_room_for_a_sequence(seven):
    plan = seven("4x8x16", "learner.gpus=0", "learner.dtype=float32")
    assert [fault.kind for fault in plan.faults] == ["rollout"] and "KV cache of one sequence" in plan.faults[0].text
    (fault,) = quickstart([Node("n", 4.0)], "rollout.max_model_tokens=1000000").faults
    assert "1,000,000 tokens takes 1.4 GiB of KV cache, an engine has 1.0 GiB" in fault.text
