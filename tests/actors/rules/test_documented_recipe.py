"""The part of a recipe in docs/model-rules.md, and the options that the page names."""

import inspect
import re
from pathlib import Path

import pytest
import yaml

import actors.rules
from cluster import load_recipe
from rewards.config import OwnRule
from rewards.custom_rules import load_rule

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "model-rules.md").read_text(encoding="utf-8")
SECTION = re.search(r"^## Rules that are models\n(.*)", PAGE, re.DOTALL | re.MULTILINE)[1]
PART = yaml.safe_load(re.search(r"```yaml\n(.*?)```", SECTION, re.DOTALL)[1])


@pytest.mark.parametrize("name", PART["reward"]["rules"]["own"])
def test_the_rules_take_the_options_that_the_page_gives_them(name):
    own = OwnRule(**PART["reward"]["rules"]["own"][name])
    inspect.signature(load_rule(own.rule)).bind(**own.options)


def test_a_recipe_takes_the_part(tmp_path):
    recipe = yaml.safe_load((ROOT / "recipes" / "smoke.yaml").read_text(encoding="utf-8"))
    recipe.setdefault("reward", {})["rules"] = PART["reward"]["rules"]
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    own = load_recipe(tmp_path / "recipe.yaml").reward.rules.own
    assert own["liked"].gpus == 0.25 and own["entities"].runtime_env == {"pip": ["radgraph", "transformers<5"]}


def test_the_page_names_every_rule_and_every_option_of_the_reward_model():
    assert set(re.findall(r"^\| `actors\.rules:(\w+)`", SECTION, re.MULTILINE)) == set(actors.rules.__all__)
    options = set(inspect.signature(actors.rules.RewardModel).parameters)
    table = SECTION.partition("### A reward model")[2].partition("### ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == options


@pytest.mark.parametrize("name", actors.rules.__all__)
def test_what_checks_the_options_takes_all_of_them(name):
    """A recipe is checked with `check_options`, and the class is constructed with the same options."""
    rule = getattr(actors.rules, name)
    checked, made = (inspect.signature(function).parameters for function in (rule.check_options, rule))
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in checked.values())
    assert takes_any or set(made) <= set(checked)
    for option in set(made) & set(checked):
        assert made[option].default == checked[option].default, option
