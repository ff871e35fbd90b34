"""A run's phases, and what each worker had when: RUN/timeline.json, for https://ui.perfetto.dev or chrome://tracing.

The JSON array format of Chrome's trace events, one event a line; the bracket that would close it may be left out, so that
lines are only ever added ("Trace Event Format", Google, section "JSON Array Format").
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

FILE_NAME = "timeline.json"
STEP_PHASES = ("generate", "score", "learn", "publish")
"""What a step consists of; the rest of a run is evaluation, commits and waiting."""


class Timeline:
    """Writes events of one sitting of a run, which is a process of its own in the picture; each row of it is a thread."""

    def __init__(self, run: Path) -> None:
        path = run / FILE_NAME
        whole = (
            path.read_bytes().rpartition(b"\n")[0] + b"\n" if path.is_file() else b"[\n"
        )  # without what a dying process cut off
        path.write_bytes(whole)
        self._file = open(path, "a", encoding="utf-8")
        self._pid, self._rows = os.getpid(), {}
        self._epoch = time.time() - time.monotonic()
        self._name("process_name", 0, time.strftime("sitting of %Y-%m-%d %H:%M:%S"))

    def add(self, row: str, what: str, began: float, seconds: float, **details: Any) -> None:
        """Something that took `seconds`, from `began` on (by `time.monotonic`)."""
        if row not in self._rows:
            self._rows[row] = len(self._rows)
            self._name("thread_name", self._rows[row], row)
        self._write(
            name=what,
            ph="X",
            ts=round(1e6 * (self._epoch + began)),
            dur=round(1e6 * seconds),
            tid=self._rows[row],
            args=details,
        )

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _name(self, what: str, row: int, name: str) -> None:
        self._write(name=what, ph="M", tid=row, args={"name": name})

    def _write(self, **event: Any) -> None:
        self._file.write(json.dumps({**event, "pid": self._pid}) + ",\n")
