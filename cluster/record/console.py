"""What a run shows: a live table in a terminal; elsewhere (a job's log, a pipe) one line for each step."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from cluster.measures import Interval
from cluster.measures.headlines import HEADLINES
from cluster.outputs import mute_stdout
from cluster.record.run_log import LOG
from cluster.stages import STAGE_KINDS
from cluster.stages.row import StepRow

_WORKER = re.compile(r"(rollout|reward)-\d+(-start-\d+)?(?=:? )")  # a text about a worker begins with its name


LIVE_NUMBERS = (
    ("loss", "loss", ".3f"),
    ("reward", "reward", ".3f"),
    ("outcome", "outcome", ".3f"),
    ("format", "format", ".2f"),
    ("entropy", "entropy", ".2f"),
    ("kl", "kl", ".4f"),
    ("teacher kl", "teacher_kl", ".3f"),
    ("accepted", "accepted", ".2f"),
    ("tokens/s", "tokens_per_s", ",.0f"),
)
"""What the live display shows of a step: label, key of the row, format."""


class Display(Protocol):
    def say(self, text: str) -> None: ...
    def step(self, row: StepRow) -> None: ...
    def evaluation(self, stage: str, when: str, measures: Mapping[str, Interval]) -> None: ...
    def close(self) -> None: ...


def open_display(name: str) -> LoggedDisplay:
    """The display of a run: a live table if standard output is a terminal, else lines."""
    return LoggedDisplay(LiveDisplay(name) if sys.stdout.isatty() else LineDisplay(), name)


def step_words(row: StepRow) -> str:
    """A step in one line: stage, step, what was learnt, speed."""
    head = f"{row['stage']} {row['stage_step']:>4}/{row['max_steps']}"
    learnt_nothing = row.get("skipped") and "loss" not in row
    body = "skipped" if learnt_nothing else STAGE_KINDS[row["kind"]].headline(row)
    return f"{head}  {body}  {row['tokens_per_s']:,.0f} tok/s"


def evaluation_words(stage: str, when: str, measures: Mapping[str, Interval]) -> str:
    """An evaluation in one line: its headline measures with their intervals, and the share of sound formats."""
    names = HEADLINES | {"format_rate": "format"}
    parts = []
    for name, words in names.items():
        if name in measures:
            value, low, high = measures[name]
            parts.append(f"{words} {value:.3f} [{low:.3f}, {high:.3f}]")
    return f"{stage} {when}: " + ", ".join(parts)


def clock(seconds: float) -> str:
    """Minutes and seconds: "12:05"."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class LineDisplay:
    def __init__(self) -> None:
        self.start = time.monotonic()

    def say(self, text: str) -> None:
        print(f"[{clock(time.monotonic() - self.start):>5}] {text}", flush=True)

    def step(self, row: StepRow) -> None:
        self.say(step_words(row) + f"  at most {clock(row['seconds_left'])} left")

    def evaluation(self, stage: str, when: str, measures: Mapping[str, Interval]) -> None:
        self.say(evaluation_words(stage, when, measures))

    def close(self) -> None:
        pass


class LiveDisplay:
    """The current step in a table at the bottom; earlier lines scroll above it."""

    def __init__(self, name: str) -> None:
        from rich.console import Console
        from rich.live import Live

        self.name, self.start = name, time.monotonic()
        self.row: StepRow | None = None
        self.score = ""
        self.console = Console(highlight=False)
        self.live = Live(get_renderable=self._table, console=self.console, refresh_per_second=2)
        self.live.start()

    def say(self, text: str) -> None:
        self.console.print(f"[{clock(time.monotonic() - self.start):>5}] {text}", markup=False)

    def step(self, row: StepRow) -> None:
        self.row = row

    def evaluation(self, stage: str, when: str, measures: Mapping[str, Interval]) -> None:
        words = evaluation_words(stage, when, measures)
        self.score = words
        self.say(words)

    def close(self) -> None:
        self.live.stop()

    def _table(self) -> Any:
        from rich.panel import Panel
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        row = self.row
        if row is None:
            grid.add_row("starting workers …")
        else:
            grid.add_row("stage", f"{row['stage']} ({row['kind']})")
            grid.add_row(
                "step",
                ProgressBar(row["max_steps"], row["stage_step"], width=40),
                f"{row['stage_step']} of at most {row['max_steps']}",
            )
            numbers: Mapping[str, Any] = dict(row)
            for label, key, form in LIVE_NUMBERS:
                if key in numbers:
                    grid.add_row(label, format(numbers[key], form))
            grid.add_row(
                "time",
                f"{clock(time.monotonic() - self.start)} passed",
                f"at most {clock(row['seconds_left'])} left in this stage",
            )
        if self.score:
            grid.add_row("score", Text(self.score))
        return Panel(grid, title=self.name, title_align="left", expand=False)


class LoggedDisplay:
    """Shows a run on another display, and logs every text in the run folder: one line of log.jsonl each.

    A line is {"time": ISO 8601 in UTC, "run", "step": of the whole run, null before the first, "event": say, step or
    evaluation, "worker": its name if the text is about one, "text"}. Lines from before `log_to`, or that cannot be
    written because the disk is full, are written with the next line.

    Attributes:
        at: returns the current step of the run.
    """

    def __init__(self, shown: Display, run: str) -> None:
        self.shown, self.run = shown, run
        self.path: Path | None = None
        self.at: Callable[[], int | None] = lambda: None
        self.waiting: list[bytes] = []

    def log_to(self, folder: Path) -> None:
        """Writes lines into this run folder from now on. Only the process that holds the run calls it."""
        self.path = folder / LOG
        self._write()

    def keep(self, event: str, text: str) -> None:
        """Logs a text without showing it."""
        about = _WORKER.match(text)
        worker = {"worker": about[0]} if about else {}
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "run": self.run,
            "step": self.at(),
            "event": event,
            **worker,
            "text": text,
        }
        self.waiting.append(json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        self._write()

    def _write(self) -> None:
        if self.path is None:
            return
        with suppress(OSError), open(self.path, "ab+") as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # a process died while it wrote the line
                    self.waiting.insert(0, b"\n")
            file.write(b"".join(self.waiting))
            file.flush()
            self.waiting.clear()

    def say(self, text: str) -> None:
        self._show(lambda: self.shown.say(text))
        self.keep("say", text)

    def step(self, row: StepRow) -> None:
        self._show(lambda: self.shown.step(row))
        self.keep("step", step_words(row))

    def evaluation(self, stage: str, when: str, measures: Mapping[str, Interval]) -> None:
        self._show(lambda: self.shown.evaluation(stage, when, measures))
        self.keep("evaluation", evaluation_words(stage, when, measures))

    def close(self) -> None:
        self._show(self.shown.close)

    def _show(self, show: Callable[[], None]) -> None:
        """Shows something. A run whose output nobody can read any more goes on: its log has everything."""
        try:
            show()
        except OSError as error:
            mute_stdout()
            self.keep("say", f"standard output: {error.strerror}; the run goes on, and shows nothing more there")
