"""What a response loses for being too long: a penalty that rises over the last part of the length allowed."""

from __future__ import annotations

from collections.abc import Sequence

from actors.trajectory import Trajectory
from rewards.verdict import Verdict


def with_overlong_penalty(
    verdicts: Sequence[Verdict],
    trajectories: Sequence[Trajectory],
    max_tokens: int,
    share: float,
    max_penalty: float,
) -> tuple[Verdict, ...]:
    """Subtracts DAPO's soft overlong penalty (arXiv 2503.14476 §3.4, eq. 13) from `total` and `base`.

    A response of n tokens loses nothing up to start = (1 − share) × max_tokens, then max_penalty × (n − start) /
    (max_tokens − start), and all of `max_penalty` if it was cut off.

    Returns:
        The verdicts of the group, in order.
    """
    penalised = []
    for verdict, trajectory in zip(verdicts, trajectories, strict=True):
        tokens = max_tokens if trajectory.truncated else len(trajectory.ids)
        penalty = max_penalty * min(1.0, max(0.0, (tokens - (1 - share) * max_tokens) / (share * max_tokens)))
        if penalty:
            reason = f"overlong, {len(trajectory.ids)} of at most {max_tokens} tokens: −{penalty:.3g}"
            verdict = verdict._replace(
                total=verdict.total - penalty, base=verdict.base - penalty, why=(*verdict.why, reason)
            )
        penalised.append(verdict)
    return tuple(penalised)
