"""What a run records of its learner when it is asked to: real ranks, real steps, and the files that come of them."""

import gzip
import json
from types import SimpleNamespace

import pytest

from actors.learner.profiler import OperatorTime, RankProfile
from actors.learner.sft_update import SftUpdate
from cluster.run.profiling import Profiling, write_profiles


@pytest.fixture
def profiled(tmp_path, two):
    """Two ranks, a run of theirs at step 6, and what it said."""
    two.make()
    said = []
    context = SimpleNamespace(
        workers=SimpleNamespace(learner=SimpleNamespace(call=two.call, call_all=two.every)),
        display=SimpleNamespace(say=said.append),
        position=SimpleNamespace(step=6),
        writer=SimpleNamespace(path=tmp_path),
    )
    return Profiling(context), context, said


def learn(context, two, tasks):
    two.call(SftUpdate(tuple(tasks[:2]), 1e-4))
    context.position.step += 1


def test_the_steps_that_were_asked_for_are_recorded_on_every_rank(profiled, two, phantom_tasks, tmp_path):
    profiling, context, said = profiled
    profiling.begin(2)
    for left in (1, 0):
        learn(context, two, phantom_tasks)
        profiling.step_done()
        assert profiling.steps_left == left
    folder = tmp_path / "profile" / "step-7"
    (line,) = said
    assert line.startswith(f"profile of steps 7 to 8: {folder}") and "aten::" in line
    for rank in range(2):
        events = json.loads(gzip.decompress((folder / f"rank-{rank}.json.gz").read_bytes()))["traceEvents"]
        assert any(event["name"] == "aten::addmm" for event in events)
    table = (folder / "operators.txt").read_text()
    assert table.count("2 forward passes") == 2 and "learner rank 1" in table
    profiling.step_done()
    profiling.end()
    assert len(said) == 1


def test_a_run_that_ends_writes_what_it_has_and_new_ranks_have_nothing(profiled, two, phantom_tasks, tmp_path):
    profiling, context, said = profiled
    profiling.begin(5)
    learn(context, two, phantom_tasks)
    profiling.step_done()
    profiling.end()
    assert "profile of steps 7 to 7" in said[0] and (tmp_path / "profile" / "step-7" / "rank-1.json.gz").is_file()
    profiling.begin(1)
    two.make()
    profiling.step_done()
    assert "ranks were restarted" in said[1]


def test_what_is_left_out_is_told(tmp_path):
    operators = (OperatorTime("aten::mm", 1200, 1.5),)
    shown = write_profiles(tmp_path, {0: RankProfile(None, 32, operators), 1: RankProfile(b"", 3, operators)})
    first, row = shown.splitlines()
    assert "no more are recorded" in first and "more than 64 MiB: ask for fewer steps" in first
    assert row.split() == ["1.500", "s", "1,200", "calls", "aten::mm"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["operators.txt", "rank-1.json.gz"]
