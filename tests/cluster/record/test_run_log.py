"""log.jsonl: what a run told, kept as it happens, read back whole or as it grows; and which worker's log is meant."""

import json
import threading
import time
from datetime import UTC, datetime

import pytest

from cluster.cli.app import main
from cluster.record.console import LineDisplay, LoggedDisplay
from cluster.record.run_log import follow_log, log_words, read_log

STEP = {
    "stage": "sft",
    "kind": "sft",
    "stage_step": 3,
    "max_steps": 40,
    "loss": 0.5,
    "tokens_per_s": 900.0,
    "seconds_left": 9.0,
}


@pytest.fixture
def run(tmp_path):
    (tmp_path / "recipe.yaml").write_text("name: x")
    return tmp_path


def sitting(run, step=0):
    """The display of a process that holds the run."""
    display = LoggedDisplay(LineDisplay(), run.name)
    display.at = lambda: step
    display.log_to(run)
    return display


def test_what_is_shown_is_kept_as_it_happens(run, capsys):
    display = sitting(run, 12)
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
    sitting(run).say(text)
    [line] = read_log(run)
    assert line.get("worker") == worker and line["text"] == text


def test_a_run_that_is_not_held_yet_writes_nothing(run):
    display = LoggedDisplay(LineDisplay(), run.name)
    display.say("run folder")
    assert not (run / "log.jsonl").exists()  # another process may hold the run
    display.log_to(run)
    assert [(line["text"], line["step"]) for line in read_log(run)] == [("run folder", None)]


def test_the_log_survives_a_resume_and_a_torn_last_line(run):
    sitting(run, 7).say("first")
    with open(run / "log.jsonl", "a") as file:
        file.write('{"time": "2026-01-01T00:00:00+00:00", "te')  # the process died here
    sitting(run, 5).say("resumed at step 5")
    assert [(line["step"], line["text"]) for line in read_log(run)] == [(7, "first"), (5, "resumed at step 5")]


def test_a_disk_that_cannot_be_written_fails_no_run_and_loses_no_line(run):
    display = sitting(run)
    (run / "log.jsonl").unlink()
    (run / "log.jsonl").symlink_to("/dev/full")
    display.say("one")
    (run / "log.jsonl").unlink()
    display.say("two \udcff")
    assert [line["text"] for line in read_log(run)] == ["one", "two ?"]


def test_words_cannot_steer_the_terminal(run):
    sitting(run).say("a\x1b[2J\x07b\nc →")
    [line] = read_log(run)
    words = log_words(line)
    local = datetime.fromisoformat(line["time"]).astimezone()
    assert words == f"{local:%Y-%m-%d %H:%M:%S}  a\ufffd[2J\ufffdb\nc →"


def test_lines_that_are_none_are_left_out(run):
    (run / "log.jsonl").write_text(
        '[]\n{"time": 1, "text": "x"}\n{"text": "x"}\n\n{"time": "2026-01-01", "text": 1}\nno\n'
    )
    assert [line["text"] for line in read_log(run)] == ["1"]


def test_following_shows_what_comes_and_ends_with_the_run(run):
    display, going = sitting(run), threading.Event()
    going.set()
    display.say("first")

    def work():
        for text in ("second", "third"):
            time.sleep(0.1)
            display.say(text)
        going.clear()
        time.sleep(0.1)
        display.say("report written")  # after its end a run still says so

    worker = threading.Thread(target=work)
    worker.start()
    seen = [line["text"] for line in follow_log(run, going.is_set, poll_s=0.01, quiet_s=0.5)]
    worker.join()
    assert seen == ["first", "second", "third", "report written"]


def test_following_puts_half_a_line_together(run):
    path = run / "log.jsonl"
    line = b'{"time": "2026-01-01T00:00:00+00:00", "event": "say", "text": "whole \xe2\x86\x92"}\n'
    path.write_bytes(line[:-4])
    lines = follow_log(run, lambda: True, poll_s=0.05)
    threading.Timer(0.2, lambda: path.write_bytes(line)).start()
    assert next(lines)["text"] == "whole →"


def logs(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["curlvpr", "logs", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit:
        main()
    out = capsys.readouterr()
    return exit.value.code, out.out, out.err.strip()


def test_the_command_shows_the_log_and_names_what_is_missing(run, monkeypatch, capsys):
    code, _, err = logs(monkeypatch, capsys, run)
    assert code == 2 and "has no log.jsonl" in err and len(err.splitlines()) == 1
    assert "has no log.jsonl" in logs(monkeypatch, capsys, run, "--follow")[2]
    sitting(run).say("hello")
    capsys.readouterr()
    code, out, _ = logs(monkeypatch, capsys, run)
    assert code == 0 and out.endswith("  hello\n")
    assert "no run folder" in logs(monkeypatch, capsys, run / "nothing")[2]
    code, _, err = logs(monkeypatch, capsys, run, "--worker", "rollout-0")
    assert code == 2 and "--worker rollout-0" in err and "is not in progress" in err
