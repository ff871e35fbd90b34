"""Summaries: of a run that never started, and how measures are written."""

from cluster.config.recipe_file import load_recipe
from cluster.run.progress.summary import empty_summary, flat
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
