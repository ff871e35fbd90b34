"""Whether the disk has room for a run is known before it starts."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from cluster.config.recipe_file import load_recipe
from cluster.errors import UserError
from cluster.planning.footprint import footprint
from cluster.planning.run_space import check_sockets, remarks_on_space


@pytest.fixture
def free(monkeypatch):
    """Lets every disk have so many bytes free."""

    def set_free(size):
        usage = SimpleNamespace(total=2**30, used=2**30 - size, free=size)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    return set_free


def sizes(recipe):
    needs = footprint(recipe)
    whole = sum(needs.files.values())
    return whole - needs.files["checkpoints"] - needs.files["logs"] + needs.commit, whole


def test_a_run_without_room_for_one_commit_is_refused_and_one_with_little_is_warned(tmp_path, free):
    recipe, run = load_recipe(Path("recipes/smoke.yaml")), tmp_path / "run"
    least, whole = sizes(recipe)
    free(least - 1)
    with pytest.raises(UserError, match=r"run: no room for this run on /.* and one commit take about [\d.]+ MiB; free"):
        remarks_on_space(recipe, run)
    free(least)
    (line,) = remarks_on_space(recipe, run)
    assert line.startswith("little room on /") and "no more checkpoints are written" in line
    free(whole)
    assert remarks_on_space(recipe, run) == []


def test_what_a_resumed_run_has_written_needs_no_room(tmp_path, free):
    recipe = load_recipe(Path("recipes/smoke.yaml"))
    least, whole = sizes(recipe)
    free(least - 1000)
    (tmp_path / "data").write_bytes(b"x" * 1000)
    assert remarks_on_space(recipe, tmp_path)
    free(whole - 1000)
    assert not remarks_on_space(recipe, tmp_path)


def test_commits_elsewhere_need_room_there(tmp_path, free):
    recipe = load_recipe(Path("recipes/smoke.yaml"), [f"checkpoint.storage={tmp_path / 'far'}"])
    needs = footprint(recipe)
    free(needs.commit - 1)
    with pytest.raises(UserError, match=r"^checkpoint.storage: no room for a commit, about [\d.]+ MiB, on "):
        remarks_on_space(recipe, tmp_path / "run")


def test_a_folder_too_long_for_sockets_is_named(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", "/" + 50 * "x")
    with pytest.raises(UserError, match="^RAY_TMPDIR /xx.* has 51 characters, .* at most 40, such as /tmp"):
        check_sockets()
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    check_sockets()
    monkeypatch.setenv("RAY_TMPDIR", "/" + 39 * "x")
    monkeypatch.delenv("RAY_ADDRESS")
    check_sockets()
