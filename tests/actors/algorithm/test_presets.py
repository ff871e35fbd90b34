"""An algorithm is one entry of PRESETS: also one that is added from outside."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from actors.algorithm.config import GrpoTraining
from actors.algorithm.presets import PRESETS, check_algorithm
from cluster.config.recipe_file import load_recipe
from cluster.errors import UserError

RECIPE = Path(__file__).parents[3] / "recipes" / "quickstart.yaml"


def training_of(*overrides):
    settings = [f"stages.closed.training.{override}" for override in overrides]
    (stage,) = (stage for stage in load_recipe(RECIPE, settings).stages if stage.name == "closed")
    return stage.training


def test_an_algorithm_added_from_outside_is_known_to_recipes(monkeypatch):
    switches = {"baseline": "leave_one_out", "aggregation": "sequence_mean", "kl_estimator": "k2"}
    monkeypatch.setitem(PRESETS, "my_rloo", switches)
    training = training_of("algorithm=my_rloo", "kl_estimator=k1")
    expected = GrpoTraining(**{**training_of().model_dump(), **switches, "algorithm": "my_rloo", "kl_estimator": "k1"})
    assert training == expected and training.baseline == "leave_one_out"
    assert GrpoTraining.model_validate(training.model_dump(mode="json")) == training  # as a run folder's recipe is read
    with pytest.raises(UserError, match="Known: .*reinforce_plus_plus.*, my_rloo"):
        training_of("algorithm=other")


def test_an_entry_with_an_unknown_switch_or_value_is_refused_by_name(monkeypatch):
    monkeypatch.setitem(PRESETS, "typo", {"base_line": "group"})
    with pytest.raises(ValidationError, match="base_line"):
        GrpoTraining(algorithm="typo")
    monkeypatch.setitem(PRESETS, "typo", {"baseline": "groups"})
    with pytest.raises(ValidationError, match="baseline"):
        GrpoTraining(algorithm="typo")


@pytest.mark.parametrize(
    "name, message",
    [
        ("gsp0", "unknown algorithm 'gsp0'; did you mean 'gspo'? Known: grpo, "),
        ("nothing_like_it", "unknown algorithm 'nothing_like_it'. Known: grpo, dr_grpo, dapo, gspo, cispo, rloo, "),
        (5, "unknown algorithm 5. Known: grpo, "),
        (["grpo"], "unknown algorithm ['grpo']; did you mean 'grpo'? Known: "),
    ],
)
def test_an_unknown_name_is_refused_with_the_known_ones(name, message):
    with pytest.raises(ValueError) as refused:
        check_algorithm(name)
    assert str(refused.value).startswith(message)
    with pytest.raises(ValidationError) as refused:
        GrpoTraining(algorithm=name)
    assert message in str(refused.value) and refused.value.error_count() == 1


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_valid_stage(name):
    assert check_algorithm(name) == name
    assert GrpoTraining(algorithm=name).algorithm == name
