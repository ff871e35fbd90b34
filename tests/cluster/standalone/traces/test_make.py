"""`curlvpr data traces`, as a user runs it."""

import os
import signal
import subprocess
import sys
import time
from random import Random

import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from cluster.cli.app import app
from cluster.errors import UserError
from cluster.standalone.traces.make import TracePlan, find_tasks, make_traces
from curriculum.taskset import read_tasks, write_tasks
from rewards.traces.report_writer import ReportWriter, trace_of
from rewards.traces.verifier import VerifierConfig, verify
from tests.support.rewards.reported import CHOICE, TASKS
from tests.support.rewards.simulated_teacher import PROMPT, SimulatedTeacher

COUNT = 60


def run(*arguments):
    result = CliRunner().invoke(app, ["data", "traces", *map(str, arguments)])
    if isinstance(result.exception, UserError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_reports_become_traces(reported, tmp_path):
    page = tmp_path / "traces.html"
    printed = run(reported, "--out", tmp_path / "out", "--html", page)
    assert "6 of 6 tasks (100.0%) have an accepted trace" in printed
    tasks = read_tasks(tmp_path / "out")
    assert [task.id for task in tasks] == [task.id for task in TASKS]  # in their order
    for task in tasks:
        assert verify(task, task.reference, VerifierConfig()).is_accepted
        assert os.path.isfile(task.images[0])
    html = page.read_text()
    assert html.count("data:image/jpeg") == 6 and "small left pleural effusion" in html
    assert "data:image" not in _page_without_films(reported, tmp_path)


def _page_without_films(reported, tmp_path):
    run(reported, "--out", tmp_path / "bare", "--html", tmp_path / "bare.html", "--no-images")
    return (tmp_path / "bare.html").read_text()


def test_the_result_depends_on_the_seed_and_not_on_the_order_of_the_tasks(reported, tmp_path):
    run(reported, "--out", tmp_path / "a")
    run(reported, "--out", tmp_path / "b", "--seed", 1)
    write_tasks(read_tasks(reported)[::-1], tmp_path / "turned")
    run(tmp_path / "turned", "--out", tmp_path / "c")
    first, other, turned = (
        {task.id: task.reference for task in read_tasks(tmp_path / name)} for name in ("a", "b", "c")
    )
    assert first == turned != other


def test_what_is_there_is_continued(reported, tmp_path):
    run(reported, "--out", tmp_path / "out")
    journal = tmp_path / "out" / "journal.jsonl"
    size = journal.stat().st_size
    kept = (tmp_path / "out" / "tasks.parquet").read_bytes()
    assert "6 drafts were there already" in run(reported, "--out", tmp_path / "out")
    assert journal.stat().st_size == size and (tmp_path / "out" / "tasks.parquet").read_bytes() == kept
    with pytest.raises(UserError, match=r"written with other settings \(seed\)"):
        run(reported, "--out", tmp_path / "out", "--seed", 5)


def test_several_traces_of_a_task(reported, tmp_path):
    run(reported, "--out", tmp_path / "out", "--per-task", 2)
    ids = [task.id for task in read_tasks(tmp_path / "out")]
    assert {"choice", "choice-trace2"} <= set(ids)


def test_a_set_without_any_trace_is_told(tmp_path):
    task = CHOICE.model_copy(update={"options": {"A": "PA", "B": "AP"}, "gold": ("A",), "images": ()})
    write_tasks([task], tmp_path / "set")
    with pytest.raises(UserError, match=r"no trace was accepted, so .*; most often: .+ \(1 of 1 tasks\)"):
        run(tmp_path / "set", "--out", tmp_path / "out")
    with pytest.raises(UserError, match="no such file"):
        find_tasks(tmp_path / "gone")


def test_a_writer_that_is_stopped_leaves_the_rest_for_later(reported, tmp_path):
    class Stopped(ReportWriter):
        def write(self, asks):
            for draft in super().write(asks):
                yield draft
                self.stop()

    plan = TracePlan(reported, tmp_path / "out")
    summary = make_traces(plan, find_tasks(reported), Stopped(0, 3), lambda line: None)
    assert summary.accepted == 1
    assert make_traces(plan, find_tasks(reported), ReportWriter(0, 3), lambda line: None).accepted == 6


@pytest.fixture
def many(tmp_path):
    """A folder with a set of `COUNT` tasks, and a right trace of each."""
    folder = tmp_path / "many"
    folder.mkdir()
    Image.new("L", (8, 8)).save(folder / "film.png")
    tasks = [
        CHOICE.model_copy(update={"id": f"t{number}", "images": (str(folder / "film.png"),)}) for number in range(COUNT)
    ]
    write_tasks(tasks, folder)
    (folder / "prompt.j2").write_text(PROMPT)
    return folder, {task.id: trace_of(task, Random(task.id)) for task in tasks}


def teacher_command(folder, url, out):
    settings = {"model": "m", "base_url": url, "prompt": "prompt.j2", "timeout_s": 1, "concurrency": 4}
    (folder / "teacher.yaml").write_text(yaml.safe_dump(settings))
    arguments = ["data", "traces", folder, "--out", out, "--writer", "teacher", "--teacher", folder / "teacher.yaml"]
    return [sys.executable, "-m", "cluster.cli", *map(str, arguments)]


FAULTS = ("busy", "rate", "never", "json", "wrong", "wrong", "prose", "cut")


@pytest.mark.parametrize(
    "number, most_again", [(signal.SIGKILL, 4), pytest.param(signal.SIGTERM, 0, marks=pytest.mark.slow)]
)
def test_a_teacher_that_is_killed_in_the_middle_is_not_paid_twice(many, tmp_path, number, most_again):
    """Half of the tasks meet a fault. After SIGKILL, only what was under way at that moment is asked for again."""
    folder, traces = many
    faults = {id: [FAULTS[index // 2 % len(FAULTS)]] for index, id in enumerate(traces) if index % 2}
    with SimulatedTeacher(traces, faults, latency_s=0.05) as endpoint:
        command = teacher_command(folder, endpoint.url, tmp_path / "out")
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        while endpoint.paid.total() < COUNT // 3 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert process.returncode, said
        assert not (tmp_path / "out" / "tasks.parquet").exists()
        before = endpoint.paid.total()
        assert before < COUNT
        subprocess.run(command, check=True, timeout=120, capture_output=True)
        again = sum(times - 1 for times in endpoint.paid.values())
    tasks = read_tasks(tmp_path / "out")
    assert [task.id for task in tasks] == list(traces)  # nothing is lost
    assert all(verify(task, task.reference, VerifierConfig()).is_accepted for task in tasks)
    assert again <= most_again


def test_an_endpoint_that_is_not_there_is_told_after_one_round(many, tmp_path):
    folder, _ = many
    write_tasks(find_tasks(folder)[:2], tmp_path / "two")
    settings = {"model": "m", "base_url": "http://127.0.0.1:9/v1", "retries": 0}
    (folder / "teacher.yaml").write_text(yaml.safe_dump(settings))
    words = r"most often: no answer \(2 of 2 tasks\), as in: Connection error"
    with pytest.raises(UserError, match=words):
        run(tmp_path / "two", "--out", tmp_path / "out", "--writer", "teacher", "--teacher", folder / "teacher.yaml")
