"""What a step of reinforcement learning logs of its responses; the learner adds its own numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from actors.trajectory import ScoredGroup
from rewards.verdict import NOT_SCORED


def response_numbers(scored: Sequence[ScoredGroup], version: int) -> dict[str, float]:
    """Means over all responses of a step.

    `unread` is the share of answers that could not be read, `own_NAME_failed` that of responses for which an own rule
    has no value, and `flat_groups` that of groups whose rewards are all equal. `staleness` is the mean age of the
    tokens, and `staleness_max` the age of the oldest, in updates between the version that wrote a token and the one
    being trained.

    Args:
        version: the version being trained.
    """
    verdicts = [v for group in scored for v in group.verdicts]
    trajectories = [t for group in scored for t in group.group.trajectories]
    own = sorted({name for v in verdicts for name, _ in v.more})
    ages = version - np.concatenate([t.versions for t in trajectories])

    def mean(values: Sequence[float]) -> float:
        return float(np.mean(values))

    return {
        "reward": mean([v.total for v in verdicts]),
        "outcome": mean([v.outcome for v in verdicts]),
        "format": mean([v.format for v in verdicts]),
        "process": mean([v.process for v in verdicts]),
        "reason": mean([v.reason for v in verdicts]),
        "unscored": mean([NOT_SCORED in v.faults for v in verdicts]),
        "unread": mean([bool(v.unread) for v in verdicts]),
        **{f"own_{name}": mean([dict(v.more).get(name, 0.0) for v in verdicts]) for name in own},
        **{f"own_{name}_failed": mean([name in v.failed for v in verdicts]) for name in own},
        "response_tokens": mean([len(t.ids) for t in trajectories]),
        "truncated": mean([t.truncated for t in trajectories]),
        "flat_groups": mean([len({v.total for v in group.verdicts}) == 1 for group in scored]),
        "staleness": mean(ages),
        "staleness_max": int(ages.max(initial=0)),
    }
