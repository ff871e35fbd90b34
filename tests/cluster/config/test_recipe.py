"""Every recipe that is shipped can be read, and says what it means."""

from pathlib import Path

import pytest
import yaml

from cluster.config.recipe_file import load_recipe
from cluster.errors import UserError

RECIPES = sorted((Path(__file__).parents[3] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_a_recipe_reads_and_survives_the_run_folder(path, tmp_path):
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    others = {"sft": (1, 0), "lora": (0, 2), "cx_mind_full": (3, 2), "full_small": (2, 2), "distil": (1, 1)}
    supervised, reinforced = others.get(recipe.name, (1, 2))
    assert [stage.kind for stage in recipe.stages] == ["sft"] * supervised + ["grpo"] * reinforced
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    assert load_recipe(tmp_path / "recipe.yaml") == recipe
    for stage in recipe.stages:
        assert sum(stage.mixture.values()) == pytest.approx(1)


def test_engines_that_sleep_do_not_write_ahead():
    sleep, ahead = "rollout.sleep=true", "stages.closed.training={max_staleness: 1, correction: token}"
    assert load_recipe(RECIPES[0].with_name("smoke.yaml"), [sleep]).rollout.sleep
    with pytest.raises(UserError, match="stages.closed.training.max_staleness: engines that sleep"):
        load_recipe(RECIPES[0].with_name("smoke.yaml"), [sleep, ahead])


APART, SHARED = ("rollout.gpus=1", "learner.gpus=1"), ("rollout.gpus=0.5", "learner.gpus=0.5")


@pytest.mark.parametrize(
    "settings, transport",
    [
        ((), "store"),
        (APART, "collective"),
        (("rollout.gpus=2", "learner.gpus=1"), "collective"),
        (SHARED, "store"),
        ((*APART, "rollout.sleep=true"), "store"),
        (("learner.gpus=1",), "store"),
        (("transport=collective",), "collective"),
        ((*APART, "transport=store"), "store"),
    ],
)
def test_weights_go_straight_to_engines_where_all_have_gpus_of_their_own_or_where_it_is_asked_for(settings, transport):
    assert load_recipe(RECIPES[0].with_name("smoke.yaml"), settings).weight_transport.name == transport


@pytest.mark.parametrize(
    "settings", [SHARED, ("rollout.sleep=true",), ("learner.gpus=1",), ("rollout.gpus=1", "learner.gpus=0.5")]
)
def test_a_broadcast_is_refused_where_gpus_are_shared(settings):
    with pytest.raises(
        UserError,
        match="transport: collective joins processes with a whole GPU each, or with none at all: set it to "
        "store or auto, found rollout.gpus",
    ):
        load_recipe(RECIPES[0].with_name("smoke.yaml"), [*settings, "transport=collective"])


ONE_EACH = ("rollout.sleep=true", "rollout.gpus=0.4", "learner.gpus=0.6", "rollout.workers=2", "learner.workers=2")


@pytest.mark.parametrize(
    "settings, fault",
    [
        (ONE_EACH, None),
        (("rollout.sleep=true", *SHARED), None),  # one of each
        ((*SHARED, "rollout.workers=2"), None),  # engines that each take their own part
        ((*ONE_EACH, "rollout.gpus=0.5"), "found 0.5 for 2 and 0.6 for 2"),
        ((*ONE_EACH, "rollout.workers=3"), "found 0.4 for 3 and 0.6 for 2"),
        ((*ONE_EACH, "rollout.min=1", "rollout.max=4"), "found 0.4 for 4 and 0.6 for 2"),
        ((*ONE_EACH, "learner.min_workers=1"), "found 0.4 for 2 and 0.6 for 1"),
        ((*SHARED, "learner.workers=2"), "learner.gpus: 0.5 would put two of 2 ranks on one GPU"),
    ],
)
def test_parts_of_gpus_that_would_put_two_of_a_kind_on_one_are_refused(settings, fault):
    recipe = RECIPES[0].with_name("smoke.yaml")
    if fault is None:
        load_recipe(recipe, settings)
    else:
        with pytest.raises(UserError, match=fault):
            load_recipe(recipe, settings)


@pytest.mark.parametrize("words_left_out", ["rollout.top_p=0.9", "rollout.top_k=40", "rollout.min_p=0.05"])
def test_sampling_from_a_part_of_the_words_needs_a_correction(words_left_out):
    recipe = RECIPES[0].with_name("smoke.yaml")
    corrected = [f"stages.{stage}.training.correction=token" for stage in ("closed", "open")]
    assert load_recipe(recipe, [words_left_out, *corrected]).rollout.leaves_words_out
    with pytest.raises(UserError, match="stages.closed.training.correction: none: rollout.top_p, top_k and min_p"):
        load_recipe(recipe, [words_left_out])


@pytest.mark.parametrize(
    "settings, words",
    [
        (["model.max_pixels=0"], "model.max_pixels: .* greater than 0"),
        (["model.min_pixels=3137", "model.max_pixels=3136"], "model: min_pixels 3137 is above max_pixels 3136"),
    ],
)
def test_a_pixel_budget_that_cannot_be_is_refused(settings, words):
    with pytest.raises(UserError, match=words):
        load_recipe(RECIPES[0].with_name("smoke.yaml"), settings)
