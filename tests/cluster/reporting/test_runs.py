"""`curlvpr runs`: a row for every folder, true to what the run wrote, whatever is broken in it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.cli.app import main
from cluster.control.run_address import find_address, write_address
from cluster.errors import UserError
from cluster.record.run_status import saved_status
from cluster.reporting.runs import list_runs, runs_table
from tests.cluster.reporting.test_report import Writer, wrong


@pytest.fixture
def root(tmp_path):
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


def written(root, tasks, name, status, age_s=0, **more):
    """A run of two stages, whose files are `age_s` seconds old."""
    writer = Writer(root / name, tasks)
    start = writer.test("sft", "start", wrong)
    after = writer.stage(
        "sft", "sft", 3, start, lambda task: task.reference if task.domain == "closed" else wrong(task)
    )
    writer.stage("closed", "grpo", 2, after, None)
    path = writer.close(status, **more)
    for file in path.iterdir():
        os.utime(file, (time.time() - age_s,) * 2)
    return path


def rows_of(root, **more):
    return {row.name: row for row in list_runs(root, **more)}


def test_a_row_holds_what_the_run_wrote(root, phantom_tasks):
    path = written(root, phantom_tasks, "first", "failed", 90, why="no GPU left")
    summary = json.loads((path / "summary.json").read_text())
    (path / "report.html").write_text("made later, by the user")
    [row] = list_runs(root)
    assert (row.name, row.recipe, row.status, row.why, row.fault) == ("first", "smoke", "failed", "no GPU left", None)
    assert (row.stage, row.stage_step, row.max_steps, row.step, row.seconds) == ("closed", 2, 4, 5, 100.0)
    assert (row.test["stage"], row.test["when"], row.test["version"]) == ("sft", "end", 3)
    end = summary["stages"][0]["evaluation"]["end"]
    assert row.test["measures"] == {
        name: [end[name], *end["intervals"][name]] for name in ("closed_accuracy", "open_micro_f1")
    }
    assert row.wrote == pytest.approx(time.time() - 90, abs=20)
    [cells] = runs_table([row]).rows
    assert cells[:6] == ("first", "smoke", "failed", "closed 2/4", "5", "closed accuracy 1.000, open micro-F1 0.000")
    assert cells[6].startswith("1 min 3") and cells[7] == "1 min 40 s"


def test_the_newest_stands_first(root, phantom_tasks):
    for name, age in (("old", 5000), ("new", 5), ("middle", 300)):
        written(root, phantom_tasks, name, "finished", age)
    assert [row.name for row in list_runs(root)] == ["new", "middle", "old"]


def test_a_run_whose_process_died_is_gone_and_nobody_waits_for_its_cluster(root, phantom_tasks):
    with socket.create_server(("127.0.0.1", 0)) as server:
        dead = f"127.0.0.1:{server.getsockname()[1]}"
    for name in ("one", "two"):
        write_address(written(root, phantom_tasks, name, "running"), dead)
    start = time.monotonic()
    assert {row.status for row in list_runs(root)} == {"gone: its process died"}
    assert time.monotonic() - start < 5


def test_something_else_that_answers_at_the_address_is_waited_for_only_so_long(root, phantom_tasks):
    path = written(root, phantom_tasks, "one", "running")
    written(root, phantom_tasks, "two", "finished", 10)
    with socket.create_server(("127.0.0.1", 0)) as server:
        write_address(path, f"127.0.0.1:{server.getsockname()[1]}")
        rows = rows_of(root, ask_s=0.5)
    assert rows["one"].fault == "something answers at its address, but reported no status within 0.5 s"
    assert rows["two"].status == "finished" and rows["two"].fault is None


def broken(root, name, **files):
    (root / name).mkdir()
    for file, text in {"recipe.yaml": "name: mine", **files}.items():
        if text is not None:
            (root / name / file).write_text(text)


def test_broken_folders_have_a_row_that_says_what_is_wrong(root, phantom_tasks, capsys, monkeypatch):
    good = written(root, phantom_tasks, "good", "finished")
    summary = json.loads((good / "summary.json").read_text())
    recipe = (good / "recipe.yaml").read_text()
    broken(root, "nothing", **{"recipe.yaml": None})
    broken(root, "begun")
    broken(root, "torn-recipe", **{"recipe.yaml": "name: [a"})
    broken(root, "list-recipe", **{"recipe.yaml": "- 1"})
    broken(root, "torn-summary", **{"summary.json": '{"status": "run'})
    broken(root, "empty-summary", **{"summary.json": "{}"})
    broken(root, "list-summary", **{"summary.json": "[]"})
    broken(root, "no-seconds", **{"recipe.yaml": recipe, "summary.json": json.dumps({**summary, "seconds": None})})
    broken(
        root,
        "no-stages",
        **{"recipe.yaml": recipe, "summary.json": json.dumps({**summary, "stages": [{"name": "sft"}]})},
    )
    broken(
        root, "no-metrics", **{"recipe.yaml": recipe, "summary.json": json.dumps(summary), "metrics.parquet": "PAR1 no"}
    )
    for name, text in (("torn", '{"addr'), ("list", "[]"), ("none", '{"address": "here", "auth_mode": null}')):
        broken(root, f"{name}-address", ray_address=text)
    (root / "a-file").write_text("no folder")
    rows = rows_of(root)
    assert len(rows) == 14 and rows["good"].fault is None and rows["begun"].fault is None
    assert rows["nothing"].fault == "no run folder; it has no recipe.yaml"
    assert rows["begun"].status == "not started, or gone before its first step" and rows["begun"].recipe == "mine"
    for name in set(rows) - {"good", "begun", "nothing"}:
        assert "cannot be read" in rows[name].fault and "\n" not in rows[name].fault, name
    for name in ("torn", "list", "none"):
        assert rows[f"{name}-address"].fault.startswith("ray_address: ")
    assert "summary.json" in rows["torn-summary"].fault
    assert rows["no-metrics"].status == "finished" and rows["no-metrics"].recipe == "smoke"
    monkeypatch.setattr("sys.argv", ["curlvpr", "runs", str(root), "--json"])
    with pytest.raises(SystemExit) as exit:
        main()
    assert not exit.value.code
    assert {row["name"]: row["fault"] for row in json.loads(capsys.readouterr().out)} == {
        name: row.fault for name, row in rows.items()
    }


def test_what_ray_prints_beside_a_status_is_no_status(root, phantom_tasks, monkeypatch):
    run = written(root, phantom_tasks, "loud", "running")
    with socket.create_server(("127.0.0.1", 0)) as server:
        write_address(run, f"127.0.0.1:{server.getsockname()[1]}")
        for printed, status, fault in (
            ('{"status": "paused"}\n(raylet) WARNING: 8 PYTHON worker processes\n', "paused", None),
            ("(raylet) WARNING\n", None, "reported no status"),
        ):
            answer = subprocess.CompletedProcess([], 0, printed, "")
            monkeypatch.setattr(subprocess, "run", lambda *_, answer=answer, **__: answer)
            row = rows_of(root)["loud"]
            assert (row.status, row.fault) == (status, fault)


def test_broken_files_are_one_line_for_a_single_run_too(root):
    broken(root, "torn", **{"summary.json": "{", "ray_address": "{"})
    with pytest.raises(
        UserError, match="ray_address: cannot be read .*if the run is not in progress, remove this file"
    ):
        find_address(root / "torn")
    with pytest.raises(UserError, match="summary.json: cannot be read"):
        saved_status(root / "torn")


def test_names_and_faults_cannot_steer_the_terminal(root, capsys, monkeypatch):
    broken(root, "[red]\x1b[2Jx", **{"recipe.yaml": 'name: "[bold]\\e[2J[/nothing]"'})
    monkeypatch.setattr("sys.argv", ["curlvpr", "runs", str(root)])
    with pytest.raises(SystemExit) as exit:
        main()
    out = capsys.readouterr().out
    assert not exit.value.code and "\x1b" not in out and "[red]\ufffd[2Jx" in out and "[bold]\ufffd[2J[/nothing]" in out


def test_what_is_no_folder_of_runs_is_refused(root, tmp_path):
    with pytest.raises(UserError, match="nowhere: no such folder"):
        list_runs(tmp_path / "nowhere")
    broken(root, "mine")
    with pytest.raises(UserError, match=f"is a run folder itself; give the folder that holds it: {root}"):
        list_runs(root / "mine")
    assert list_runs(root)[0].name == "mine" and list_runs(tmp_path / "runs" / "mine" / "..")


def test_runs_that_are_over_are_listed_without_ray(root, phantom_tasks):
    written(root, phantom_tasks, "first", "finished")
    code = (
        "import sys; from pathlib import Path; from cluster.reporting.runs import list_runs; "
        f"rows = list_runs(Path({str(root)!r})); print(rows[0].status, 'ray' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60).stdout
        == "finished False\n"
    )


def test_a_run_that_ended_before_its_workers_stood_says_so(root):
    """Interrupted while its tasks are made: the process gets what Ctrl-C sends."""
    smoke = Path(__file__).parents[3] / "recipes" / "smoke.yaml"
    process = subprocess.Popen(
        [sys.executable, "-m", "cluster.cli", "train", str(smoke), "--name", "early", "--set", f"root={root}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"RAY_ADDRESS": "local"},
    )
    while not (root / "early" / "recipe.yaml").is_file():
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert "curlvpr resume" in process.communicate(timeout=120)[1].decode() and process.returncode == 130
    told = saved_status(root / "early")
    assert (told["status"], told["steps"]) == ("interrupted", 0) and "curlvpr resume" in told["why"]
    assert [row.status for row in list_runs(root)] == ["interrupted"]
