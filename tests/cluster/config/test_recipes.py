"""Every recipe that is shipped can be read, and says what it means."""

import re
from pathlib import Path

import pytest
import yaml

from cluster.config.recipe import Recipe, load_recipe
from cluster.errors import UserError

RECIPES = sorted((Path(__file__).parents[3] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_a_recipe_reads_and_survives_the_run_folder(path, tmp_path):
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    parts = {"sft": slice(0, 1), "lora": slice(1, 3)}  # those that are parts of the method
    assert [stage.kind for stage in recipe.stages] == ["sft", "grpo", "grpo"][parts.get(recipe.name, slice(None))]
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    assert load_recipe(tmp_path / "recipe.yaml") == recipe
    for stage in recipe.stages:
        assert sum(stage.mixture.values()) == pytest.approx(1)


def test_settings_are_laid_over_a_recipe():
    recipe = load_recipe(
        RECIPES[0].with_name("smoke.yaml"),
        ["stages.closed.training.lr=2e-5", "stages.0.gate.max_steps=7", "seed=3", "model={tiny: {layers: 2}}"],
    )
    assert isinstance(recipe, Recipe) and recipe.stages[1].training.lr == 2e-5 and recipe.stages[0].gate.max_steps == 7
    assert recipe.seed == 3 and recipe.model.tiny.layers == 2


def test_engines_that_sleep_do_not_write_ahead():
    sleep, ahead = "rollout.sleep=true", "stages.closed.training={max_staleness: 1, correction: token}"
    assert load_recipe(RECIPES[0].with_name("smoke.yaml"), [sleep]).rollout.sleep
    with pytest.raises(UserError, match="stages.closed.training.max_staleness: engines that sleep"):
        load_recipe(RECIPES[0].with_name("smoke.yaml"), [sleep, ahead])


APART, SHARED = ("rollout.gpus=1", "learner.gpus=1"), ("rollout.gpus=0.5", "learner.gpus=0.5")


@pytest.mark.parametrize(
    "settings, collective",
    [
        ((), False),
        (APART, True),
        (("rollout.gpus=2", "learner.gpus=1"), True),
        (SHARED, False),
        ((*APART, "rollout.sleep=true"), False),
        (("learner.gpus=1",), False),
        (("transport=collective",), True),
        ((*APART, "transport=store"), False),
    ],
)
def test_weights_go_straight_to_engines_where_all_have_gpus_of_their_own_or_where_it_is_asked_for(settings, collective):
    assert load_recipe(RECIPES[0].with_name("smoke.yaml"), settings).collective == collective


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


@pytest.mark.parametrize(
    "setting, words",
    [
        (
            "checkpoint.storage=s3://me:hunter2hunter2@bucket/runs",
            "checkpoint.storage: looks like a URI with a password",
        ),
        (
            "checkpoint.storage=s3://bucket/runs?secret_key=hunter2hunter2",
            "checkpoint.storage: looks like a URI with a key",
        ),
        ("name=AKIA" + "HUNTER2HUNTER2XX", "name: looks like an AWS key"),
        (
            "reward.rules.own.judge.options.api_key=hunter2hunter2",
            "reward.rules.own.judge.options.api_key: looks like a password or key",
        ),
        ("prompt.system=use hf_" + "hunter2hunter2hunter2hunter2", "prompt.system: looks like an API key"),
        ("aws_secret_access_key=hunter2hunter2", "aws_secret_access_key: looks like a password or key"),
        ("trackers=[https://me:hunter2hunter2@host]", "trackers.0: looks like a URI with a password"),
    ],
)
def test_a_password_or_key_is_refused_and_not_told(setting, words):
    with pytest.raises(UserError, match=re.escape(words)) as told:
        load_recipe(RECIPES[0].with_name("smoke.yaml"), [setting])
    assert "environment of the cluster's nodes" in str(told.value)
    assert "hunter2" not in str(told.value).lower() and "\n" not in str(told.value)


@pytest.mark.parametrize(
    "storage",
    [
        "s3://bucket/runs?region=here&endpoint_override=127.0.0.1:9000",
        "gs://bucket/a@b/c",
        "abfs://container@account.dfs.core.windows.net/runs",
    ],
)
def test_a_uri_without_password_is_none(storage):
    assert (
        load_recipe(RECIPES[0].with_name("smoke.yaml"), [f"checkpoint.storage={storage}"]).checkpoint.storage == storage
    )
