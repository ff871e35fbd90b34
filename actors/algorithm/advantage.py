"""Advantages: how much better than others a response, and each of its steps, was."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Literal, TypeVar

import numpy as np

from rewards.verdict import StepVerdict, Verdict

T = TypeVar("T")
Credit = Literal["response", "step", "return"]
Baseline = Literal["group", "leave_one_out", "batch"]
Normalise = Literal["group", "batch", "none"]
EPS = 1e-6  # added to a standard deviation before it divides


def group_advantages(
    rewards: Sequence[float], eps: float = EPS, leave_one_out: bool = False, divisor: float | None = None
) -> np.ndarray:
    """(R − mean) / (std + eps), unbiased std, float64 [responses] (GRPO, arXiv 2402.03300 §4.1.2).

    Equal rewards and a group of one give exactly zero.

    Args:
        leave_one_out: compares with the mean of the other responses, R − mean of the others = (R − mean) n / (n − 1)
            (RLOO, arXiv 2402.14740).
        divisor: replaces std + eps; 1 for no normalisation (Dr. GRPO, arXiv 2503.20783).
    """
    values = np.asarray(rewards, np.float64)
    if _all_equal(values):
        return np.zeros(len(values))
    centred = values - values.mean()
    if leave_one_out:
        centred *= len(values) / (len(values) - 1)
    return centred / (_spread(values, eps) if divisor is None else divisor)


def step_advantages(
    steps: Sequence[Sequence[StepVerdict]], eps: float = EPS, leave_one_out: bool = False, divisor: float | None = None
) -> list[np.ndarray]:
    """For each response of a group, float64 [steps]: a step's score against others that judge the same candidate.

    Opening lists are compared with opening lists, and summaries with summaries. A step without any counterpart is
    compared with all steps of the group and can only lose: otherwise it would pay to announce what no other response
    does, and to reject it. Because ❌ is compared with ❌ on the same candidate, a mark that is right three times in
    four earns nothing by itself. `leave_one_out` and `divisor` are those of `group_advantages`, among the steps
    compared.

    The comparison is multiplied by the step's own stake, which does not depend on its own mark. So the expected
    gradient of a mark goes the way of the outcome, with everything else as the response has it, and not that of the
    share of right marks (a difference reward: Wolpert and Tumer, "Optimal payoff functions for members of
    collectives", 2001).
    """
    scores: list[float] = []
    stakes: list[float] = []
    alike: dict[object, list[int]] = defaultdict(list)  # indices into `scores`
    for response in steps:
        for index, step in enumerate(response):
            alike[_counterpart_key(step, index, len(response))].append(len(scores))
            scores.append(step.score)
            stakes.append(step.stake)
    flat = np.minimum(group_advantages(scores, eps, leave_one_out, divisor), 0.0)
    for indices in alike.values():
        if len(indices) > 1:
            flat[indices] = group_advantages([scores[index] for index in indices], eps, leave_one_out, divisor)
    flat *= np.asarray(stakes, np.float64)
    return np.split(flat, np.cumsum([len(response) for response in steps])[:-1])


def step_returns(advantages: Sequence[np.ndarray]) -> list[np.ndarray]:
    """For each response, float64 [steps]: the mean of a step's own advantage and those of the steps after it.

    DeepSeekMath (arXiv 2402.03300 §4.1.3) sums them. The mean does not grow with the number of steps.
    """
    return [np.cumsum(a[::-1])[::-1] / np.arange(len(a), 0, -1) for a in advantages]


def step_of_token(char_ends: np.ndarray, steps: Sequence[StepVerdict]) -> np.ndarray:
    """int [tokens]: the index of the step that each token belongs to; −1 outside every step.

    A token that crosses a border belongs to the later step: its last character decides.
    """
    ends: np.ndarray = char_ends.astype(np.int64)
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
    eps: float = EPS,
) -> list[list[np.ndarray]]:
    """For each response of each group of a step, float64 [tokens]: what its reward was worth.

    Args:
        rewards: of each group's responses.
        lengths: of each group's responses, in tokens.
        baseline: what is subtracted. `group`: the mean of the group's rewards; `leave_one_out`: the mean of the group's
            other rewards; `batch`: the mean over all tokens of the step (REINFORCE++, arXiv 2501.03262).
        normalise: what divides. `group`: std + eps of the group's rewards; `batch`: that of all rewards of the step
            (TRL's scale_rewards="batch") or, with `baseline` `batch`, of all its tokens (REINFORCE++); `none`: 1.
        penalties: for each token, what is subtracted from the reward (β × KL). With `baseline` `batch`, a token pays
            for itself and those after it, R − Σ_{s ≥ t} p_s (REINFORCE++); otherwise a response pays for all of its
            tokens, R − Σ p (RLOO, arXiv 2402.14740).
    """
    if baseline == "batch":
        return _against_batch(rewards, lengths, normalise, penalties, eps)
    if penalties is not None:
        rewards = _less_penalties(rewards, penalties)
    divisor = _divisor(_flatten(rewards), normalise, eps)
    leave_one_out = baseline == "leave_one_out"
    advantages = []
    for group_rewards, group_lengths in zip(rewards, lengths, strict=True):
        worth = group_advantages(group_rewards, eps, leave_one_out, divisor)
        advantages.append([np.full(length, a) for length, a in zip(group_lengths, worth, strict=True)])
    return advantages


def _against_batch(
    rewards: Sequence[Sequence[float]],
    lengths: Sequence[Sequence[int]],
    normalise: Normalise,
    penalties: Sequence[Sequence[np.ndarray]] | None,
    eps: float,
) -> list[list[np.ndarray]]:
    """`outcome_advantages` with the baseline `batch`: each token's return against those of all tokens of the step."""
    if penalties is None:
        flat_penalties = [np.zeros(length) for length in _flatten(lengths)]
    else:
        flat_penalties = [penalty.astype(np.float64) for penalty in _flatten(penalties)]
    flat_rewards = _flatten(rewards)
    returns = [
        reward - np.cumsum(penalty[::-1])[::-1] for reward, penalty in zip(flat_rewards, flat_penalties, strict=True)
    ]
    flat = group_advantages(np.concatenate(returns), eps, divisor=1.0 if normalise == "none" else None)
    parts: Iterator[np.ndarray] = iter(np.split(flat, np.cumsum([len(r) for r in returns])[:-1]))
    return [[next(parts) for _ in group] for group in lengths]


def _less_penalties(rewards: Sequence[Sequence[float]], penalties: Sequence[Sequence[np.ndarray]]) -> list[list[float]]:
    """Rewards less the sum of their tokens' penalties."""
    reduced = []
    for group_rewards, group_penalties in zip(rewards, penalties, strict=True):
        pairs = zip(group_rewards, group_penalties, strict=True)
        reduced.append([reward - penalty.sum(dtype=np.float64) for reward, penalty in pairs])
    return reduced


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

    The credit `response` gives every token the worth of `total`, by `outcome_advantages`. `step` gives it the worth of
    `base`, plus `process_weight` times the advantage of the token's step; `return`, plus `process_weight` times that of
    the step and those after it. Tokens outside every step get only the worth of `base`. Steps are compared within their
    group whatever the baseline, since a candidate has a meaning only in its own question. `normalise` applies to them
    as
    well: `batch` divides by the spread of all step scores.
    """
    rewards = [[v.total if credit == "response" else v.base for v in verdicts] for verdicts in groups]
    lengths = [[len(ends) for ends in group] for group in char_ends]
    outcomes = outcome_advantages(rewards, lengths, baseline, normalise, penalties)
    if credit == "response":
        return [tuple(a.astype(np.float32) for a in group) for group in outcomes]
    step_scores = [step.score for verdict in _flatten(groups) for step in verdict.steps]
    divisor = _divisor(step_scores, normalise, EPS)
    advantages = []
    for verdicts, group_ends, outcome in zip(groups, char_ends, outcomes, strict=True):
        process = step_advantages([v.steps for v in verdicts], EPS, baseline == "leave_one_out", divisor)
        if credit == "return":
            process = step_returns(process)
        tokens = []
        for a, p, verdict, ends in zip(outcome, process, verdicts, group_ends, strict=True):
            padded = np.append(process_weight * p, 0.0)  # index −1, outside every step, reads the zero
            tokens.append((a + padded[step_of_token(ends, verdict.steps)]).astype(np.float32))
        advantages.append(tuple(tokens))
    return advantages


def has_signal(verdicts: Sequence[Verdict], credit: Credit, process_weight: float) -> bool:
    """Whether anything in a group is better than anything else: a response or, if steps have credit, a step."""
    rewards = [v.total if credit == "response" else v.base for v in verdicts]
    if group_advantages(rewards).any():
        return True
    if credit == "response" or not process_weight:
        return False
    return any(bool(a.any()) for a in step_advantages([v.steps for v in verdicts]))


def token_advantages(
    verdicts: Sequence[Verdict], char_ends: Sequence[np.ndarray], credit: Credit, process_weight: float
) -> tuple[np.ndarray, ...]:
    """`batch_advantages` of a single group, by its own mean and spread."""
    return batch_advantages([verdicts], [char_ends], credit, process_weight)[0]


def _flatten(groups: Sequence[Sequence[T]]) -> list[T]:
    return [item for group in groups for item in group]


def _all_equal(values: np.ndarray) -> bool:
    """Whether no value differs from another. By comparison, since the mean of equal numbers need not be one of them."""
    return len(values) < 2 or values.max() == values.min()


def _spread(values: np.ndarray, eps: float) -> float:
    """What differences are divided by: unbiased std + eps; infinity if all values are equal."""
    return np.inf if _all_equal(values) else float(values.std(ddof=1) + eps)


def _divisor(values: Sequence[float], normalise: Normalise, eps: float) -> float | None:
    """The argument `divisor` of `group_advantages`; `values` are those of the whole step."""
    if normalise == "group":
        return None
    if normalise == "none":
        return 1.0
    return _spread(np.asarray(values, np.float64), eps)


def _counterpart_key(step: StepVerdict, index: int, count: int) -> object:
    """The same for steps that are compared with each other: a candidate's name, or a tuple, which no candidate is."""
    if step.candidate is not None:
        return step.candidate
    return ("summary",) if index == count - 1 else ("list",)
