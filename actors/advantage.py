"""Advantages: how much better than its group a response, and a step of it, was."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np

from rewards.verdict import StepVerdict, Verdict

Credit = Literal["response", "step", "return"]


def group_advantages(rewards: Sequence[float], eps: float = 1e-6) -> np.ndarray:
    """(R − mean) / (std + eps), unbiased std, float64 [responses] (GRPO, arXiv 2402.03300 §4.1.2).

    Equal rewards and a group of one give exactly zero.
    """
    values = np.asarray(rewards, np.float64)
    if len(values) < 2 or values.max() == values.min():
        return np.zeros(len(values))
    return (values - values.mean()) / (values.std(ddof=1) + eps)


def step_advantages(steps: Sequence[Sequence[StepVerdict]], eps: float = 1e-6) -> list[np.ndarray]:
    """For each response of a group, float64 [steps]: a step's score against the steps that judge the same candidate.

    Opening lists and summaries are compared with their like. A step that nobody else's matches is compared with all
    steps of the group. Because ❌ is compared with ❌ on the same candidate, a mark that is right three times in four
    earns nothing by itself.
    """
    everything = np.array([step.score for response in steps for step in response], np.float64)
    same: dict[object, list[float]] = defaultdict(list)
    for response in steps:
        for index, step in enumerate(response):
            same[_key(step, index, len(response))].append(step.score)

    def scale(pool: np.ndarray) -> tuple[float, float]:
        """Mean and divisor; where all are equal, a divisor that makes every advantage zero."""
        if len(pool) < 2 or pool.max() == pool.min():
            return 0.0, np.inf
        return float(pool.mean()), float(pool.std(ddof=1) + eps)

    of_all = scale(everything)
    scales = {key: scale(np.array(scores, np.float64)) if len(scores) > 1 else of_all for key, scores in same.items()}

    def advantage(step: StepVerdict, index: int, count: int) -> float:
        mean, divisor = scales[_key(step, index, count)]
        return (step.score - mean) / divisor

    return [np.array([advantage(s, i, len(response)) for i, s in enumerate(response)], np.float64) for response in steps]


def step_returns(advantages: Sequence[np.ndarray]) -> list[np.ndarray]:
    """For each response, float64 [steps]: the mean of a step's own advantage and those of the steps after it.

    DeepSeekMath (arXiv 2402.03300 §4.1.3) sums them. The mean does not grow with the number of steps.
    """
    return [np.cumsum(a[::-1])[::-1] / np.arange(len(a), 0, -1) for a in advantages]


def _key(step: StepVerdict, index: int, count: int) -> object:
    return step.candidate if step.candidate is not None else ("summary" if index == count - 1 else "list",)


def step_of_token(char_ends: np.ndarray, steps: Sequence[StepVerdict]) -> np.ndarray:
    """int [tokens]: the step that each token belongs to, −1 outside every step.

    A token that crosses a border belongs to the later step: its last character decides.
    """
    ends = char_ends.astype(np.int64)
    starts = np.concatenate([[0], ends[:-1]])
    last_char = np.where(ends > starts, ends - 1, ends)
    if not steps:
        return np.full(len(ends), -1)
    step_starts = np.array([step.start for step in steps])
    step_ends = np.array([step.end for step in steps])
    step = np.searchsorted(step_starts, last_char, side="right") - 1
    return np.where((step >= 0) & (last_char < step_ends[np.maximum(step, 0)]), step, -1)


def token_advantages(verdicts: Sequence[Verdict], char_ends: Sequence[np.ndarray], credit: Credit,
                     process_weight: float) -> tuple[np.ndarray, ...]:
    """The advantage of every token of a group: float32 [tokens] for each response.

    `response` gives all tokens the group advantage of `total`. `step` gives them the group advantage of `base`, and
    the tokens of a step `process_weight` times that step's own advantage, `return` times that of the step and those after
    it; tokens outside every step get the first alone.
    """
    if credit == "response":
        outcome = group_advantages([v.total for v in verdicts])
        return tuple(np.full(len(ends), a, np.float32) for a, ends in zip(outcome, char_ends, strict=True))
    outcome = group_advantages([v.base for v in verdicts])
    process = step_advantages([v.steps for v in verdicts])
    if credit == "return":
        process = step_returns(process)
    tokens = []
    for a, p, verdict, ends in zip(outcome, process, verdicts, char_ends, strict=True):
        padded = np.append(process_weight * p, 0.0)  # index −1, outside every step, reads the zero
        tokens.append((a + padded[step_of_token(ends, verdict.steps)]).astype(np.float32))
    return tuple(tokens)
