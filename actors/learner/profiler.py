"""Torch's profiler on a rank: what the rank computed, operator by operator, while it was recorded."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_STEPS = 20  # that one request may ask for
PASSES = 32  # forward passes that are recorded at most: each adds thousands of events
TRACE_BYTES = 64 * 2**20  # compressed; a larger trace is left out
OPERATORS = 15


@dataclass(frozen=True)
class OperatorTime:
    """An operator's calls, and the seconds that it took by itself, without those that it called; on a GPU the GPU's."""

    name: str
    calls: int
    seconds: float


@dataclass(frozen=True)
class RankProfile:
    """What a rank recorded.

    Attributes:
        trace: in the format of chrome://tracing and Perfetto, compressed by gzip; None if it was too large.
        passes: forward passes that were recorded; after `PASSES` the recording ended.
        operators: the costliest first.
    """

    trace: bytes | None
    passes: int
    operators: tuple[OperatorTime, ...]


class Recorder:
    """Records from `begin` to `end`, but no more than `PASSES` forward passes. All calls come from one thread: the
    profiler crashes if it is stopped in another.
    """

    def __init__(self, on_gpu: bool) -> None:
        self.on_gpu = on_gpu
        self.profiler: Any = None  # torch's; it may have stopped already
        self.passes = 0

    def begin(self) -> None:
        from torch.profiler import ProfilerActivity, profile

        activities = [ProfilerActivity.CPU]
        if self.on_gpu:
            activities.append(ProfilerActivity.CUDA)
        self.profiler, self.passes = profile(activities=activities), 0
        self.profiler.start()

    def passed(self) -> None:
        """A forward pass, with its backward pass if it has one, is over."""
        if self.profiler is None or self.passes == PASSES:
            return
        self.passes += 1
        if self.passes == PASSES:
            self.profiler.stop()

    def end(self) -> RankProfile | None:
        """What was recorded; None if nothing was begun."""
        profiler, self.profiler = self.profiler, None
        if profiler is None:
            return None
        if self.passes < PASSES:
            profiler.stop()
        return RankProfile(_trace(profiler.export_chrome_trace), self.passes, self._operators(profiler))

    def _operators(self, profiler: Any) -> tuple[OperatorTime, ...]:
        attribute = "self_device_time_total" if self.on_gpu else "self_cpu_time_total"  # in microseconds
        times = [OperatorTime(e.key, e.count, getattr(e, attribute) / 1e6) for e in profiler.key_averages()]
        return tuple(sorted(times, key=lambda time: -time.seconds)[:OPERATORS])


def _trace(export: Callable[[str], None]) -> bytes | None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        export(str(path))
        compressed = gzip.compress(path.read_bytes(), compresslevel=5)
    return compressed if len(compressed) <= TRACE_BYTES else None
