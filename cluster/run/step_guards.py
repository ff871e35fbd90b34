"""What a run does when a step looks ill: warn, pause, roll back, or stop."""

from __future__ import annotations

from actors.learner.orders import UpdateResult
from actors.runtime.remote import RemoteFailure
from cluster.config.guards import Alarm, Guards
from cluster.run.context import RunContext
from cluster.run.recovery import MAX_ROLL_BACKS, Recovery
from cluster.run.requests import Requests
from cluster.stages.row import StepRow

MAX_SKIPPED = 3  # steps in a row whose gradients were not finite


class StepGuards:
    """Looks at each step after it was logged."""

    def __init__(self, context: RunContext, guards: Guards, recovery: Recovery, requests: Requests) -> None:
        self.writer, self.position, self.display = context.writer, context.position, context.display
        self.guards, self.recovery, self.requests = guards, recovery, requests
        self.skipped = 0  # steps in a row whose gradients were not finite

    def undo(self, row: StepRow, result: UpdateResult) -> bool:
        """Acts on a step. Returns whether it was rolled back.

        Raises:
            RemoteFailure: gradients were not finite in `MAX_SKIPPED` steps in a row, or `MAX_ROLL_BACKS` roll-backs did
                not help.
        """
        self._check_skipped(row["skipped"], result)
        return any(self._act_on(alarm) for alarm in self.guards.look(self.position.step, row))

    def reset(self) -> None:
        """After the run went back to a commit."""
        self.skipped = 0

    def _check_skipped(self, updates: float, result: UpdateResult) -> None:
        """Keeps the samples that made gradients not finite."""
        if not updates:
            self.skipped = 0
            return
        self.skipped += 1
        samples = result.non_finite_samples
        path = self.writer.add_non_finite(self.position.step, samples)
        why = (
            f"step {self.position.step}: the gradient was not finite, and no rank took it; {updates:g} updates are "
            f"skipped; the {len(samples)} samples at fault are in {path}"
        )
        self.display.say(why)
        if self.skipped == MAX_SKIPPED:
            raise RemoteFailure(
                f"{why}; so it was in the {MAX_SKIPPED - 1} steps before. A lower learning rate may help; "
                "curlvpr resume goes on from the last commit"
            )

    def _act_on(self, alarm: Alarm) -> bool:
        """Warns, pauses or rolls back; returns whether the step is undone."""
        self.display.say(f"{alarm.action.replace('_', ' ')}: {alarm.why}")
        if alarm.action == "pause":
            self.requests.paused = True
        if alarm.action != "roll_back":
            return False
        if self.recovery.roll_backs == MAX_ROLL_BACKS:
            raise RemoteFailure(f"rolled back {MAX_ROLL_BACKS} times, and still: {alarm.why}")
        factor = self.recovery.lower_learning_rate()
        self.recovery.roll_back(alarm.why, alarm.began - 1)
        self.reset()
        self.display.say(f"from here on the learning rate is the recipe's, times {factor:g}")
        return True
