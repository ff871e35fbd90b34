"""Reads the log.jsonl of a run: whole, or as it grows."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from cluster.errors import UserError
from cluster.terminal import printable

LOG = "log.jsonl"
POLL_S = 2.0
QUIET_S = 10.0  # a run that has ended still writes its report, and logs that


def read_log(run: Path) -> Iterator[dict[str, Any]]:
    """The lines of the log, oldest first. Skips a torn line.

    Raises:
        UserError: the run has no log.
    """
    _check(run)
    with open(run / LOG, "rb") as file:
        yield from _lines(file)


def follow_log(
    run: Path, goes_on: Callable[[], bool], poll_s: float = POLL_S, quiet_s: float = QUIET_S
) -> Iterator[dict[str, Any]]:
    """The lines of the log, then new ones as they come, until the run has ended and wrote nothing for `quiet_s`.

    Args:
        goes_on: whether the run still goes on.
        poll_s: seconds between two looks at the file.

    Raises:
        UserError: the run has ended without a log.
    """
    position, rest = 0, b""
    while True:
        going = goes_on()  # before the read, which so includes the last lines of a run that just ended
        new = _from(run / LOG, position)
        position += len(new)
        *whole, rest = (rest + new).split(b"\n")
        yield from _lines(whole)
        if not going and _age(run / LOG) >= quiet_s:
            _check(run)
            yield from _lines([rest])
            return
        time.sleep(poll_s)


def log_words(line: dict[str, Any]) -> str:
    """A line for the terminal, in local time, without control characters."""
    when = datetime.fromisoformat(line["time"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return f"{when}  {printable(line['text'])}"


def _check(run: Path) -> None:
    if not (run / LOG).is_file():
        raise UserError(f"{run}: has no {LOG}; a run keeps one from its start on, runs of older versions have none")


def _lines(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for raw in lines:
        try:
            line = json.loads(raw)
            datetime.fromisoformat(line["time"])
            line["text"] = str(line["text"])
        except (ValueError, KeyError, TypeError):  # half written so far, or the process died while it wrote the line
            continue
        yield line


def _from(path: Path, position: int) -> bytes:
    if not path.is_file():  # the run has not written it yet
        return b""
    with open(path, "rb") as file:
        file.seek(position)
        return file.read()


def _age(path: Path) -> float:
    """Seconds since the file was last written; infinite if there is none."""
    return time.time() - path.stat().st_mtime if path.is_file() else float("inf")
