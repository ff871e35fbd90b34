"""What a run spends its time on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from cluster.record.timeline import Timeline
from cluster.run.progress.position import Position


class PhaseClock:
    """Adds up seconds by phase ("generate", "score", "learn", "publish", "evaluate", "commit", "export").

    Attributes:
        seconds: by phase, over all sessions of a resumed run.
        current: the phase that the run is in; "" between two.
        seconds_before: wall-clock seconds of earlier sessions.
    """

    def __init__(self, timeline: Timeline, position: Position) -> None:
        self.timeline, self.position = timeline, position
        self.seconds: dict[str, float] = {}
        self.current = ""
        self.seconds_before = 0.0
        self.started = time.monotonic()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Counts the block as `name`, and draws it into the timeline."""
        began, outer, self.current = time.monotonic(), self.current, name
        try:
            yield
        finally:
            self.current = outer
            seconds = time.monotonic() - began
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
            self.timeline.add("run", name, began, seconds, step=self.position.step)

    def total(self) -> float:
        """Wall-clock seconds of the run so far."""
        return self.seconds_before + time.monotonic() - self.started

    def restart(self, seconds: dict[str, float], total: float) -> None:
        """Goes on from the times of a commit."""
        self.seconds, self.seconds_before = seconds, total
        self.started = time.monotonic()
