"""RUN/timeline.json: a run's phases and each worker's work, for https://ui.perfetto.dev or chrome://tracing.

The JSON array format of Chrome's trace events, one event per line. The closing bracket may be left out, so
lines are only ever appended ("Trace Event Format", Google, section "JSON Array Format").
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from actors.runtime.files import drop

FILE_NAME = "timeline.json"
STEP_PHASES = ("generate", "score", "learn", "publish")
"""What a step consists of; the rest of a run is evaluation, commits and waiting."""


class Timeline:
    """Writes the events of one session of a run. Viewers show a session as a process, and its rows as threads."""

    def __init__(self, run: Path) -> None:
        path = run / FILE_NAME
        if path.is_file():
            whole_lines, _, _ = path.read_bytes().rpartition(b"\n")  # a process may have died while it wrote a line
            path.write_bytes(whole_lines + b"\n")
        else:
            path.write_bytes(b"[\n")
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - until `close`
        self._pid = os.getpid()
        self._rows: dict[str, int] = {}
        self._epoch = time.time() - time.monotonic()
        self._name("process_name", 0, time.strftime("session of %Y-%m-%d %H:%M:%S"))

    def add(self, row: str, name: str, began: float, seconds: float, **details: Any) -> None:
        """Adds a span of `seconds` that began at `began` (by `time.monotonic`)."""
        if row not in self._rows:
            self._rows[row] = len(self._rows)
            self._name("thread_name", self._rows[row], row)
        self._write(
            name=name,
            ph="X",
            ts=round(1e6 * (self._epoch + began)),
            dur=round(1e6 * seconds),
            tid=self._rows[row],
            args=details,
        )

    def flush(self) -> None:
        self._file.flush()

    def abandon(self) -> None:
        """Drops what is not written yet."""
        drop(self._file)

    def close(self) -> None:
        self._file.close()

    def _name(self, kind: str, row: int, name: str) -> None:
        self._write(name=kind, ph="M", tid=row, args={"name": name})

    def _write(self, **event: Any) -> None:
        self._file.write(json.dumps({**event, "pid": self._pid}) + ",\n")
