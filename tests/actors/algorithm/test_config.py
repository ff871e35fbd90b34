"""The switches of reinforcement learning: what a recipe may say."""

import pytest
from pydantic import ValidationError

from actors.algorithm.config import GrpoTraining
from actors.algorithm.presets import PRESETS

EVERY_KEY = [
    ("baseline", "leave_one_out"),
    ("normalise", "batch"),
    ("ratio", "sequence"),
    ("clip_low", 0.1),
    ("clip_high", 0.15),
    ("dual_clip", 2.5),
    ("aggregation", "sequence_mean"),
    ("kl_in", "loss"),
    ("kl_estimator", "k2"),
    ("overlong", 0.5),
]


def test_without_a_name_nothing_is_set():
    assert GrpoTraining() == GrpoTraining(algorithm="grpo")
    told = GrpoTraining().model_dump()
    assert (told["clip_low"], told["clip_high"], told["dual_clip"], told["aggregation"]) == (
        0.2,
        0.3,
        3.0,
        "token_mean",
    )
    assert (told["baseline"], told["normalise"], told["ratio"], told["clip"]) == ("group", "group", "token", "ppo")
    assert not any(told[off] for off in ("kl", "entropy", "dynamic_sampling", "overlong", "max_staleness"))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_sets_what_it_names_and_a_key_of_the_recipe_wins(name):
    assert GrpoTraining(algorithm=name).model_dump() == GrpoTraining().model_dump() | PRESETS[name] | {
        "algorithm": name
    }
    for key, value in EVERY_KEY:
        if (name, key) != ("cispo", "dual_clip"):
            assert getattr(GrpoTraining(**{"algorithm": name, key: value}), key) == value
    whole = GrpoTraining(algorithm=name, lr=1e-4)
    assert (
        GrpoTraining.model_validate(whole.model_dump(mode="json")) == whole
    )  # as a run folder's recipe.yaml is read again
    for credit in ("response", "step", "return"):
        assert GrpoTraining(algorithm=name, credit=credit).credit == credit


@pytest.mark.parametrize(
    "keys, message",
    [
        (
            {"algorithm": "ppo"},
            "unknown algorithm 'ppo'. Known: grpo, dr_grpo, dapo, gspo, cispo, rloo, reinforce_plus_plus",
        ),
        ({"clip": "cispo"}, "set dual_clip to null, found 3"),
        ({"algorithm": "cispo", "dual_clip": 3.0}, "set dual_clip to null, found 3"),
        ({"dual_clip": 1.0}, "greater than 1"),
        ({"baseline": "batch"}, "set normalise to batch or none"),
        (
            {"group_size": 1},
            "baseline: group compares responses to the same task: group_size must be at least 2, found 1",
        ),
        ({"algorithm": "rloo", "group_size": 1}, "baseline: leave_one_out compares responses to the same task"),
        ({"algorithm": "reinforce_plus_plus", "dynamic_sampling": 1}, "set dynamic_sampling to 0"),
        (
            {"algorithm": "reinforce_plus_plus", "group_size": 1, "sampling": "adaptive"},
            "sampling: adaptive draws tasks whose responses are expected to differ: group_size must be at least 2",
        ),
        ({"overlong": 1.5}, "less than or equal to 1"),
        ({"max_staleness": 1}, "set correction to token, sequence or mask"),
    ],
)
def test_what_does_not_go_together_is_refused_with_what_would(keys, message):
    with pytest.raises(ValidationError) as refused:
        GrpoTraining(**keys)
    assert message in str(refused.value) and refused.value.error_count() == 1


def test_against_the_whole_step_one_response_to_a_task_is_enough():
    assert GrpoTraining(algorithm="reinforce_plus_plus", group_size=1).group_size == 1


def test_the_scale_of_summed_losses_is_the_longest_response():
    assert GrpoTraining(algorithm="dr_grpo").within(96).length_scale == 96
    assert GrpoTraining(algorithm="dr_grpo", length_scale=10).within(96).length_scale == 10
