"""FLOPs and speed of cx_mind_7b, worked out by hand from the published sizes of Qwen2.5-VL-7B."""

import json

import pytest

from cluster.config.recipe_file import load_recipe
from cluster.planning.model_shape import shape_of
from cluster.planning.nodes import parse_nodes
from cluster.planning.plan import make_plan
from cluster.planning.speed import MFU, estimate_speed
from tests.support.plans import RECIPES

H, WIDE, KV, LAYERS, WORDS = 3584, 18944, 4 * 128, 28, 152064
TOKEN = 2 * LAYERS * (2 * H * H + 2 * H * KV + 3 * H * WIDE)
PAIR = 4 * LAYERS * H
WORD = 2 * H * WORDS
PROMPT, RESPONSE, GROUP, TASKS = 2048, 1024, 4, 16
LENGTHS = (
    f"rollout.max_model_tokens={PROMPT + RESPONSE}",
    f"rollout.max_response_tokens={RESPONSE}",
    f"stages.closed.training.group_size={GROUP}",
    f"stages.closed.training.tasks_per_step={TASKS}",
    "learner.micro_batch_tokens=8192",
    "learner.freeze.vision=true",
)
ONE_PACK = PROMPT + GROUP * (RESPONSE - 1)  # read for a task
ONE_PACK_PAIRS = PROMPT * (PROMPT + 1) // 2 + GROUP * ((RESPONSE - 1) * PROMPT + (RESPONSE - 1) * RESPONSE // 2)


@pytest.fixture
def speed_of(seven_billion):
    def speed_of(cluster, *settings):
        recipe = load_recipe(RECIPES / "cx_mind_7b.yaml", [f"model.path={seven_billion}", *LENGTHS, *settings])
        plan = make_plan(recipe, shape_of(recipe.model, recipe.learner), cluster, parse_nodes([cluster]))
        return estimate_speed(plan), plan

    return speed_of


def test_the_flops_of_a_step_are_those_of_the_published_sizes(speed_of):
    speed, plan = speed_of("1x8x80,gpu=H100")
    closed = next(stage for stage in speed.stages if stage.stage == "closed")
    forward = TASKS * (ONE_PACK * TOKEN + ONE_PACK_PAIRS * PAIR + GROUP * RESPONSE * WORD)
    training = next(stage for stage in plan.recipe.stages if stage.name == "closed").training
    alone = 1 - 1 / training.updates_per_step + (training.kl > 0)
    vision = closed.model_flops - (3 + alone) * forward
    assert 0 < vision < 0.35 * closed.model_flops
    last = 2 * LAYERS * H * WIDE  # of a layer, which nothing needs again; the frozen tower is not computed again either
    assert closed.again == pytest.approx(forward - TASKS * ONE_PACK * last)
    seconds = closed.model_flops / (4 * MFU * 989.4e12)
    assert closed.seconds == pytest.approx(seconds)
    assert closed.tokens_per_s_per_gpu == pytest.approx(TASKS * GROUP * RESPONSE / seconds / 4)


def test_a_teacher_costs_a_forward_pass_over_its_families(speed_of, seven_billion):
    """One of the policy's size what a reference costs; for a family, its share of the tasks."""

    def flops(*settings):
        return speed_of("1x8x80,gpu=H100", *settings)[0].stages[1].model_flops

    without = flops("stages.closed.training.kl=0")
    reference = flops() - without
    teacher = f"stages.closed.training.teacher={{path: {seven_billion}}}"
    assert flops("stages.closed.training.kl=0", teacher) - without == pytest.approx(reference)
    some = f"stages.closed.training.teacher={{path: {seven_billion}, families: [binary]}}"
    assert flops("stages.closed.training.kl=0", some) - without == pytest.approx(reference / 3)
    assert flops(f"stages.closed.training.reference_path={seven_billion}") == pytest.approx(without + reference)


def test_a_prompt_is_read_again_in_each_pack_that_its_responses_fill(speed_of):
    one, two = (speed_of("1x8x80", f"learner.micro_batch_tokens={most}")[0].stages[-1] for most in (8192, 4096))
    assert two.model_flops > 1.2 * one.model_flops
    assert one.seconds is None and one.tokens_per_s_per_gpu is None


def test_engines_write_as_fast_as_they_read_weights_and_cache(speed_of):
    speed, plan = speed_of("1x8x80,gpu=H100")
    sequences = -(-max(s.tasks_per_step * s.group_size for s in plan.recipe.stages if s.generates) // 4)
    held = sequences * (PROMPT + RESPONSE / 2) * 2 * LAYERS * KV * 2
    expected = sequences / ((2 * plan.shape.parameters + held) / 3350e9)
    assert plan.sequences >= sequences and speed.rollout_tokens_per_s == pytest.approx(expected)


def test_the_command_tells_it(plan_command, seven_billion):
    arguments = (RECIPES / "cx_mind_7b.yaml", "--set", f"model.path={seven_billion}", "--cluster")
    _, out, _ = plan_command(*arguments, "1x8x80,gpu=H100")
    assert "PFLOP a step" in out and "at an MFU of 40%" in out and "engines write at most" in out
    _, out, _ = plan_command(*arguments, "1x8x80", "--json")
    told = json.loads(out)["speed"]
    assert told["mfu"] == MFU and told["rollout_tokens_per_s"] is None
    assert all(stage["model_flops"] > 1e15 and stage["seconds"] is None for stage in told["stages"])


def test_a_gpu_of_no_known_name_is_refused(plan_command):
    code, _, err = plan_command(RECIPES / "smoke.yaml", "--cluster", "1x8x80,gpu=X1")
    assert code == 2 and "gpu is 'X1'; known are A10" in err
