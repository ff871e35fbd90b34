"""How much a rank computed for an order, how long it took, and what that makes of its GPU.

MFU (model FLOPs utilisation; PaLM, appendix B) is the FLOP/s that a step needs, as a share of what the GPU can do. HFU
(hardware FLOPs utilisation) also counts what the backward pass computes again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.model.flops.amounts import Amounts
    from actors.model.flops.costs import ModelCosts


@dataclass(frozen=True)
class RankWork:
    """What an order took one rank.

    Attributes:
        model_flops: that the order needs.
        hardware_flops: with those that were computed again.
        seconds: from the order to the answer.
        peak: FLOP/s of the rank's GPU in its type; None if unknown.
    """

    model_flops: float
    hardware_flops: float
    seconds: float
    peak: float | None


class WorkCount:
    """Counts a rank's work, an order at a time."""

    def __init__(self, costs: ModelCosts, peak: float | None) -> None:
        self.costs, self.peak = costs, peak
        self.restart()

    def restart(self) -> None:
        self.model_flops = self.hardware_flops = 0.0
        self.began = time.monotonic()

    def add(self, amounts: Amounts, backward: bool, costs: ModelCosts | None = None) -> None:
        """Counts a forward pass, with a backward pass or alone; `costs` are those of another model than the policy."""
        flops = (costs or self.costs).of(amounts)
        needed = flops.forward + flops.backward * backward
        self.model_flops += needed
        self.hardware_flops += needed + flops.again * backward

    def done(self) -> RankWork:
        return RankWork(self.model_flops, self.hardware_flops, time.monotonic() - self.began, self.peak)


def learner_speed(tokens: float, works: Sequence[RankWork]) -> dict[str, float]:
    """The metrics of an update: `learner_flops` (FLOP/s) and `learner_tokens_per_s`, each of one rank; `mfu` and `hfu`
    if all ranks have a GPU whose peak is known.

    Args:
        tokens: that the update trained on.
        works: of all ranks, which wait for the slowest.
    """
    seconds = max(work.seconds for work in works)
    needed = sum(work.model_flops for work in works)
    numbers = {
        "learner_flops": needed / seconds / len(works),
        "learner_tokens_per_s": tokens / seconds / len(works),
    }
    peaks = [work.peak for work in works if work.peak is not None]
    if len(peaks) == len(works):
        possible = sum(peaks) * seconds
        numbers["mfu"] = needed / possible
        numbers["hfu"] = sum(work.hardware_flops for work in works) / possible
    return numbers
