"""Torch's profiler on this process."""

import gzip
import json

import torch

from actors.learner import profiler
from actors.learner.profiler import Recorder


def multiply():
    torch.randn(64, 64) @ torch.randn(64, 64)


def test_it_gives_a_trace_and_the_costliest_operators():
    recorder = Recorder(on_gpu=False)
    recorder.begin()
    for _ in range(3):
        multiply()
        recorder.passed()
    profile = recorder.end()
    events = json.loads(gzip.decompress(profile.trace))["traceEvents"]
    assert sum(event["name"] == "aten::mm" for event in events) == 3
    calls = {operator.name: operator.calls for operator in profile.operators}
    assert calls["aten::mm"] == 3 and calls["aten::randn"] == 6 and profile.passes == 3
    seconds = [operator.seconds for operator in profile.operators]
    assert seconds == sorted(seconds, reverse=True) and seconds[0] > 0


def test_it_stops_after_some_passes_and_leaves_a_large_trace_out(monkeypatch):
    monkeypatch.setattr(profiler, "PASSES", 2)
    monkeypatch.setattr(profiler, "TRACE_BYTES", 100)
    recorder = Recorder(on_gpu=False)
    recorder.begin()
    for _ in range(5):
        multiply()
        recorder.passed()
    profile = recorder.end()
    (mm,) = [operator for operator in profile.operators if operator.name == "aten::mm"]
    assert (profile.trace, profile.passes, mm.calls) == (None, 2, 2)


def test_what_was_not_begun_has_no_end():
    recorder = Recorder(on_gpu=False)
    recorder.passed()
    assert recorder.end() is None
