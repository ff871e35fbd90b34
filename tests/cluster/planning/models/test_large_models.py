"""Plans of the published sizes from their configurations alone, against sums worked out by hand."""

import json

import pytest

from cluster.config.recipe_file import load_recipe
from cluster.planning.model_shape import shape_of
from cluster.planning.nodes import parse_nodes
from cluster.planning.plan import make_plan
from cluster.planning.worker_memory import GIB, resting_memory
from tests.support.plans import MODEL, RECIPES, TEXT, VISION

# hidden, layers, intermediate, heads, key-value heads, vocabulary, intermediate of the tower; parameters as published
SIZES = {
    "3B": ((2048, 36, 11008, 16, 2, 151936, 3420), 3_754_622_976),
    "7B": ((3584, 28, 18944, 28, 4, 152064, 3420), 8_292_166_656),
    "32B": ((5120, 64, 27648, 40, 8, 152064, 3456), 33_452_718_336),
    "72B": ((8192, 80, 29568, 64, 8, 152064, 3456), 73_410_777_344),
}
LIBRARIES, BUCKETS = 2 * GIB, 2 * 2 * 500_000_000  # two of 500 million gradients in bfloat16, with ZeRO 3


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    def folder_of(size):
        numbers, _ = SIZES[size]
        text = dict(zip(TEXT, (numbers[0], *numbers[1:6]), strict=True))
        vision = VISION | dict(out_hidden_size=numbers[0], intermediate_size=numbers[6])
        config = text | MODEL | dict(vision_config=vision, tie_word_embeddings=size == "3B")
        folder = tmp_path_factory.mktemp(size)
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return folder_of


def plan_of(folder, cluster, recipe="cx_mind_7b", *settings):
    loaded = load_recipe(RECIPES / f"{recipe}.yaml", [f"model.path={folder}", *settings])
    return make_plan(loaded, shape_of(loaded.model, loaded.learner), cluster, parse_nodes([cluster]))


@pytest.mark.parametrize("size", SIZES)
def test_parameters_are_counted_as_published(folder_of, size):
    assert plan_of(folder_of(size), "1x8x80").shape.parameters == SIZES[size][1]


@pytest.mark.parametrize(
    "size, gpus, gib, engine_gpus, fits",
    [
        ("7B", 4, 80, 1, False),  # two ranks keep 73 GiB each, and an update takes 7.5 GiB more
        ("7B", 4, 141, 1, True),
        ("7B", 8, 80, 1, True),
        ("32B", 8, 80, 2, False),  # a rank of four keeps 146 GiB
        ("32B", 16, 141, 2, True),
        ("72B", 16, 80, 4, False),
        ("72B", 64, 80, 4, True),
        ("72B", 16, 141, 4, False),  # 165 GiB
        ("72B", 64, 141, 4, True),
    ],
)
def test_half_the_gpus_learn_by_zero_3_and_the_others_write(folder_of, size, gpus, gib, engine_gpus, fits):
    """The optimiser keeps 12 bytes of each weight, gradients take 4, the weights 2; all are divided among the ranks.

    The reference is left out, since each rank would hold it whole. An engine's GPU has its part of the weights.
    """
    count, ranks = SIZES[size][1], gpus // 2
    settings = [
        f"learner.workers={ranks}",
        "learner.zero_stage=3",
        "learner.micro_batch_tokens=8192",
        f"rollout.gpus={engine_gpus}",
        f"rollout.workers={ranks // engine_gpus}",
    ]
    for stage in ("closed", "open"):
        settings += [f"stages.{stage}.training.kl=0", f"stages.{stage}.training.tasks_per_step=256"]
    nodes = f"{max(1, gpus // 8)}x{min(gpus, 8)}x{gib}"
    plan = plan_of(folder_of(size), nodes, "cx_mind_7b", *settings)
    kept = 18 * count / ranks + BUCKETS + LIBRARIES
    assert resting_memory(plan.recipe, plan.shape) == pytest.approx(kept)
    assert kept < plan.memory["learner"].total  # with what the worst moment adds
    assert plan.memory["rollout"].parts["weights"] == pytest.approx(2 * count / engine_gpus)
    assert plan.fits == fits, [fault.text for fault in plan.faults]


def test_three_billion_fit_four_gpus_of_80_gib_in_turn_and_adapters_one_of_24(folder_of):
    """As the recipes say. A rank has all weights; gradients and optimiser may be of adapters alone."""
    count = SIZES["3B"][1]
    four = plan_of(folder_of("3B"), "1x4x80,cpus=32,ram=256", "cx_mind_3b_4gpu")
    rank = four.memory["learner"].parts
    assert rank["weights"] == 2 * count == rank["reference"] and rank["optimiser"] == pytest.approx(12 * count / 4)
    assert four.fits and all(load.holds["learner"] == load.holds["rollout"] == 4 for load in four.placement.loads)
    one = plan_of(folder_of("3B"), "1x1x24,cpus=8,ram=64", "cx_mind_3b_1gpu_lora")
    adapters = one.shape.trained
    assert one.memory["learner"].parts["weights"] == 2 * (count + adapters) and adapters < count / 50
    assert one.fits
