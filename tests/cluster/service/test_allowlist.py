"""Recipes and pages use nothing but the folders, URIs and rules that the service was started with."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cluster.config.recipe_file import parse_recipe
from cluster.errors import UserError
from cluster.service.allowlist import check_recipe, film_below
from cluster.service.routes.runs_schema import EXAMPLE as RECIPE
from tests.support.service import own


def test_allowed_places_are_below_and_not_beside():
    def fits(place, *allowed):
        try:
            check_recipe(parse_recipe(RECIPE | {"checkpoint": {"storage": place}}, "recipe"), allowed)
        except UserError:
            return False
        return True

    assert fits("/shared/runs/a", "/shared/runs") and fits("s3://bucket/a/b", "s3://bucket/a")
    assert not fits("/shared/runs-of-others/a", "/shared/runs") and not fits("/shared/runs/../x", "/shared/runs")
    assert not fits("s3://bucket/ab", "s3://bucket/a") and not fits("s3://bucket/a/../b", "s3://bucket/a")


@pytest.mark.parametrize("place", ["/shared/models-of-others/m", "/shared/models/../m", "models/m"])
def test_other_models_of_stages_are_below_as_well(place):
    for more in ({"teacher": {"path": place}}, {"kl": 0.1, "reference_path": place}):
        stages = [stage | {"training": more} for stage in RECIPE["stages"] if stage["kind"] == "grpo"]
        assert stages
        setting = "teacher.path" if "teacher" in more else "reference_path"
        with pytest.raises(UserError, match=rf"recipe: stages\.\w+\.training\.{setting}: {place} is outside"):
            check_recipe(parse_recipe(RECIPE | {"stages": stages}, "recipe"), ["/shared/models"])
        if place.startswith("/shared"):
            check_recipe(parse_recipe(RECIPE | {"stages": stages}, "recipe"), ["/shared"])


@pytest.mark.parametrize("rule", ["os:system", "subprocess:run", "rewards.owner:rule", "tests.mine:rule"])
def test_a_submitted_recipe_names_no_rule_that_is_not_allowed(rule):
    with pytest.raises(
        UserError, match=r"reward.rules.own.mine: this service may not use rules of .* --allow rules:MODULE"
    ):
        check_recipe(parse_recipe(own(rule), "recipe"), ["/shared"])


def test_a_submitted_recipe_installs_nothing():
    recipe = own("my_rules:one")
    recipe["reward"]["rules"]["own"]["mine"]["runtime_env"] = {"pip": ["anything"]}
    with pytest.raises(UserError, match=r"own.mine.runtime_env: this service starts no runtime environments"):
        check_recipe(parse_recipe(recipe, "recipe"), ["/shared", "rules:my_rules"])


def test_a_judge_is_allowed_by_name_only():
    judge = own("rewards.judge:Judge", model="m", base_url="http://anywhere/v1")
    with pytest.raises(UserError, match="may not use rules of rewards.judge"):
        check_recipe(parse_recipe(judge, "recipe"), ["/shared"])
    check_recipe(parse_recipe(judge, "recipe"), ["/shared", "rules:rewards.judge"])


def test_rules_that_are_allowed_can_be_named():
    check_recipe(parse_recipe(own("rewards.own:length_guard", least=1, most=2), "recipe"), ["/shared"])
    for rule in ("my_rules:one", "my_rules.deeper:two"):
        check_recipe(parse_recipe(own(rule), "recipe"), ["/shared", "rules:my_rules"])


@pytest.mark.parametrize(
    "storage, fits",
    [
        ("s3://bucket/a", True),
        ("s3://bucket/a/b", True),
        ("s3://bucket/a/b?endpoint_override=elsewhere", False),
        ("s3://bucket/a/%2e%2e/b", False),
        ("s3://bucket/a#/b", False),
        ("file:///shared/runs", False),
        ("s3://own/a?region=here", True),
        ("s3://own/a", False),
        ("s3://own/a?region=there", False),
        ("rules:my_rules/a", False),
    ],
)
def test_a_bucket_is_reached_as_the_service_was_told(storage, fits):
    recipe = parse_recipe(RECIPE | {"checkpoint": {"storage": storage}}, "recipe")
    allowed = ["/shared", "s3://bucket/a", "s3://own?region=here", "rules:my_rules"]
    if fits:
        check_recipe(recipe, allowed)
    else:
        with pytest.raises(
            UserError, match="checkpoint.storage: .* is outside what .* may use: /shared, s3://bucket/a, s3"
        ):
            check_recipe(recipe, allowed)


@pytest.fixture
def places(tmp_path):
    """A folder that is allowed, shared, with a film, a link in it that leads out, and a film outside."""
    shared, outside = tmp_path / "shared", tmp_path / "outside"
    for folder in (shared, outside):
        folder.mkdir()
        Image.new("L", (8, 8)).save(folder / "film.png")
    (shared / "link.png").symlink_to(outside / "film.png")
    (shared / "folder").symlink_to(outside)
    return shared, outside


def test_a_film_outside_is_not_shown(places):
    shared, outside = places
    film = film_below([str(shared)])
    assert film(str(shared / "film.png"))[0].startswith("data:image/jpeg")
    for path in (
        outside / "film.png",
        shared / "link.png",
        shared / "folder" / "film.png",
        shared / ".." / "outside" / "film.png",
    ):
        uri, why = film(str(path))
        assert uri is None and "outside what this service may show" in why


@pytest.mark.parametrize(
    "image, fits",
    [
        ("film.png", True),
        ("../outside/film.png", False),
        ("folder/film.png", False),
        ("{outside}/film.png", False),
        ("{shared}/film.png", True),
    ],
)
def test_tasks_that_ask_about_a_film_outside_are_refused(places, image, fits):
    shared, outside = places
    names = [["film.png"], [], [image.format(shared=shared, outside=outside)]]
    pq.write_table(pa.table({"images": pa.array(names, pa.list_(pa.string()))}), shared / "tasks.parquet")
    recipe = parse_recipe(RECIPE | {"data": {"tasks": str(shared)}}, "recipe")
    if fits:
        check_recipe(recipe, [str(shared)])
    else:
        with pytest.raises(UserError, match="data.tasks: a task's image, .* is outside"):
            check_recipe(recipe, [str(shared)])
