"""Rejection-sampling fine-tuning: the policy learns from those of its own responses that the rewards accept.

Source: RFT (arXiv 2308.01825) and STaR (arXiv 2203.14465), here on-policy: every step samples from the present weights.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from actors.algorithm.config import RftTraining
from actors.learner.orders import UpdateResult
from actors.learner.sft_update import RftUpdate
from actors.trajectory import Sample, ScoredGroup
from cluster.stages.kind import StageKind, StepRun
from cluster.stages.response_metrics import response_numbers
from cluster.stages.row import StepRow
from rewards.traces.diverse import pick_diverse
from rewards.verdict import Verdict

NEAR = 1e-9  # an outcome is a mean, and may miss its bound by rounding
NOT_ACCEPTED = "no response was accepted"


class RftStage(StageKind):
    """Next-token loss on accepted responses of the policy's own."""

    kind: Literal["rft"]
    training: RftTraining = RftTraining()

    label: ClassVar[str] = "rejection sampling"
    generates: ClassVar[bool] = True
    imitates: ClassVar[bool] = True

    @property
    def tasks_per_step(self) -> int:
        return self.training.tasks_per_step

    @property
    def group_size(self) -> int:
        return self.training.group_size

    @property
    def learnt_per_task(self) -> int:
        return min(self.training.keep, self.training.group_size)

    def step(self, run: StepRun) -> UpdateResult:
        """Generates, scores, keeps accepted responses, and learns from them. Without any there is no update."""
        version = run.version
        scored = run.score(run.generate())
        kept = [self._kept(group) for group in scored]
        samples = [sample for of_task in kept for sample in of_task]
        if samples:
            result = run.learn(RftUpdate(samples, run.lr))
        else:
            result = UpdateResult({"tokens": 0, "lr": run.lr, "skipped": 0.0}, [])
        numbers = response_numbers(scored, version)
        del numbers["flat_groups"]  # responses that are all right teach here
        verdicts = [verdict for group in scored for verdict in group.verdicts]
        result.numbers.update(numbers)
        result.numbers["accepted"] = sum(map(self.accepts, verdicts)) / len(verdicts)
        result.numbers["learnt_responses"] = len(samples)
        result.numbers["tasks_without_accepted"] = sum(not of_task for of_task in kept)
        trained = [group for group, of_task in zip(scored, kept, strict=True) if of_task]
        rejected = [group for group, of_task in zip(scored, kept, strict=True) if not of_task]
        run.book(trained, rejected, NOT_ACCEPTED)
        return result

    def accepts(self, verdict: Verdict) -> bool:
        """Whether a response may be learnt from."""
        return not verdict.faults and verdict.outcome >= self.training.min_outcome - NEAR

    def _kept(self, scored: ScoredGroup) -> list[Sample]:
        """The responses to a task that are learnt from, the best one first; different ones."""
        group = scored.group
        accepted = [
            (trajectory, verdict.total)
            for trajectory, verdict in zip(group.trajectories, scored.verdicts, strict=True)
            if self.accepts(verdict)
        ]
        ids_of = {trajectory.text: trajectory.ids for trajectory, _ in reversed(accepted)}
        texts = [trajectory.text for trajectory, _ in accepted]
        chosen = pick_diverse(texts, [total for _, total in accepted], self.training.keep)
        return [Sample(group.prompt_ids, group.task.images, ids_of[text]) for text in chosen]

    @staticmethod
    def headline(row: StepRow) -> str:
        learnt = f"loss {row['loss']:.3f}" if "loss" in row else f"{NOT_ACCEPTED}: no update"
        return (
            f"{learnt}  accepted {row['accepted']:.2f}  learnt from {row['learnt_responses']:.0f}  "
            f"tasks without {row['tasks_without_accepted']:.0f}  reward {row['reward']:.3f}  "
            f"format {row['format']:.2f}  tokens {row['response_tokens']:.0f}"
        )
