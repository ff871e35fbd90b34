"""Nothing that users rely on changes unnoticed: the code is held against tests/interface.json."""

import json

import pytest
import yaml

from cluster.errors import UserError
from tests.support import interface

KEPT = json.loads(interface.SNAPSHOT.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def smallest(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "smallest.yaml"
    path.write_text(yaml.safe_dump(interface.SMALLEST))
    return path


@pytest.mark.parametrize(
    "part, read",
    [
        ("commands", interface.commands),
        ("recipe", interface.recipe_keys),
        ("presets", interface.presets),
        ("routes", interface.routes),
        ("prometheus", interface.prometheus_metrics),
        ("environment", interface.environment),
    ],
)
def test_a_part_of_the_interface_is_as_it_was(part, read):
    assert read() == KEPT[part]


@pytest.mark.parametrize("settings", KEPT["settings"])
def test_every_value_of_a_setting_is_taken(smallest, settings):
    interface.load_recipe(smallest, settings.split("; "))


@pytest.mark.parametrize("key", dict.fromkeys(settings.partition("=")[0] for settings in KEPT["settings"]))
def test_no_other_value_of_a_setting_is_taken(smallest, key):
    with pytest.raises(UserError, match=key.split(".")[0]):
        interface.load_recipe(smallest, [f"{key}=nonsense"])


def test_a_run_folder_holds_what_it_held(run):
    assert interface.run_folder(run) == KEPT["run folder"]
