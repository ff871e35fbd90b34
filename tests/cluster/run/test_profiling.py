"""What a run keeps of a recording of its learner. The ranks are recorders in this process; test_requests.py has a run
that is profiled.
"""

import gzip
import json
from types import SimpleNamespace

import pytest
import torch

from actors.learner.profiler import OperatorTime, RankProfile, Recorder
from cluster.run.profiling import Profiling, write_profiles


class Learner:
    """One rank, without Ray."""

    def __init__(self):
        self.recorder = Recorder(on_gpu=False)

    def call(self, order):
        return order.run(self)

    def call_all(self, order):
        return [order.run(self)]

    def step(self):
        torch.randn(64, 64) @ torch.randn(64, 64)
        self.recorder.passed()


@pytest.fixture
def context(tmp_path):
    """A run at step 6."""
    said = []
    return SimpleNamespace(
        workers=SimpleNamespace(learner=Learner()),
        display=SimpleNamespace(say=said.append),
        position=SimpleNamespace(step=6),
        writer=SimpleNamespace(path=tmp_path),
        said=said,
    )


def step(context, profiling):
    context.workers.learner.step()
    context.position.step += 1
    profiling.step_done()


def test_the_steps_that_were_asked_for_are_recorded(context, tmp_path):
    profiling = Profiling(context)
    step(context, profiling)
    profiling.begin(2)
    step(context, profiling)
    assert profiling.steps_left == 1 and not context.said
    step(context, profiling)
    step(context, profiling)
    profiling.end()
    folder = tmp_path / "profile" / "step-8"
    (line,) = context.said
    assert line.startswith(f"profile of steps 8 to 9: {folder}") and "aten::mm" in line
    events = json.loads(gzip.decompress((folder / "rank-0.json.gz").read_bytes()))["traceEvents"]
    assert sum(event["name"] == "aten::mm" for event in events) == 2
    assert "learner rank 0, 2 forward passes" in (folder / "operators.txt").read_text()


def test_a_run_that_ends_writes_what_it_has_and_new_ranks_have_nothing(context, tmp_path):
    profiling = Profiling(context)
    profiling.begin(5)
    step(context, profiling)
    profiling.end()
    assert (
        "profile of steps 7 to 7" in context.said[0] and (tmp_path / "profile" / "step-7" / "rank-0.json.gz").is_file()
    )
    profiling.begin(1)
    context.workers.learner.recorder.end()
    step(context, profiling)
    assert "ranks were restarted" in context.said[1] and profiling.steps_left == 0


def test_a_folder_that_cannot_be_written_does_not_end_the_run(context, tmp_path):
    (tmp_path / "profile").write_text("")
    profiling = Profiling(context)
    profiling.begin(1)
    step(context, profiling)
    assert context.said[0].startswith("the profile is lost: ")


def test_what_is_left_out_is_told(tmp_path):
    operators = (OperatorTime("aten::mm", 1200, 1.5),)
    shown = write_profiles(tmp_path, {0: RankProfile(None, 32, operators), 1: RankProfile(b"", 3, operators)})
    first, row = shown.splitlines()
    assert "no more are recorded" in first and "more than 64 MiB: ask for fewer steps" in first
    assert row.split() == ["1.500", "s", "1,200", "calls", "aten::mm"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["operators.txt", "rank-1.json.gz"]
