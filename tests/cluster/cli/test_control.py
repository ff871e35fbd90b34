"""`curlvpr status`, `scale`, `pause`, `checkpoint`, `profile` and `stop`, on a run that no process holds."""

import json

import pytest
from typer.testing import CliRunner

from cluster.cli.app import app


@pytest.fixture
def ended(tmp_path):
    (tmp_path / "recipe.yaml").write_text("name: x")
    ledger = {"issued": 9, "trained": 8, "dropped": 1, "in_flight": 0}
    summary = {"status": "stopped", "steps": 12, "version": 14, "ledger": ledger}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    return tmp_path


def test_the_status_is_shown_by_name(ended):
    shown = CliRunner().invoke(app, ["status", str(ended)])
    lines = [line.split(maxsplit=1) for line in shown.stdout.splitlines()]
    assert lines == [
        ["run", ended.name],
        ["status", "stopped"],
        ["steps", "12"],
        ["version", "14"],
        ["ledger", "issued 9, trained 8, dropped 1, in flight 0"],
    ]


def test_the_status_is_one_json_object_if_asked_for(ended):
    shown = CliRunner().invoke(app, ["status", str(ended), "--json"])
    status = json.loads(shown.stdout)
    assert (status["run"], status["status"], status["steps"]) == (ended.name, "stopped", 12)


@pytest.mark.parametrize("request_of", [["scale", "--rollout", "2"], ["pause"], ["checkpoint"], ["profile"], ["stop"]])
def test_a_run_that_has_ended_takes_no_request(refused, ended, request_of):
    name, *options = request_of
    assert str(ended) in refused(name, ended, *options)


@pytest.mark.parametrize("steps, words", [("0", "equal to 1"), ("21", "equal to 20")])
def test_only_a_few_steps_can_be_profiled(ended, steps, words):
    answer = CliRunner().invoke(app, ["profile", str(ended), "--steps", steps])
    assert answer.exit_code == 2 and words in answer.output


def test_scale_needs_a_number(refused, ended):
    assert "give --rollout, --reward or both" in refused("scale", ended)
