"""The resources that a recipe needs, against measured ones."""

from pathlib import Path

import pytest

from actors.model.tiny_model import TinyModelConfig
from cluster.config.recipe_file import load_recipe
from cluster.planning.footprint import footprint, services_ram, versions_ram
from curriculum.phantoms.hospital import HOSPITALS
from curriculum.phantoms.phantom_set import PhantomConfig, draw_phantom_set
from curriculum.taskset import write_tasks

RECIPES = Path(__file__).parents[3] / "recipes"


def needs(name="quickstart", *settings):
    return footprint(load_recipe(RECIPES / f"{name}.yaml", settings))


def test_the_estimated_size_of_the_tiny_model_is_near_the_real_one(tiny_model):
    recipe = load_recipe(RECIPES / "quickstart.yaml")
    real = footprint(
        recipe.model_copy(update={"model": recipe.model.model_copy(update={"tiny": None, "path": tiny_model})})
    )
    assert recipe.model.tiny == TinyModelConfig() and footprint(recipe).weights == pytest.approx(real.weights, rel=0.05)


def test_the_estimated_files_are_near_those_of_a_run_of_the_quickstart():
    """Measured once (bytes): a whole run of an earlier quickstart, with keep: 2; a commit of it today."""
    files = needs("quickstart", "data.phantoms.train=4000", "data.phantoms.val=200", "data.phantoms.test=400").files
    assert files["data"] == pytest.approx(42_631_459, rel=0.1)
    newest, weights = (17_051_159 + 5_657_064) * 3, 5_657_064
    best = 17_051_159 + 5_657_064 + 2 * weights  # of the stage in progress whole, of those before the weights
    assert files["checkpoints"] == pytest.approx(newest + best, rel=0.05)
    assert needs("quickstart", "checkpoint={best: {keep: 0}, export: last}").files["checkpoints"] == pytest.approx(
        newest, rel=0.05
    )
    assert files["models"] == pytest.approx(5_689_670 + 5_689_172, rel=0.05)


def test_the_estimated_size_of_drawn_films_is_near_the_real_one(tmp_path):
    for hospital in HOSPITALS:
        config = PhantomConfig(train=60, val=10, test=10, hospital=hospital)
        write_tasks(draw_phantom_set(config, tmp_path / hospital), tmp_path / hospital)
        real = sum(path.stat().st_size for path in (tmp_path / hospital).rglob("*") if path.is_file())
        films = f"data.phantoms={{train: 60, val: 10, test: 10, hospital: {hospital}}}"
        assert needs("quickstart", films).files["data"] == pytest.approx(real, rel=0.15)


def test_the_versions_of_a_model_in_a_folder_are_what_lies_beside_the_services(tiny_model):
    tiny = load_recipe(RECIPES / "quickstart.yaml")
    recipe = tiny.model_copy(update={"model": tiny.model.model_copy(update={"tiny": None, "path": tiny_model})})
    assert versions_ram(tiny) == 0 and versions_ram(recipe) == 3 * footprint(recipe).weights > 0
    assert services_ram(recipe, 10) - services_ram(recipe, 0) == 3 * 10 * 4  # float32
