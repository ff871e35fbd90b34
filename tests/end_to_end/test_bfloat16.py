"""A whole run in bfloat16, as on GPUs: both sides round, and each version of the weights passes the usual tolerance."""

import json

import pytest

from cluster.config.recipe_file import load_recipe
from cluster.run.launch import start
from tests.support.short_run import SMOKE


@pytest.mark.slow
def test_the_smoke_recipe_gets_through_in_bfloat16(ray_session, tmp_path):
    half = ["rollout.dtype=bfloat16", "learner.dtype=bfloat16", "learner.zero_stage=1"]
    recipe = load_recipe(SMOKE, half)
    assert recipe.rollout.probe_tolerance is None
    assert start(recipe, tmp_path / "run") == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "finished" and [stage["name"] for stage in summary["stages"]] == [
        "sft",
        "closed",
        "open",
    ]
