"""Recipes are read from YAML, `--set` is laid over them, and errors name the path and the nearest known key."""

from pathlib import Path

import pytest

from cluster.config.recipe import Recipe
from cluster.config.recipe_file import load_recipe, parse_recipe, set_key, with_settings
from cluster.errors import UserError

SMOKE = Path(__file__).parents[3] / "recipes" / "smoke.yaml"


def test_settings_are_laid_over_a_recipe():
    recipe = load_recipe(
        SMOKE,
        ["stages.closed.training.lr=2e-5", "stages.0.gate.max_steps=7", "seed=3", "model={tiny: {layers: 2}}"],
    )
    assert isinstance(recipe, Recipe) and recipe.stages[1].training.lr == 2e-5 and recipe.stages[0].gate.max_steps == 7
    assert recipe.seed == 3 and recipe.model.tiny.layers == 2


def test_a_key_is_set_in_mappings_and_in_lists_by_name_or_number():
    tree = {"stages": [{"name": "easy", "lr": 1}, {"name": "hard", "lr": 1}], "model": None}
    set_key(tree, "stages.hard.lr", 2)
    set_key(tree, "stages.0.lr", 3)
    set_key(tree, "model.tiny.layers", 4)
    assert tree == {
        "stages": [{"name": "easy", "lr": 3}, {"name": "hard", "lr": 2}],
        "model": {"tiny": {"layers": 4}},
    }


@pytest.mark.parametrize(
    "path, words",
    [
        ("seed.more", "seed is a value, not a mapping"),
        ("stages.middle.lr", "stages has no 'middle'; it has ['easy', 'hard']"),
        ("stages.2.lr", "stages has no '2'; it has ['easy', 'hard']"),
    ],
)
def test_a_key_that_leads_nowhere_is_refused(path, words):
    with pytest.raises(ValueError) as refusal:
        set_key({"seed": 1, "stages": [{"name": "easy"}, {"name": "hard"}]}, path, 0)
    assert str(refusal.value) == words


def test_settings_over_a_recipe_leave_the_rest_as_it_was():
    recipe = load_recipe(SMOKE)
    other = with_settings(recipe, {"learner.workers": 2, "stages.closed.training.lr": 2e-5})
    assert other.learner.workers == 2 and other.stages[1].training.lr == 2e-5
    assert (
        with_settings(other, {"learner.workers": 1, "stages.closed.training.lr": recipe.stages[1].training.lr})
        == recipe
    )


@pytest.mark.parametrize(
    "tree, words",
    [
        ({"nane": "a"}, "tree: nane: unknown key; did you mean 'name'? (and 4 more)"),
        ({"name": "a", "data": {"phantoms": {}}, "model": {"tiny": {}}}, "tree: stages: is missing"),
        (
            {"name": "a", "data": {}, "model": {"tiny": {}}, "stages": []},
            "tree: data: exactly one of phantoms, tasks and sources must be given, found none (and 1 more)",
        ),
    ],
)
def test_an_error_is_one_line_on_the_first_fault(tree, words):
    with pytest.raises(UserError) as refusal:
        parse_recipe(tree, "tree")
    assert str(refusal.value) == words


def test_recipes_with_broken_yaml_or_no_mapping_are_refused(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("a: [\n")
    with pytest.raises(UserError, match="broken YAML, line 2, column 1"):
        load_recipe(path)
    path.write_text("- a\n")
    with pytest.raises(UserError, match="a recipe is a mapping of keys to values, found list"):
        load_recipe(path)
    with pytest.raises(UserError, match="--set seed: a setting is written a.b=c"):
        load_recipe(SMOKE, ["seed"])
