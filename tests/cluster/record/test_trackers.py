"""The trackers of a run: opened by name, and dropped when they fail."""

import shutil

import pytest

from cluster.config.recipe_file import load_recipe
from cluster.errors import UserError
from cluster.record.trackers import Trackers
from cluster.trackers import TRACKERS
from tests.support.tracked_run import SMOKE, write_steps


@pytest.fixture
def offline(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path / 'mlruns'}")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return tmp_path


class LinesTracker:
    """A tracker from outside: a text file with a line for each number."""

    def __init__(self, run):
        self.path = run.folder / run.ids.setdefault("lines", "lines-1.txt")

    def add(self, numbers, step):
        with open(self.path, "a", encoding="utf-8") as file:
            file.writelines(f"{step} {name} {value}\n" for name, value in numbers.items())

    def close(self):
        with open(self.path, "a", encoding="utf-8") as file:
            file.write("closed\n")


def test_a_tracker_from_outside_is_one_entry(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="trackers.0: input should be 'wandb' or 'mlflow', found 'lines'"):
        load_recipe(SMOKE, ["trackers=[lines]"])
    monkeypatch.setitem(TRACKERS, "lines", LinesTracker)
    assert write_steps(tmp_path / "run", "lines", (1, 2)) + write_steps(tmp_path / "run", "lines", (3,)) == []
    assert (tmp_path / "run" / "lines-1.txt").read_text().splitlines() == [
        "1 closed/step/reward 0.1",
        "2 closed/step/reward 0.2",
        "closed",
        "3 closed/step/reward 0.3",
        "closed",
    ]
    assert (tmp_path / "run" / "trackers.json").read_text() == '{"lines": "lines-1.txt"}'


def test_a_tracker_that_fails_is_reported_once_and_ends_no_run(offline):
    run = offline / "first"
    run.mkdir()
    reports = []
    trackers = Trackers(load_recipe(SMOKE, ["trackers=[mlflow]"]), run, reports.append)
    shutil.rmtree(offline / "mlruns")
    for step in (1, 2):
        trackers.add({"event": "step", "stage": "closed", "step": step, "reward": 0.5})
    trackers.close()
    assert len(reports) == 1 and reports[0].startswith("mlflow gets no more numbers: ")


def test_what_cannot_be_used_is_refused_before_a_run_starts(offline, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nosuch://place")
    with pytest.raises(UserError, match="trackers: mlflow: .*nosuch"):
        Trackers(load_recipe(SMOKE, ["trackers=[mlflow]"]), offline, print)

    def absent(*_):
        raise ModuleNotFoundError("No module named 'wandb'", name="wandb")

    monkeypatch.setitem(TRACKERS, "wandb", absent)
    with pytest.raises(UserError, match=r"wandb is not installed .*pip install 'curlvpr\[trackers\]'"):
        Trackers(load_recipe(SMOKE, ["trackers=[wandb]"]), offline, print)
