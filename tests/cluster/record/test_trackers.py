"""Weights & Biases and MLflow, both without a server: what they hold is what the run folder holds."""

import json
import shutil
import time
from pathlib import Path

import pytest

from cluster.config.recipe_file import load_recipe
from cluster.errors import UserError
from cluster.record.run_writer import RunWriter
from cluster.record.trackers import KINDS, Trackers

SMOKE = Path(__file__).parents[3] / "recipes" / "smoke.yaml"


@pytest.fixture
def offline(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path / 'mlruns'}")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return tmp_path


def sitting(path, tracker, steps):
    path.mkdir(exist_ok=True)
    said = []
    folder = RunWriter(path, Trackers(load_recipe(SMOKE, [f"trackers=[{tracker}]"]), path, said.append))
    for step in steps:
        folder.add_metrics({"event": "step", "stage": "closed", "step": step, "stage_step": step, "reward": step / 10})
    folder.close()
    return said


def test_mlflow_holds_every_number_over_two_sittings(offline):
    from mlflow.tracking import MlflowClient

    run = offline / "first"
    assert sitting(run, "mlflow", (1, 2)) + sitting(run, "mlflow", (3,)) == []
    client = MlflowClient()
    [kept] = client.search_runs([client.get_experiment_by_name("curlvpr").experiment_id])
    assert kept.info.run_name == "first" and kept.data.params["rollout.workers"] == "1"
    history = client.get_metric_history(kept.info.run_id, "closed/step/reward")
    assert [(m.step, m.value) for m in sorted(history, key=lambda m: m.step)] == [(1, 0.1), (2, 0.2), (3, 0.3)]


def records(path):
    """Of a .wandb file: LevelDB's log format (blocks of 32 KiB; checksum, length, type) after seven bytes of header."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, parts = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:  # what is left of a block holds no header
            at += 32768 - at % 32768
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def test_wandb_holds_every_number_and_knows_the_run_again(offline):
    run = offline / "first"
    assert sitting(run, "wandb", (1, 2)) + sitting(run, "wandb", (2, 3)) == []  # step 2 is made again, after a commit
    for _ in range(100):  # wandb's own process writes the end of a file after it has answered
        files = sorted(run.glob("wandb/offline-run-*/*.wandb"))  # by the second they were begun
        found = [record for path in files for record in records(path)]
        rewards = [
            json.loads(item.value_json)
            for r in found
            for item in r.history.item
            if "/".join(item.nested_key) == "closed/step/reward"
        ]
        if len(rewards) == 4:
            break
        time.sleep(0.2)
    assert len(files) == 2 and len({r.run.run_id for r in found if r.HasField("run")}) == 1
    assert rewards == [0.1, 0.2, 0.2, 0.3]


def test_a_tracker_that_fails_is_said_once_and_ends_no_run(offline):
    run = offline / "first"
    run.mkdir()
    said = []
    trackers = Trackers(load_recipe(SMOKE, ["trackers=[mlflow]"]), run, said.append)
    shutil.rmtree(offline / "mlruns")
    for step in (1, 2):
        trackers.add({"event": "step", "stage": "closed", "step": step, "reward": 0.5})
    trackers.close()
    assert len(said) == 1 and said[0].startswith("mlflow gets no more numbers: ")


def test_what_cannot_be_used_is_told_before_a_run_starts(offline, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nosuch://place")
    with pytest.raises(UserError, match="trackers: mlflow: .*nosuch"):
        Trackers(load_recipe(SMOKE, ["trackers=[mlflow]"]), offline, print)

    def absent(*_):
        raise ModuleNotFoundError("No module named 'wandb'", name="wandb")

    monkeypatch.setitem(KINDS, "wandb", absent)
    with pytest.raises(UserError, match=r"wandb is not installed .*pip install 'curlvpr\[trackers\]'"):
        Trackers(load_recipe(SMOKE, ["trackers=[wandb]"]), offline, print)
