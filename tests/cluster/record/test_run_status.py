"""The status of a run that no process holds, by its folder alone."""

import json
import os

import pytest

from cluster.errors import UserError
from cluster.record.lease import Lease
from cluster.record.run_status import check_run_folder, saved_status, taken_words


def test_the_summary_tells_the_status(tmp_path):
    assert saved_status(tmp_path)["status"] == "not started, or gone before its first step"
    for kept, status in (("finished", "finished"), ("running", "gone: its process died")):
        (tmp_path / "summary.json").write_text(json.dumps({"status": kept, "steps": 7, "seconds": {"all": 1}}))
        assert saved_status(tmp_path) == {"run": tmp_path.name, "status": status, "steps": 7}
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(UserError, match="summary.json: cannot be read"):
        saved_status(tmp_path)


def test_a_folder_without_recipe_is_no_run(tmp_path):
    with pytest.raises(UserError, match="no run folder; it has no recipe.yaml"):
        check_run_folder(tmp_path)
    (tmp_path / "recipe.yaml").write_text("name: x")
    check_run_folder(tmp_path)


def test_who_has_a_folder_is_told(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    with Lease(run):  # a run that has just begun
        assert f"run: is in use, by a run in progress in process {os.getpid()} on" in taken_words(run)
    assert "exists already, and is no run folder" in taken_words(run)
    (run / "recipe.yaml").write_text("name: x")
    assert f"exists already; choose another --name, or go on with the run in it: curlvpr resume {run}" in taken_words(
        run
    )
