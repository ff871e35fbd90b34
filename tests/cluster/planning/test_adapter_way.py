"""Which way adapters take, and what is said of it."""

import json
from pathlib import Path

import pytest

from cluster.config.recipe_file import load_recipe
from cluster.planning.adapter_way import adapters_alone, remarks_on_adapters

RECIPES = Path(__file__).parents[3] / "recipes"


@pytest.mark.parametrize(
    "kind, settings, why",
    [
        ("qwen2_5_vl", ["learner.lora={rank: 24, targets: [vision, projector, language]}"], ""),
        ("llama", ["learner.lora={}"], ""),
        ("internvl", ["learner.lora={}"], ""),
        (
            "internvl",
            ["learner.lora={targets: [vision, language]}"],
            "vLLM adds none in vision for models of type internvl",
        ),
        ("llava_onevision", ["learner.lora={}"], "vLLM adds none in language for models of type llava_onevision"),
        ("qwen3", ["learner.lora={rank: 600}"], "vLLM adds adapters of rank 512 at most"),
        (
            "qwen3",
            ["learner={lora: {}, dtype: bfloat16, zero_stage: 1}"],
            "the learner rounds the base weights to bfloat16, the engines would to float32",
        ),
        ("qwen3", ["learner={lora: {}, dtype: bfloat16, zero_stage: 1}", "rollout.dtype=bfloat16"], ""),
        (
            "qwen3",
            ["learner.lora={}", "rollout={gpus: 1, engine: {quantization: fp8}}"],
            "rollout.engine sets quantization",
        ),
    ],
)
def test_adapters_travel_alone_where_the_family_and_the_recipe_allow_it(tmp_path, kind, settings, why):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    recipe = load_recipe(RECIPES / "quickstart.yaml", [f"model={{path: {tmp_path}}}", *settings])
    assert adapters_alone(recipe) == (not why)
    (line,) = remarks_on_adapters(recipe)
    if why:
        assert line == f"adapters travel to the engines merged into whole weights: {why}"
    else:
        assert "alone" in line


def test_without_adapters_there_is_nothing_to_say():
    recipe = load_recipe(RECIPES / "quickstart.yaml")
    assert not adapters_alone(recipe) and remarks_on_adapters(recipe) == []
