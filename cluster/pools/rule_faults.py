"""Which own rules failed on which responses, in a line for each rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rewards.verdict import Verdict


def fault_lines(verdicts: Sequence[Verdict]) -> list[str]:
    """A line for each own rule that has no value for some of the responses, with the commonest reason."""
    reasons: dict[str, Counter[str]] = {}
    for verdict in verdicts:
        for name in verdict.failed:
            reasons.setdefault(name, Counter())[_reason(verdict, name)] += 1
    lines = []
    for name, counts in sorted(reasons.items()):
        reason, times = counts.most_common(1)[0]
        commonest = f", {times} times" if times > 1 else ""
        lines.append(
            f"own rule {name} has no value for {counts.total()} of {len(verdicts)} responses, so that it counts as 0; "
            f"most often{commonest}: {reason}"
        )
    return lines


def _reason(verdict: Verdict, name: str) -> str:
    prefix = f"{name}: "
    return next((why.removeprefix(prefix) for why in verdict.why if why.startswith(prefix)), "no reason is known")
