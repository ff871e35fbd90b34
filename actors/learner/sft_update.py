"""Updates of supervised fine-tuning: next-token loss on the tasks' references, or on responses that were accepted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from actors.learner.orders import UpdateOrder, UpdateResult
from actors.model.packing import share_out
from actors.trajectory import Sample
from curriculum.task import Task

if TYPE_CHECKING:
    from actors.learner.rank import DeepSpeedRank


@dataclass(frozen=True)
class SftUpdate(UpdateOrder):
    """One update on the references of `tasks`; the loss is the mean over all response tokens of all ranks."""

    tasks: Sequence[Task]
    lr: float
    name: ClassVar[str] = "sft"

    def run(self, rank: DeepSpeedRank) -> UpdateResult:
        costs = [len(task.question) + len(task.reference or "") for task in self.tasks]
        share = share_out(costs, rank.world)[rank.rank]  # other ranks' films stay unread
        rank.read_ahead(self.tasks[i].images for i in share)
        # With fewer tasks than ranks, a rank without any reads the first one, and trains on nothing.
        samples = [rank.reference_sample(self.tasks[i]) for i in share or [0]]
        return imitate(rank, samples, range(len(share)), self.lr)


@dataclass(frozen=True)
class RftUpdate(UpdateOrder):
    """One update on responses that were sampled and accepted; the loss is that of `SftUpdate`."""

    samples: Sequence[Sample]
    lr: float
    name: ClassVar[str] = "rft"

    def run(self, rank: DeepSpeedRank) -> UpdateResult:
        share = share_out([len(sample) for sample in self.samples], rank.world)[rank.rank]
        return imitate(rank, [self.samples[i] for i in share or [0]], range(len(share)), self.lr)


def imitate(rank: DeepSpeedRank, samples: Sequence[Sample], chosen: Sequence[int], lr: float) -> UpdateResult:
    """One update on the chosen ones of a rank's samples, of which there is at least one. All ranks take part."""
    tokens = int(rank.sum(sum(len(samples[i].response_ids) for i in chosen)))
    total = 0.0
    suspects = set[int]()
    for batch, last, weight in rank.batches(samples, chosen):
        logp, _ = rank.engine(batch, 1.0)
        loss = -weight * logp.sum() / tokens
        rank.engine.backward(loss, last)
        total += loss.item()
        suspects |= rank.non_finite(batch, logp)
    values, non_finite = rank.step(lr, {"loss": rank.sum(total)}, samples, suspects)
    return UpdateResult(values | {"lr": lr, "tokens": tokens}, non_finite)
