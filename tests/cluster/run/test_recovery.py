"""Runs whose workers die go on from their commits, and end as if nothing had happened."""

import json
import re
import shutil

import pytest

from cluster.config.recipe_file import load_recipe
from cluster.run.launch import resume
from tests.support.short_run import SHORT, SMOKE, wait_until
from tests.support.whole_runs import booked, events, process, reached, same, train_beside, weights


def dies_between_micro_batches(mark):
    """A learner's rank that, if the file is there, kills itself after a micro-batch that is not the last one."""

    def rank(setup):
        import os
        import signal

        from actors.learner.deepspeed_engine import DeepSpeedEngine
        from actors.learner.rank_loop import learner_rank

        backward = DeepSpeedEngine.backward

        def deadly(self, loss, last):
            backward(self, loss, last)
            if not last and mark.exists():
                mark.rename(mark.with_suffix(".done"))
                os.kill(os.getpid(), signal.SIGKILL)

        DeepSpeedEngine.backward = deadly
        learner_rank(setup)

    return rank


def test_a_resumed_run_with_killed_and_hanging_workers_ends_with_the_same_weights(run, tmp_path, capsys, monkeypatch):
    """The newest commit is removed, as if the process had died before it, and the open stage is made again. There a
    rollout worker is killed, the learner is killed between two micro-batches of an update, and then it hangs. Weights
    go straight to the workers; in the other run they went through the store."""
    again, mark = tmp_path / "again", tmp_path / "fault"
    mark.touch()
    monkeypatch.setattr("actors.learner.handle.learner_rank", dies_between_micro_batches(mark))
    shutil.copytree(run, again)
    summary = json.loads((again / "summary.json").read_text())
    (again / "summary.json").write_text(json.dumps(summary | {"status": "running"}))
    shutil.rmtree(again / "model")
    newest = max((again / "checkpoints").iterdir())
    shutil.rmtree(newest)

    def disturb():
        wait_until(lambda: '"rewound"' in (again / "ledger.jsonl").read_text() and booked(again, "issued", "open"))
        wait_until(lambda: process("ray::rollout-0 v", "ray::RolloutWorker.")).kill()
        wait_until(lambda: booked(again, "trained", "open"))
        wait_until(lambda: process("ray::learner-0 v")).suspend()

    train_beside(
        disturb, load_recipe(again / "recipe.yaml", ["learner.silent_s=25", "transport=collective"]), again, resume
    )
    assert same(weights(again), weights(run))
    assert events(again) == events(run)
    assert json.loads((again / "summary.json").read_text())["stages"] == summary["stages"]
    told = capsys.readouterr().out
    assert re.search(r"rollout-0 on [\d.]+ died", told)
    assert reached(again)[-1] == 1 and not any(reached(run))
    assert re.search(
        r"learner rank 0 on [\d.]+: gave no sign of life for longer than learner.silent_s\); all 1 restart", told
    )
    assert re.search(r"learner ranks died during grpo \(learner rank 0 on [\d.]+: its process is gone\)", told)
    assert mark.with_suffix(".done").exists() and (again / "ledger.jsonl").read_text().count('"rewound"') == 3


@pytest.mark.slow
def test_the_number_of_workers_and_a_killed_one_change_no_task_and_no_seed(run, tmp_path, capsys):
    """Two rollout workers, two reward workers and two learner ranks (ZeRO-2) against one of each. A rank is killed
    before anything is committed, while the workers wait for its weights: the run starts again. Commits go elsewhere."""
    path, far = tmp_path / "wide", tmp_path / "far"
    settings = [
        *SHORT,
        "rollout.workers=2",
        "reward.workers=2",
        "learner.workers=2",
        "learner.zero_stage=2",
        "rollout.cpus=0.25",
        "learner.cpus=0.25",
        "transport=collective",
        f"checkpoint.storage=file://{far}",
    ]
    train_beside(lambda: wait_until(lambda: process("ray::learner-1 v0")).kill(), load_recipe(SMOKE, settings), path)
    first = 2 * 8 + 8  # groups: behind them the other run dropped some
    issued, theirs = ([e for e in events(p) if e["event"] == "issued"] for p in (path, run))
    assert len(issued) == 32 and issued[:first] == theirs[:first]
    one, two = (json.loads((p / "summary.json").read_text())["stages"][0]["scores"] for p in (run, path))
    assert one[0][0] == two[0][0]
    assert all((a - b).abs().max() < 0.02 for a, b in zip(weights(path).values(), weights(run).values(), strict=True))
    assert re.search(
        r"learner ranks died during \w+ \(learner rank 1 on [\d.]+: its process is gone\); all 2 restart; \d+ steps",
        capsys.readouterr().out,
    )
    assert set(reached(path)) == {1}
    assert len(list((far / "wide" / "checkpoints").iterdir())) == 3 and not (path / "checkpoints").exists()
