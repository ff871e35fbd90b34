"""The log of a run is read back: whole, or as it grows."""

import threading
import time
from datetime import datetime

import pytest

from cluster.cli.app import main
from cluster.record.run_log import follow_log, log_words, read_log
from tests.support.logged_run import session


@pytest.fixture
def run(tmp_path):
    (tmp_path / "recipe.yaml").write_text("name: x")
    return tmp_path


def test_words_cannot_steer_the_terminal(run):
    session(run).say("a\x1b[2J\x07b\nc →")
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
    display, going = session(run), threading.Event()
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
    session(run).say("hello")
    capsys.readouterr()
    code, out, _ = logs(monkeypatch, capsys, run)
    assert code == 0 and out.endswith("  hello\n")
    assert "no run folder" in logs(monkeypatch, capsys, run / "nothing")[2]
    code, _, err = logs(monkeypatch, capsys, run, "--worker", "rollout-0")
    assert code == 2 and "--worker rollout-0" in err and "is not in progress" in err
