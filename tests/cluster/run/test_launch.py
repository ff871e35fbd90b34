"""A session of a run: what it logs, and what it refuses."""

import pytest

from cluster.config.recipe_file import load_recipe
from cluster.record.run_log import read_log
from cluster.run.launch import resume


def test_what_it_told_is_kept(run):
    lines = list(read_log(run))
    assert [line["step"] for line in lines if line["event"] == "step"] == list(range(1, 17))
    assert {line["run"] for line in lines} == {run.name} and lines == sorted(lines, key=lambda line: line["time"])
    told = [line["text"] for line in lines if line["event"] == "say"]
    assert told[0] == f"run folder {run}" and f"report {run / 'report.html'}" in told
    assert any(text.startswith("finished in ") for text in told)
    assert sum(line["event"] == "evaluation" and " test " in line["text"] for line in lines) >= 4


def test_a_complete_run_says_so(run):
    from cluster.errors import UserError

    with pytest.raises(UserError, match="complete"):
        resume(load_recipe(run / "recipe.yaml"), run)
