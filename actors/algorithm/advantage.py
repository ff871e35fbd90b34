"""Advantages: how much better than others a response, and a step of it, was."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np

from rewards.verdict import StepVerdict, Verdict

Credit = Literal["response", "step", "return"]
Baseline = Literal["group", "leave_one_out", "batch"]
Normalise = Literal["group", "batch", "none"]


def group_advantages(
    rewards: Sequence[float], eps: float = 1e-6, leave_one_out: bool = False, divisor: float | None = None
) -> np.ndarray:
    """(R − mean) / (std + eps), unbiased std, float64 [responses] (GRPO, arXiv 2402.03300 §4.1.2).

    Equal rewards and a group of one give exactly zero.

    Args:
        leave_one_out: the mean is that of the others, R − mean of the others = (R − mean) n / (n − 1) (RLOO, arXiv 2402.14740).
        divisor: in place of std + eps; 1 where there is no normalisation (Dr. GRPO, arXiv 2503.20783).
    """
    values = np.asarray(rewards, np.float64)
    if _all_equal(values):
        return np.zeros(len(values))
    centred = values - values.mean()
    if leave_one_out:
        centred *= len(values) / (len(values) - 1)
    return centred / (_spread(values, eps) if divisor is None else divisor)


def step_advantages(
    steps: Sequence[Sequence[StepVerdict]], eps: float = 1e-6, leave_one_out: bool = False, divisor: float | None = None
) -> list[np.ndarray]:
    """For each response of a group, float64 [steps]: a step's score against the steps that judge the same candidate.

    Opening lists and summaries are compared with their like. A step that nobody else's matches is compared with all
    steps of the group. Because ❌ is compared with ❌ on the same candidate, a mark that is right three times in four
    earns nothing by itself. `leave_one_out` and `divisor` are those of `group_advantages`, among the steps compared.
    """
    places = [(r, i) for r, response in enumerate(steps) for i in range(len(response))]
    scores = [steps[r][i].score for r, i in places]
    alike: dict[object, list[int]] = defaultdict(list)
    for place, (r, i) in enumerate(places):
        alike[_key(steps[r][i], i, len(steps[r]))].append(place)
    flat = group_advantages(scores, eps, leave_one_out, divisor)
    for own in alike.values():
        if len(own) > 1:
            flat[own] = group_advantages([scores[place] for place in own], eps, leave_one_out, divisor)
    return np.split(flat, np.cumsum([len(response) for response in steps])[:-1])


def step_returns(advantages: Sequence[np.ndarray]) -> list[np.ndarray]:
    """For each response, float64 [steps]: the mean of a step's own advantage and those of the steps after it.

    DeepSeekMath (arXiv 2402.03300 §4.1.3) sums them. The mean does not grow with the number of steps.
    """
    return [np.cumsum(a[::-1])[::-1] / np.arange(len(a), 0, -1) for a in advantages]


def _all_equal(values: np.ndarray) -> bool:
    """Whether nothing can be told apart; by comparison, since the mean of equal numbers need not be one of them."""
    return len(values) < 2 or values.max() == values.min()


def _spread(values: np.ndarray, eps: float) -> float:
    """What differences are divided by: unbiased std + eps; infinity where all are equal."""
    return np.inf if _all_equal(values) else float(values.std(ddof=1) + eps)


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


def outcome_advantages(
    rewards: Sequence[Sequence[float]],
    lengths: Sequence[Sequence[int]],
    baseline: Baseline,
    normalise: Normalise,
    penalties: Sequence[Sequence[np.ndarray]] | None = None,
    eps: float = 1e-6,
) -> list[list[np.ndarray]]:
    """For each response of each group of a step, float64 [tokens]: what its reward was worth.

    Args:
        rewards: of the groups' responses.
        lengths: their tokens.
        baseline: `group` and `leave_one_out`: the mean of the group's (other) rewards is taken off; `batch`: the mean over all
            tokens of the step (REINFORCE++, arXiv 2501.03262).
        normalise: `group`: divided by std + eps of the group's rewards; `batch`: by that of all rewards of the step (TRL's
            scale_rewards="batch"), with `baseline` `batch` by that over all its tokens (REINFORCE++); `none`: as it is.
        penalties: per token, what is taken off the reward (β × KL). With `baseline` `batch` a token is held for its own and
            those after it, R − Σ_{s ≥ t} p_s (REINFORCE++); else a response for all of its own, R − Σ p (RLOO, arXiv 2402.14740).
    """
    if baseline == "batch":
        flat_penalties = (
            [np.zeros(n) for group in lengths for n in group]
            if penalties is None
            else [p.astype(np.float64) for group in penalties for p in group]
        )
        returns = [
            reward - np.cumsum(p[::-1])[::-1]
            for reward, p in zip((reward for group in rewards for reward in group), flat_penalties, strict=True)
        ]
        flat = group_advantages(np.concatenate(returns), eps, divisor=1.0 if normalise == "none" else None)
        parts = iter(np.split(flat, np.cumsum([len(r) for r in returns])[:-1]))
        return [[next(parts) for _ in group] for group in lengths]
    if penalties is not None:
        rewards = [
            [reward - p.sum(dtype=np.float64) for reward, p in zip(*both, strict=True)]
            for both in zip(rewards, penalties, strict=True)
        ]
    divisor = _divisor([reward for group in rewards for reward in group], normalise, eps)
    advantages = [group_advantages(group, eps, baseline == "leave_one_out", divisor) for group in rewards]
    return [[np.full(n, a) for n, a in zip(*both, strict=True)] for both in zip(lengths, advantages, strict=True)]


def _divisor(values: Sequence[float], normalise: Normalise, eps: float) -> float | None:
    """`group_advantages`' divisor, where `values` are the whole step's."""
    return {"group": None, "none": 1.0, "batch": _spread(np.asarray(values, np.float64), eps)}[normalise]


def batch_advantages(
    groups: Sequence[Sequence[Verdict]],
    char_ends: Sequence[Sequence[np.ndarray]],
    credit: Credit,
    process_weight: float,
    baseline: Baseline = "group",
    normalise: Normalise = "group",
    penalties: Sequence[Sequence[np.ndarray]] | None = None,
) -> list[tuple[np.ndarray, ...]]:
    """The advantage of every token of a step's groups: for each group, float32 [tokens] for each response.

    `response` gives all tokens what `total` was worth by `outcome_advantages`. `step` gives them what `base` was, and
    the tokens of a step `process_weight` times that step's own advantage, `return` times that of the step and those after
    it; tokens outside every step get the first alone. Steps are compared within their group whatever the baseline, since a
    candidate means something in its own question only; `normalise` holds for them too, `batch` by the spread of all step
    scores.
    """
    rewards = [[v.total if credit == "response" else v.base for v in verdicts] for verdicts in groups]
    lengths = [[len(ends) for ends in group] for group in char_ends]
    outcomes = outcome_advantages(rewards, lengths, baseline, normalise, penalties)
    if credit == "response":
        return [tuple(a.astype(np.float32) for a in group) for group in outcomes]
    divisor = _divisor([step.score for verdicts in groups for v in verdicts for step in v.steps], normalise, 1e-6)
    advantages = []
    for verdicts, group_ends, outcome in zip(groups, char_ends, outcomes, strict=True):
        process = step_advantages([v.steps for v in verdicts], 1e-6, baseline == "leave_one_out", divisor)
        if credit == "return":
            process = step_returns(process)
        tokens = []
        for a, p, verdict, ends in zip(outcome, process, verdicts, group_ends, strict=True):
            padded = np.append(process_weight * p, 0.0)  # index −1, outside every step, reads the zero
            tokens.append((a + padded[step_of_token(ends, verdict.steps)]).astype(np.float32))
        advantages.append(tuple(tokens))
    return advantages


def teaches(verdicts: Sequence[Verdict], credit: Credit, process_weight: float) -> bool:
    """Whether anything in a group is better than anything else of it: a response, or a step where these have credit."""
    rewards = [v.total if credit == "response" else v.base for v in verdicts]
    steps = step_advantages([v.steps for v in verdicts]) if credit != "response" and process_weight else []
    return bool(group_advantages(rewards).any() or any(a.any() for a in steps))


def token_advantages(
    verdicts: Sequence[Verdict], char_ends: Sequence[np.ndarray], credit: Credit, process_weight: float
) -> tuple[np.ndarray, ...]:
    """`batch_advantages` of one group, by its own mean and spread."""
    return batch_advantages([verdicts], [char_ends], credit, process_weight)[0]
