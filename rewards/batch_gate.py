"""The batch gate: process and reason are paid only while the outcome does not fall.

After the code of CX-Mind (arXiv 2508.03733).
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from rewards.verdict import Verdict

DECAY = 0.8


class BatchGate:
    """Open if a batch's mean outcome is at least the running mean of the batches before, and for the first batch.

    Its state belongs to the run and is part of its commits. Evaluations never use it.
    """

    def __init__(self) -> None:
        self.mean: float | None = None

    def apply(self, groups: Sequence[Sequence[Verdict]]) -> tuple[list[tuple[Verdict, ...]], bool]:
        """Passes the verdicts of one batch of groups through the gate.

        Returns:
            The verdicts, without process and reason if the gate is shut; and whether it is open.
        """
        mean = fmean(verdict.outcome for group in groups for verdict in group)
        is_open = self.mean is None or mean >= self.mean
        self.mean = mean if self.mean is None else (1 - DECAY) * mean + DECAY * self.mean
        return [tuple(verdict if is_open else _shut(verdict) for verdict in group) for group in groups], is_open

    def state_dict(self) -> dict[str, Any]:
        return {"mean": self.mean}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.mean = state["mean"]


def _shut(verdict: Verdict) -> Verdict:
    steps = tuple(step._replace(score=0.0) for step in verdict.steps)
    return verdict._replace(
        total=verdict.base, steps=steps, why=(*verdict.why, "batch gate shut: process and reason are not paid")
    )
