"""`curlvpr profile`: the learner's ranks are recorded for a few steps, and the run's folder gets what they computed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from actors.learner.orders import BeginProfile, EndProfile
from actors.learner.profiler import PASSES, TRACE_BYTES, OperatorTime, RankProfile
from cluster.errors import error_line
from cluster.run.context import RunContext

FOLDER = "profile"


class Profiling:
    """Records the ranks from a request on.

    Attributes:
        steps_left: steps that are still to be recorded; 0 if nothing is.
    """

    def __init__(self, context: RunContext) -> None:
        self.learner, self.display, self.position = context.workers.learner, context.display, context.position
        self.run = context.writer.path
        self.steps_left = 0
        self._first = 0

    def begin(self, steps: int) -> None:
        """Records the next `steps` steps. Raises RemoteFailure."""
        self.learner.call(BeginProfile())
        self.steps_left, self._first = steps, self.position.step + 1

    def step_done(self) -> None:
        """Counts a step, and writes what was recorded after the last. Raises RemoteFailure."""
        if self.steps_left:
            self.steps_left -= 1
            if not self.steps_left:
                self._write()

    def end(self) -> None:
        """Writes what was recorded so far, as the run ends. Raises RemoteFailure."""
        if self.steps_left:
            self.steps_left = 0
            self._write()

    def _write(self) -> None:
        """A folder that cannot be written is told, and is no reason to end."""
        profiles = self.learner.call_all(EndProfile())
        known = {rank: profile for rank, profile in enumerate(profiles) if profile is not None}
        folder = self.run / FOLDER / f"step-{self._first}"
        if not known:
            self.display.say("the profile is lost: the learner's ranks were restarted; ask again")
            return
        try:
            table = write_profiles(folder, known)
        except OSError as error:
            self.display.say(f"the profile is lost: {error_line(error)}")
            return
        steps = f"steps {self._first} to {self.position.step}"
        self.display.say(f"profile of {steps}: {folder}, for https://ui.perfetto.dev\n{table}")


def write_profiles(folder: Path, profiles: dict[int, RankProfile]) -> str:
    """Writes a trace for each rank, and their costliest operators in operators.txt.

    Returns:
        The first rank's part of operators.txt.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = []
    for rank, profile in profiles.items():
        if profile.trace is not None:
            (folder / f"rank-{rank}.json.gz").write_bytes(profile.trace)
        tables.append(_table(rank, profile))
    (folder / "operators.txt").write_text("\n\n".join(tables) + "\n", encoding="utf-8")
    return tables[0]


def _table(rank: int, profile: RankProfile) -> str:
    lines = [f"learner rank {rank}, {profile.passes} forward passes"]
    if profile.passes == PASSES:
        lines[0] += "; no more are recorded"
    if profile.trace is None:
        lines[0] += f"; its trace is left out, it has more than {TRACE_BYTES // 2**20} MiB: ask for fewer steps"
    return "\n".join(lines + _rows(profile.operators))


def _rows(operators: Sequence[OperatorTime]) -> list[str]:
    return [f"{each.seconds:10.3f} s {each.calls:9,} calls  {each.name}" for each in operators]
