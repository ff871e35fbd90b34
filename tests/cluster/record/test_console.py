"""What a run shows is logged in its folder, line by line."""

import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from cluster.record.console import LineDisplay, LoggedDisplay
from cluster.record.run_log import read_log
from tests.support.logged_run import STEP, session


@pytest.fixture
def run(tmp_path):
    (tmp_path / "recipe.yaml").write_text("name: x")
    return tmp_path


def test_what_is_shown_is_kept_as_it_happens(run, capsys):
    display = session(run, 12)
    before = datetime.now(UTC)
    display.say("preparing")
    display.step(STEP)
    display.evaluation("sft 3", "val", {"closed_accuracy": (0.5, 0.4, 0.6)})
    display.keep("say", "failed: no GPU")
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]  # nothing was closed yet
    assert [(line["event"], line["text"]) for line in lines] == [
        ("say", "preparing"),
        ("step", "sft    3/40  loss 0.500  900 tok/s"),
        ("evaluation", "sft 3 val: closed accuracy 0.500 [0.400, 0.600]"),
        ("say", "failed: no GPU"),
    ]
    assert all(
        list(line) == ["time", "run", "step", "event", "text"] and line["run"] == run.name and line["step"] == 12
        for line in lines
    )
    assert all(before <= datetime.fromisoformat(line["time"]).replace(microsecond=999_999) for line in lines)
    assert lines[0]["time"].endswith("+00:00")
    shown = capsys.readouterr().out
    assert "preparing" in shown and "loss 0.500" in shown and "no GPU" not in shown


@pytest.mark.parametrize(
    "text, worker",
    [
        ("rollout-0 on 10.0.0.7 died: out of memory; another is started", "rollout-0"),
        ("reward-3-start-9: its node is about to go; what it had goes to others", "reward-3-start-9"),
        ("rollout workers 2 → 3: a step's responses take 9.0 s", None),
        ("starting 1 rollout, 1 reward and 1 learner workers", None),
    ],
)
def test_a_line_about_a_worker_names_it(run, text, worker):
    session(run).say(text)
    [line] = read_log(run)
    assert line.get("worker") == worker and line["text"] == text


def test_a_run_that_is_not_held_yet_writes_nothing(run):
    display = LoggedDisplay(LineDisplay(), run.name)
    display.say("run folder")
    assert not (run / "log.jsonl").exists()  # another process may hold the run
    display.log_to(run)
    assert [(line["text"], line["step"]) for line in read_log(run)] == [("run folder", None)]


def test_the_log_survives_a_resume_and_a_torn_last_line(run):
    session(run, 7).say("first")
    with open(run / "log.jsonl", "a") as file:
        file.write('{"time": "2026-01-01T00:00:00+00:00", "te')  # the process died here
    session(run, 5).say("resumed at step 5")
    assert [(line["step"], line["text"]) for line in read_log(run)] == [(7, "first"), (5, "resumed at step 5")]


def test_a_disk_that_cannot_be_written_fails_no_run_and_loses_no_line(run):
    display = session(run)
    (run / "log.jsonl").unlink()
    (run / "log.jsonl").symlink_to("/dev/full")
    display.say("one")
    (run / "log.jsonl").unlink()
    display.say("two \udcff")
    assert [line["text"] for line in read_log(run)] == ["one", "two ?"]


def test_a_run_whose_output_cannot_be_written_goes_on_and_says_so_in_its_log(run):
    """Nobody reads its output any more, or it went to a file on a full disk."""
    code = (
        "import sys; from pathlib import Path; from cluster.record.console import LineDisplay, LoggedDisplay\n"
        "display = LoggedDisplay(LineDisplay(), 'x'); display.log_to(Path(sys.argv[1]))\n"
        "for text in ('one', 'two'): display.say(text)\n"
        "display.close()"
    )
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", code, str(run)], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0 and done.stderr == ""
    lines = [line["text"] for line in read_log(run)]
    assert lines == [
        "standard output: No space left on device; the run goes on, and shows nothing more there",
        "one",
        "two",
    ]
