"""What tests of planning share: a 7B model's folder, plans of it, and the command."""

import json

import pytest

from cluster.cli.app import main
from cluster.config.recipe_file import load_recipe
from cluster.planning.model_shape import shape_of
from cluster.planning.nodes import parse_nodes
from cluster.planning.plan import make_plan
from tests.support.plans import MODEL, RECIPES, TEXT, WHOLE


@pytest.fixture(scope="session")
def seven_billion(tmp_path_factory):
    """The folder of Qwen2.5-VL-7B without its weights; the text's sizes are flat, as published."""
    folder = tmp_path_factory.mktemp("big")
    (folder / "config.json").write_text(json.dumps(TEXT | MODEL))
    return folder


@pytest.fixture
def seven(seven_billion):
    """A plan of cx_mind_7b with settings, on described nodes; without recomputation, where nothing else is said."""

    def plan(cluster, *settings):
        recipe = load_recipe(RECIPES / "cx_mind_7b.yaml", [f"model.path={seven_billion}", WHOLE, *settings])
        return make_plan(recipe, shape_of(recipe.model, recipe.learner), cluster, parse_nodes([cluster]))

    return plan


@pytest.fixture
def plan_command(monkeypatch, capsys, tmp_path):
    def plan_command(*arguments):
        monkeypatch.setattr("sys.argv", ["curlvpr", "plan", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "300")
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        with pytest.raises(SystemExit) as exit:
            main()
        return exit.value.code, *capsys.readouterr()

    return plan_command
