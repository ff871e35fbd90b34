"""Whether nodes can hold a run."""

import pytest

from cluster.planning.nodes import Node, parse_nodes
from cluster.planning.plan import make_plan
from cluster.planning.plan_advice import advise
from cluster.planning.worker_memory import GIB, GPU_LIBRARIES, resting_memory
from tests.support.plans import RECIPES, quickstart


def test_fewer_ranks_that_go_on_are_enough_and_hold_more_each():
    nodes, settings = [Node("n", 4.0, learner=1.0)], ["learner.workers=4", "learner.zero_stage=2"]
    plan = quickstart(nodes, *settings, "learner.min_workers=1")
    assert plan.fits and plan.placement.loads[0].holds["learner"] == 1
    assert "learner workers may be up to 4; this is for 1" in plan.notes
    assert not quickstart(nodes, *settings).fits
    assert plan.memory["learner"].total > quickstart(nodes, *settings).memory["learner"].total


def test_ram_is_counted_by_node():
    assert quickstart([Node("small", 2.0, ram=13 * GIB)]).fits
    (fault,) = quickstart([Node("small", 2.0, ram=8 * GIB)]).faults
    assert fault.about == "RAM" and fault.text.startswith(
        "small: has 8.0 GiB of RAM and would need 12.1 GiB (2 rollout"
    )


def test_gpus_of_a_size_that_nobody_says_are_not_judged(seven):
    shape, recipe = seven("1x8x80").shape, seven("1x8x80").recipe
    plan = make_plan(recipe, shape, "a cluster", [Node("n", 96.0, 8)])
    assert plan.fits and plan.sequences is None and "is unknown" in plan.notes[0]


IN_TURN = [
    "rollout.sleep=true",
    "rollout.gpus=0.4",
    "learner.gpus=0.6",
    "rollout.workers=8",
    "learner.workers=8",
    "learner.gradient_checkpointing=true",
    "stages.closed.training.max_staleness=0",
    "stages.open.training.max_staleness=0",
]


def test_an_engine_and_the_rank_that_rests_beside_it_fit_on_one_gpu_together(seven):
    """A rank has its GPU but for what a sleeping engine keeps; while the engine generates, the rank keeps its state."""
    plan = seven("1x8x80", *IN_TURN, "rollout.gpu_memory=0.9", "learner.zero_stage=2")
    assert plan.limits["learner"] == 80 * GIB - GPU_LIBRARIES["rollout"]
    kept = resting_memory(plan.recipe, plan.shape)
    (fault,) = [fault for fault in plan.faults if fault.about == "turns"]
    assert fault.kind == "learner" and fault.excess == pytest.approx(0.9 * 80 * GIB + kept - 80 * GIB)
    assert "while an engine generates it takes 72.0 GiB (rollout.gpu_memory)" in fault.text
    settings = advise(plan).settings
    assert settings["rollout.gpu_memory"] * 80 * GIB + kept <= 80 * GIB
    assert not seven("1x8x80", *IN_TURN, f"rollout.gpu_memory={settings['rollout.gpu_memory']}").faults


@pytest.mark.parametrize(
    "setting, words",
    [
        ("rollout.gpus=1.5", "rollout.gpus: 1.5: Ray gives a worker whole GPUs, or a part of one"),
        ("rollout.gpus=3", "rollout.gpus: 3: the model's 28 heads cannot be divided evenly"),
        ("learner.gpus=2", "learner.gpus: 2: a rank works on one GPU"),
        ("rollout.max_response_tokens=10240", "rollout.max_model_tokens: 10240 leaves no tokens for a prompt"),
        ("rollout.gpu=1", "rollout.gpu: unknown key; did you mean 'gpus'?"),
    ],
)
def test_a_wrong_setting_is_named(plan_command, seven_billion, setting, words):
    code, _, err = plan_command(
        RECIPES / "cx_mind_7b.yaml", "--set", f"model.path={seven_billion}", "--set", setting, "--cluster", "1x8x80"
    )
    assert code == 2 and words in err and len(err.splitlines()) == 1


def test_workers_of_a_rule_are_placed_and_their_unknown_memory_is_told():
    judge = '{"judge": {"rule": "m:Judge", "weight": 0.1, "gpus": 1, "workers": 2}}'
    plan = quickstart(parse_nodes(["1x1x80,cpus=32"]), f"reward.rules.own={judge}")
    assert [fault.text for fault in plan.faults] == [
        "1 of 2 reward.rules.own.judge workers find no node with 1 CPU, 1 GPU free"
    ]
    assert any(note.startswith("reward.rules.own.judge: the memory that its model takes") for note in plan.notes)
    assert quickstart(parse_nodes(["1x2x80,cpus=32"]), f"reward.rules.own={judge}").fits
