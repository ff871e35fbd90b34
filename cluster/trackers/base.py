"""What a tracker is: it takes the numbers of each step and each evaluation of one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

PROJECT = "curlvpr"  # under which trackers list the runs


@dataclass(frozen=True)
class RunInfo:
    """The run that a tracker is opened for.

    Attributes:
        folder: the run folder; its name is the run's.
        recipe: the recipe as a plain tree that JSON can hold.
        ids: tracker to the id under which it knows the run. A tracker writes its id here when it first sees the run,
            and finds it here when the run is resumed.
    """

    folder: Path
    recipe: Mapping[str, Any]
    ids: dict[str, str]


class Tracker(Protocol):
    """Takes numbers until it is closed. An error from `add` ends the tracker, not the run."""

    def add(self, numbers: Mapping[str, float], step: int) -> None:
        """Takes numbers by name, such as "closed/step/reward", at a step of the whole run."""

    def close(self) -> None:
        """Sends what is left."""


class TrackerKind(Protocol):
    """Opens a tracker for a run: a class whose constructor takes a `RunInfo`.

    Raises:
        ImportError: its package is not installed. Import it in the constructor, not at the top of the file.
        Exception: its server cannot be used; the text says why.
    """

    def __call__(self, run: RunInfo) -> Tracker: ...
