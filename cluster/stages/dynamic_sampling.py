"""Dynamic sampling: groups that teach nothing are replaced by others (DAPO, arXiv 2503.14476 §3.2). Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from actors.algorithm.advantage import has_signal
from actors.algorithm.config import GrpoTraining
from actors.trajectory import ScoredGroup


def replace_flat_groups(
    fresh: Sequence[ScoredGroup],
    training: GrpoTraining,
    min_groups: int,
    more: Callable[[int, int], Sequence[ScoredGroup]],
) -> tuple[list[ScoredGroup], list[ScoredGroup]]:
    """The groups that are trained, and those in which nothing is better than anything else.

    Args:
        fresh: the groups that the step asked for first.
        min_groups: the fewest groups to train. If too few teach anything, the first of the others make up the number,
            since every learner worker takes part.
        more: `more(requested, missing)` gives `missing` further groups of a step that has requested `requested` so far.
            It is called at most `dynamic_sampling` times; the step then goes on with what it has.
    """
    kept: list[ScoredGroup] = []
    flat: list[ScoredGroup] = []
    requested = training.tasks_per_step
    for rounds in range(training.dynamic_sampling, -1, -1):
        for scored in fresh:
            teaches = has_signal(scored.verdicts, training.credit, training.process_weight)
            (kept if teaches else flat).append(scored)
        missing = training.tasks_per_step - len(kept)
        if not missing or not rounds:
            break
        fresh = more(requested, missing)
        requested += missing
    filler = max(0, min_groups - len(kept))
    return kept + flat[:filler], flat[filler:]
