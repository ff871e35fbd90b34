"""Advice that makes a plan fit."""

import json

import pytest

from cluster.config.recipe_file import with_settings
from cluster.planning.nodes import Node
from cluster.planning.plan import make_plan
from cluster.planning.plan_advice import advise
from cluster.planning.plan_tables import to_dict
from cluster.planning.worker_memory import GIB
from tests.support.plans import quickstart


@pytest.mark.parametrize(
    "cluster, settings",
    [
        ("2x8x141,cpus=96,ram=1024", []),
        ("1x8x80,cpus=96,ram=1024", []),
        ("1x8x80", ["learner.zero_stage=1"]),
        ("4x8x40", ["learner.workers=16", "learner.zero_stage=3"]),
        ("1x8x141", ["rollout.gpus=4"]),
        ("1x8x141", ["rollout.gpus=0.5"]),
        ("8x1x141,cpus=4,ram=128", []),
    ],
)
def test_advice_that_is_followed_fits(seven, cluster, settings):
    plan = seven(cluster, *settings)
    advice = advise(plan)
    assert not plan.fits and advice.settings
    followed = [f"{key}={json.dumps(value)}" for key, value in advice.settings.items()]  # as a user gives them
    again = seven(cluster, *settings, *followed)
    assert again.fits, again.faults
    for alternative in advice.alternatives:
        alone = make_plan(with_settings(plan.recipe, alternative.settings), plan.shape, plan.source, plan.nodes)
        assert alone.fits == alternative.fits


@pytest.mark.parametrize(
    "nodes, settings",
    [
        ([Node("n", 1.0, ram=16 * GIB)], ["rollout.workers=4"]),
        ([Node("n", 2.0, ram=9 * GIB)], ["rollout.kv_cache_gib=4"]),
        ([Node("n", 2.0)], ["rollout.max_model_tokens=1000000"]),
        ([Node("n", 1.0)], ["rollout.cpus=2", "rollout.workers=3", "rollout.min=2", "rollout.max=4"]),
        ([Node("n", 4.0, learner=1.0)], ["learner.workers=4", "learner.min_workers=3"]),
    ],
)
def test_advice_for_cpus_that_is_followed_fits(nodes, settings):
    advice = advise(quickstart(nodes, *settings))
    assert advice.settings
    assert quickstart(nodes, *settings, *(f"{key}={json.dumps(value)}" for key, value in advice.settings.items())).fits


def test_what_changes_no_result_is_advised_first(seven):
    assert advise(seven("2x8x141", "rollout.max_model_tokens=8192")).settings == {
        "learner.zero_stage": 3,
        "learner.micro_batch_tokens": 8192,
    }


def test_where_nothing_helps_it_is_said(seven):
    plan = seven("1x8x12")
    advice = advise(plan)
    assert advice.settings is None and advice.needs["rollout"] > 12 * GIB
    assert "no settings were found" in to_dict(plan, advice)["summary"]


def test_a_gpu_of_24_gib_holds_a_rank_of_seven_billion_parameters(seven):
    settings = advise(seven("1x8x24")).settings
    assert settings["learner.gradient_checkpointing"] and settings["learner.offload"] == "optimiser"
