"""What a response loses for being too long: a punishment that rises over the last part of what it may have."""

from __future__ import annotations

from collections.abc import Sequence

from actors.trajectory import Trajectory
from rewards.verdict import Verdict


def with_overlong_penalty(
    verdicts: Sequence[Verdict], trajectories: Sequence[Trajectory], longest: int, share: float, most: float
) -> tuple[Verdict, ...]:
    """The verdicts of a group, `total` and `base` less the soft overlong punishment of DAPO (arXiv 2503.14476 §3.4, eq. 13).

    A response of n tokens loses most × (n − start) / (longest − start) behind start = (1 − share) × longest, nothing before
    it, and `most` where it was cut off.
    """

    def one(verdict: Verdict, trajectory: Trajectory) -> Verdict:
        tokens = longest if trajectory.truncated else len(trajectory.ids)
        loss = most * min(1.0, max(0.0, (tokens - (1 - share) * longest) / (share * longest)))
        if not loss:
            return verdict
        return verdict._replace(
            total=verdict.total - loss,
            base=verdict.base - loss,
            why=(*verdict.why, f"overlong, {len(trajectory.ids)} of at most {longest} tokens: −{loss:.3g}"),
        )

    return tuple(one(*both) for both in zip(verdicts, trajectories, strict=True))
