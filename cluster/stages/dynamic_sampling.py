"""Dynamic sampling: groups that teach nothing are replaced by others (DAPO, arXiv 2503.14476 §3.2). Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from actors.algorithm.advantage import has_signal
from actors.algorithm.config import GrpoTraining
from actors.trajectory import ScoredGroup


def replace_flat_groups(
    fresh: Sequence[ScoredGroup], training: GrpoTraining, least: int, more: Callable[[int, int], Sequence[ScoredGroup]]
) -> tuple[list[ScoredGroup], list[ScoredGroup]]:
    """The groups that are trained, and those in which nothing is better than anything else.

    Args:
        fresh: the groups that the step asked for first.
        least: so many are trained in any case, the first of the others where need be: every learner worker takes part.
        more: gives further groups, told how many the step has asked for so far, and how many it lacks; it is called at most
            `dynamic_sampling` times. What is lacking then stays lacking.
    """
    kept: list[ScoredGroup] = []
    flat: list[ScoredGroup] = []
    asked = training.tasks_per_step
    for rounds in range(training.dynamic_sampling, -1, -1):
        for scored in fresh:
            (kept if has_signal(scored.verdicts, training.credit, training.process_weight) else flat).append(scored)
        missing = training.tasks_per_step - len(kept)
        if not missing or not rounds:
            break
        fresh, asked = more(asked, missing), asked + missing
    lacking = max(0, least - len(kept))
    return kept + flat[:lacking], flat[lacking:]
