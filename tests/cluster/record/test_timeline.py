"""The timeline of a run, as a viewer reads it."""

import json
import time

from cluster.record.timeline import FILE_NAME, Timeline


def read(run):
    """A viewer closes the array by itself."""
    return json.loads((run / FILE_NAME).read_text().rstrip().rstrip(",") + "]")


def test_events_have_rows_and_real_times(tmp_path):
    timeline = Timeline(tmp_path)
    before = time.time()
    timeline.add("run", "learn", time.monotonic(), 2.5, step=3)
    timeline.add("rollout-0", "8 groups", time.monotonic() - 1, 1.0)
    timeline.add("run", "publish", time.monotonic(), 0.25)
    timeline.close()
    names = {e["tid"]: e["args"]["name"] for e in read(tmp_path) if e["name"] == "thread_name"}
    spans = [e for e in read(tmp_path) if e["ph"] == "X"]
    assert [(names[e["tid"]], e["name"], e["dur"]) for e in spans] == [
        ("run", "learn", 2_500_000),
        ("rollout-0", "8 groups", 1_000_000),
        ("run", "publish", 250_000),
    ]
    assert spans[0]["args"] == {"step": 3} and abs(spans[0]["ts"] / 1e6 - before) < 1
    assert spans[0]["ts"] - spans[1]["ts"] > 900_000


def test_a_line_that_a_dying_process_cut_off_spoils_nothing(tmp_path):
    first = Timeline(tmp_path)
    first.add("run", "learn", 0.0, 1.0)
    first.close()
    with open(tmp_path / FILE_NAME, "a") as file:
        file.write('{"name": "pub')
    second = Timeline(tmp_path)
    second.add("run", "export", 5.0, 1.0)
    second.close()
    assert [e["name"] for e in read(tmp_path) if e["ph"] == "X"] == ["learn", "export"]
