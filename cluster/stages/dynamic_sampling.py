"""Dynamic sampling: groups that teach nothing are replaced by others (DAPO, arXiv 2503.14476 §3.2). Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from actors.trajectory import ScoredGroup


@dataclass(frozen=True)
class Replacing:
    """Which groups of a step are replaced.

    Attributes:
        rounds: a group of the step may be replaced, its replacement as well, and so on, so often.
        is_flat: whether nothing in a group is better than anything else.
    """

    rounds: int
    is_flat: Callable[[ScoredGroup], bool]


def groups_to_request(lost: Sequence[bool], first: int, rounds: int) -> int:
    """How many groups a step asks for in all, as far as that is certain yet.

    Every lost group of round k has a replacement in round k + 1, and rounds follow one another in the order of draws.
    So what a step asks for in the end depends on the groups alone, not on the order in which they arrive. Until the
    last one has come the number only grows: a replacement is asked for as soon as it is certain, while other groups
    are still written.

    Args:
        lost: for each group that the step has asked for, in the order of draws: whether it is known to be flat, or that
            it did not come.
        first: how many groups the step asked for first.
        rounds: as in `Replacing`.
    """
    total = first
    for _ in range(rounds):
        total = first + sum(lost[:total])
    return total


def without_flat(
    groups: Sequence[ScoredGroup], is_flat: Callable[[ScoredGroup], bool], min_groups: int
) -> tuple[list[ScoredGroup], list[ScoredGroup]]:
    """The groups that are trained, and those in which nothing is better than anything else.

    Args:
        min_groups: the fewest groups to train. If too few teach anything, the first of the others make up the number,
            since every learner worker takes part.
    """
    flags = [is_flat(scored) for scored in groups]
    kept = [scored for scored, flat in zip(groups, flags, strict=True) if not flat]
    flat = [scored for scored, flat in zip(groups, flags, strict=True) if flat]
    filler = max(0, min_groups - len(kept))
    return kept + flat[:filler], flat[filler:]
