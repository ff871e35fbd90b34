"""A run owns its folder and the place of its commits."""

from pathlib import Path

import pytest

from cluster.config.recipe_file import load_recipe
from cluster.errors import UserError
from cluster.record.lease import FILE_NAME, FolderTaken, LeaseLost
from cluster.record.ownership import own_run


@pytest.fixture(params=["{}", "file://{}"], ids=["path", "uri"])
def recipe(request, tmp_path):
    return load_recipe(Path("recipes/smoke.yaml"), [f"checkpoint.storage={request.param.format(tmp_path / 'far')}"])


def folder(tmp_path, name):
    """The run folder `run` below another root."""
    path = tmp_path / name / "run"
    path.mkdir(parents=True)
    return path


def test_two_runs_cannot_commit_to_one_place(tmp_path, recipe):
    a, b = folder(tmp_path, "a"), folder(tmp_path, "b")
    with own_run(recipe, a) as owned:
        owned.confirm()
        with pytest.raises(FolderTaken, match=r"^checkpoint.storage: .*/far/run belongs to a run in progress"):
            own_run(recipe, b).__enter__()
        assert not (b / FILE_NAME).exists()
        owned.confirm()
    with own_run(recipe, b) as owned:
        owned.check()


def test_a_run_whose_folder_was_taken_over_may_not_commit(tmp_path, recipe):
    run = folder(tmp_path, "a")
    with own_run(recipe, run) as owned:
        (run / FILE_NAME).write_text("{}")
        with pytest.raises(LeaseLost):
            owned.check()
        with pytest.raises(LeaseLost):
            owned.confirm()


def test_a_place_that_cannot_be_made_is_named_and_the_folder_is_free_again(tmp_path):
    (tmp_path / "file").write_text("")
    recipe = load_recipe(Path("recipes/smoke.yaml"), [f"checkpoint.storage={tmp_path / 'file'}"])
    run = folder(tmp_path, "a")
    with (
        pytest.raises(
            UserError, match=r"^checkpoint.storage: .*/file/run cannot be made: a part of this path is a file"
        ),
        own_run(recipe, run),
    ):
        pass
    assert not (run / FILE_NAME).exists()


def test_a_run_that_is_refused_leaves_no_folder_at_its_place(tmp_path):
    recipe = load_recipe(Path("recipes/smoke.yaml"), [f"checkpoint.storage={tmp_path / 'far' / 'away'}"])
    with pytest.raises(UserError, match="something else"), own_run(recipe, folder(tmp_path, "a")):
        raise UserError("something else")
    assert not (tmp_path / "far").exists()
