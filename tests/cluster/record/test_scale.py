"""What was asked of a run by `scale` is kept for its next session."""

import pytest

from cluster.config.recipe_file import load_recipe
from cluster.record.scale import FILE_NAME, read_scale, write_scale
from tests.support.short_run import SMOKE


def test_numbers_are_kept_by_kind(tmp_path):
    recipe = load_recipe(SMOKE)
    assert read_scale(tmp_path, recipe) == {}
    write_scale(tmp_path, {"rollout": 4, "reward": None}, recipe)
    write_scale(tmp_path, {"rollout": None, "reward": 2}, recipe)
    assert read_scale(tmp_path, recipe) == {"rollout": 4, "reward": 2}
    write_scale(tmp_path, {"rollout": 3}, recipe)
    assert read_scale(tmp_path, recipe) == {"rollout": 3, "reward": 2}
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_a_number_that_was_changed_in_the_recipe_since_is_newer(tmp_path):
    write_scale(tmp_path, {"rollout": 4, "reward": 2}, load_recipe(SMOKE))
    assert read_scale(tmp_path, load_recipe(SMOKE, ["rollout.workers=6"])) == {"reward": 2}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "[" * 3000,
        '{"rollout": 4}',
        '{"rollout": {"workers": 0, "instead_of": 1}}',
        '{"rollout": {"workers": true, "instead_of": 1}}',
        '{"pilots": {"workers": 4, "instead_of": 1}}',
    ],
)
def test_a_damaged_file_asks_for_nothing(tmp_path, content):
    (tmp_path / FILE_NAME).write_text(content)
    assert read_scale(tmp_path, load_recipe(SMOKE)) == {}
