"""`curlvpr runs`, `logs` and `compare`."""

import json

from typer.testing import CliRunner

from cluster.cli.app import app


def test_runs_are_listed(run):
    listed = CliRunner().invoke(app, ["runs", str(run.parent), "--json"])
    rows = {row["name"]: row for row in json.loads(listed.stdout)}
    assert (rows[run.name]["status"], rows[run.name]["recipe"]) == ("finished", "smoke")
    assert run.name in CliRunner().invoke(app, ["runs", str(run.parent)]).stdout


def test_a_folder_without_runs_says_so(tmp_path):
    assert CliRunner().invoke(app, ["runs", str(tmp_path)]).stdout == f"{tmp_path}: contains no run yet\n"


def test_a_log_is_printed_whole(run):
    printed = CliRunner().invoke(app, ["logs", str(run)]).stdout.splitlines()
    kept = [json.loads(line)["text"] for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(printed) == len(kept) and all(text in line for text, line in zip(kept, printed, strict=True))


def test_a_folder_that_is_no_run_has_no_log_and_is_not_compared(refused, run):
    assert "no run folder" in refused("logs", "nowhere")
    assert "no run folder" in refused("compare", run, "nowhere")
