"""What users ask of a run while it goes on: scale, pause, resume, checkpoint, profile, stop."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from cluster.control.run_actor import Control, ControlRequest
from cluster.errors import error_line
from cluster.record.scale import read_scale, write_scale
from cluster.run.context import RunContext
from cluster.run.profiling import Profiling
from cluster.run.progress.step_log import Progress
from cluster.run.recovery import Recovery

PAUSE_S = 1.0  # between two looks at the requests of a paused run


class Requests:
    """Takes requests between two steps.

    Attributes:
        paused: the run waits, with its workers up, until it is resumed or stopped.
        stopping: the run commits and ends after the present step.
    """

    def __init__(
        self, context: RunContext, control: Control, progress: Progress, recovery: Recovery, profiling: Profiling
    ) -> None:
        self.workers, self.display = context.workers, context.display
        self.control, self.progress, self.recovery, self.profiling = control, progress, recovery, profiling
        self.run, self.recipe = context.writer.path, context.recipe
        self.paused = self.stopping = False

    def restore_scale(self) -> None:
        """Gives a run that is resumed the numbers of workers that were asked of it before."""
        asked = read_scale(self.run, self.recipe)
        if asked:
            self.display.say(f"scaled as was asked before{_sizes(asked)}")
            self.workers.scale(**asked)

    def handle(self) -> None:
        """Reports the run's status and does what was requested; stays here while the run is paused."""
        self.profiling.step_done()
        while True:
            status = self.status()
            self.progress.report(status)
            for request in self.control.sync(status):
                self._grant(request)
            if self.stopping or not self.paused:
                return
            self.workers.pump()
            time.sleep(PAUSE_S)

    def status(self) -> dict[str, Any]:
        """What `curlvpr status` shows."""
        state = "running"
        if self.paused:
            state = "paused"
        if self.stopping:
            state = "stopping"
        status = self.progress.status(state)
        if self.profiling.steps_left:
            status["profiled_steps_left"] = self.profiling.steps_left
        return status

    def _grant(self, request: ControlRequest) -> None:
        sizes = {"rollout": request.rollout, "reward": request.reward}
        steps = f" {request.steps} steps" if request.steps else ""
        self.display.say(f"asked to {request.action}{steps}{_sizes(sizes)}")
        if request.action == "scale":
            self.workers.scale(**sizes)
            self._keep_scale(sizes)
        elif request.action == "checkpoint":
            self.recovery.commit(grow=not self.stopping)
        elif request.action == "profile":
            self.profiling.begin(request.steps)
        elif request.action == "stop":
            self.stopping = True
        else:
            self.paused = request.action == "pause"

    def _keep_scale(self, sizes: Mapping[str, int | None]) -> None:
        """Keeps what was asked, for a resume. A folder that cannot be written is told, and is no reason to end."""
        try:
            write_scale(self.run, sizes, self.recipe)
        except OSError as error:
            self.display.say(f"a resumed run will not have this scale: {error_line(error)}")


def _sizes(sizes: Mapping[str, int | None]) -> str:
    return "".join(f", {size} {kind}" for kind, size in sizes.items() if size)
