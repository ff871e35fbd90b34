"""A whole run whose best version is not its last one, on the real stack."""

import filecmp
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import ClassVar, Literal

import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

from actors.learner.sft_update import SftUpdate
from cluster.cli.app import app
from cluster.config.recipe_file import load_recipe
from cluster.record.run_reader import RunRecord
from cluster.run.launch import resume, start
from cluster.stages import STAGE_KINDS
from cluster.stages.sft import SftStage
from tests.support.short_run import SMOKE
from tests.support.whole_runs import same, weights

pytestmark = pytest.mark.slow  # scripted runs choose the best in every run of the suite, test_looking_back.py
ROOT = Path(__file__).parents[4]


class SpoiltStage(SftStage):
    """Learns for 30 steps; then it learns an answer that is always wrong."""

    kind: Literal["spoilt"]
    label: ClassVar[str] = "supervised, and then spoilt"

    def step(self, run):
        tasks = run.draw(self.tasks_per_step)
        if run.stage_step >= 30:
            wrong = {"reference": "<think>It is so.</think><answer>none</answer>"}
            tasks = [task.model_copy(update=wrong) for task in tasks]
        return run.learn(SftUpdate(tasks, run.lr))


SETTINGS = [
    "stages=[{name: sft, kind: spoilt, tasks: {binary: 1, single_choice: 1}, "
    "gate: {measure: closed_accuracy, every: 10, max_steps: 40}, "
    "training: {lr: 2.0e-3, tasks_per_step: 16, warmup_steps: 5}}]",
    "data.phantoms={train: 120, val: 16, test: 16}",
    "model.tiny.vision_steps=0",
    "checkpoint.keep=1",
]


@pytest.fixture(scope="module")
def spoilt(ray_session, tmp_path_factory):
    """The folder of a run that was spoilt by its last steps."""
    path = tmp_path_factory.mktemp("spoilt") / "spoilt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(STAGE_KINDS, "spoilt", SpoiltStage)
        assert start(load_recipe(SMOKE, SETTINGS), path) == 0
        yield path


def test_the_best_version_is_kept_and_exported_bit_for_bit(spoilt):
    summary = json.loads((spoilt / "summary.json").read_text())
    scores = dict(summary["stages"][0]["scores"])
    assert summary["status"] == "finished" and list(scores) == [10, 20, 30, 40]
    best = max(scores, key=lambda step: (scores[step], step))
    assert best < 40 and scores[best] > scores[40]
    assert summary["model"]["holds"] == "best" and summary["model"]["step"] == best
    kept = {path.name: sorted(file.name for file in path.iterdir()) for path in (spoilt / "checkpoints").iterdir()}
    assert list(kept) and sorted(kept) == [f"step-{best:07d}", "step-0000040"]
    committed = load_file(spoilt / "checkpoints" / f"step-{best:07d}" / "policy.safetensors")
    assert same(committed, weights(spoilt)), "model/ does not hold the weights that were validated"
    assert not same(load_file(spoilt / "checkpoints" / "step-0000040" / "policy.safetensors"), committed)
    assert [version["step"] for version in summary["kept"]] == [best, 40]


def test_the_exported_model_was_tested_itself_and_its_pages_say_which_it_is(spoilt):
    record = RunRecord(spoilt)
    step, version = record.summary["model"]["step"], record.summary["model"]["version"]
    assert record.tests[-1].words == "model/" and record.tests[-1].version == version == step
    assert record.tests[-1].measures["closed_accuracy"].value > record.tests[-2].measures["closed_accuracy"].value
    assert len(record.answers(version)) == len(record.answers(40)) > 0
    card = (spoilt / "model" / "README.md").read_text(encoding="utf-8")
    assert f"These are the weights of step {step} of 40: the best of stage sft by step {step}" in card
    assert f"<code>model/</code> holds step {step}: the best of stage sft" in (spoilt / "report.html").read_text(
        "utf-8"
    )
    assert "test model" in {row["event"] for row in pq.read_table(spoilt / "metrics.parquet").to_pylist()}
    assert record.summary["steps"] == record.summary["version"] == 40


def test_a_kept_version_is_exported_by_the_command_as_by_the_run(spoilt, tmp_path):
    step = RunRecord(spoilt).summary["model"]["step"]
    listed = CliRunner().invoke(app, ["export", str(spoilt)]).output.splitlines()
    assert len(listed) == 2 and listed[0].startswith(f"step {step} (sft {step}): validation closed accuracy 0.")
    out = tmp_path / "again"
    result = CliRunner().invoke(app, ["export", str(spoilt), "--step", str(step), "--out", str(out)])
    assert result.exit_code == 0 and result.output.strip() == str(out)
    names = sorted(path.name for path in out.iterdir())
    assert {*names, "README.md"} == {path.name for path in (spoilt / "model").iterdir()}
    assert filecmp.cmpfiles(out, spoilt / "model", names, shallow=False) == (names, [], [])


DIES = """
import os, signal, sys
from pathlib import Path

from cluster.config.recipe_file import load_recipe
from cluster.record.checkpoint import Checkpoints
from cluster.run.launch import resume, start
from cluster.stages import STAGE_KINDS
from tests.cluster.run.choice.test_final_model import SETTINGS, SMOKE, SpoiltStage

commits = []


def prune(self):
    commits.append(self)
    if len(commits) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(self)


plain, Checkpoints.prune = Checkpoints.prune, prune
STAGE_KINDS["spoilt"] = SpoiltStage
start(load_recipe(SMOKE, SETTINGS), Path(sys.argv[1]))
"""


def test_a_kill_between_a_commit_and_the_removal_of_others_changes_nothing(spoilt, tmp_path, monkeypatch):
    """The process dies, by SIGKILL, when its second commit counts and nothing was removed yet."""
    again = tmp_path / "again"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_ADDRESS": "local"}
    died = subprocess.run([sys.executable, "-c", DIES, again], cwd=ROOT, env=environment, timeout=400)
    assert died.returncode == -signal.SIGKILL
    there = [path.name for path in sorted((again / "checkpoints").iterdir())]
    assert len(there) == 2 and there[0] == "step-0000010"
    monkeypatch.setitem(STAGE_KINDS, "spoilt", SpoiltStage)
    assert resume(load_recipe(again / "recipe.yaml"), again, take_over=True) == 0
    assert same(weights(again), weights(spoilt))
    first, second = (json.loads((path / "summary.json").read_text()) for path in (spoilt, again))
    assert second["stages"] == first["stages"] and second["kept"] == first["kept"]
    assert second["model"] == first["model"]
    kept = [sorted(path.name for path in (run / "checkpoints").iterdir()) for run in (spoilt, again)]
    assert kept[0] == kept[1]
