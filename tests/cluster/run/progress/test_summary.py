"""Summaries: of a run that never started, and how measures are written."""

import json
from types import SimpleNamespace

import pyarrow.parquet as pq

from cluster.config.recipe_file import load_recipe
from cluster.record.run_writer import RunWriter
from cluster.run.progress.position import Position
from cluster.run.progress.summary import RunSummary, empty_summary, flat
from tests.support.short_run import SMOKE


def test_a_run_that_never_started_has_a_summary_with_every_key_that_readers_need(tmp_path):
    summary = empty_summary("stopped", "while it waited", load_recipe(SMOKE), tmp_path / "mine")
    assert summary == {
        "status": "stopped",
        "why": "while it waited",
        "name": "mine",
        "recipe": "smoke",
        "seed": 0,
        "steps": 0,
        "version": 0,
        "stages": [],
        "ledger": {"issued": 0, "trained": 0, "dropped": 0, "in_flight": 0},
        "seconds": {"all": 0.0},
    }


def test_measures_are_written_with_their_intervals_beside_them():
    measures = {"closed_accuracy": (0.5, 0.4, 0.6)}
    assert flat(measures) == {"closed_accuracy": 0.5, "intervals": {"closed_accuracy": [0.4, 0.6]}}


def test_whoever_reads_that_a_run_has_ended_finds_its_last_rows(tmp_path):
    ledger = SimpleNamespace(totals=lambda: {"issued": 0, "trained": 0, "dropped": 0, "in_flight": 0})
    phases = SimpleNamespace(total=lambda: 1.0, seconds={})
    writer = RunWriter(tmp_path)
    context = SimpleNamespace(
        recipe=load_recipe(SMOKE),
        writer=writer,
        position=Position(),
        curriculum=SimpleNamespace(records=[]),
        sampler=None,
        ledger=ledger,
        phases=phases,
    )
    for step in range(1, 8):  # only the first is written at once
        writer.add_metrics({"event": "step", "step": step})
    RunSummary(context).write("finished")
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "finished"
    assert pq.read_table(tmp_path / "metrics.parquet")["step"].to_pylist() == list(range(1, 8))
    writer.close()
