"""What a stage was offered, what it drew, and what came of it: the table of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from curriculum.sampling.expectations import Expectations
from curriculum.sampling.likeness import Likeness

MAX_ROWS = 400  # of a stage; findings that come later are counted together
OTHERS = "others"


@dataclass
class Counts:
    """Of the tasks of a family with a finding.

    Attributes:
        offered: how often one was a candidate. A uniform sampler would have drawn in proportion to it.
        drawn: how often one was drawn.
        groups: how many groups were trained or dropped as flat.
        flat: how many of those had equal rewards.
        pass_rate: the mean outcome, as it was estimated when the last of them was trained.
    """

    offered: int = 0
    drawn: int = 0
    groups: int = 0
    flat: int = 0
    pass_rate: float | None = None


class Tally:
    """Counts by stage, family and finding. A task with several findings counts for each."""

    def __init__(self) -> None:
        self.stages: dict[str, dict[str, dict[str, Counts]]] = {}

    def choice(self, stage: str, candidates: Sequence[Likeness], chosen: int) -> None:
        """Counts a draw: of these tasks, that one was drawn."""
        for number, likeness in enumerate(candidates):
            for counts in self._of(stage, likeness).values():
                counts.offered += 1
                counts.drawn += number == chosen

    def group(self, stage: str, likeness: Likeness, flat: bool, expectations: Expectations) -> None:
        """Counts a group, which `expectations` have observed."""
        for level, counts in self._of(stage, likeness).items():
            counts.groups += 1
            counts.flat += flat
            counts.pass_rate = expectations.pass_rate(level)

    def _of(self, stage: str, likeness: Likeness) -> dict[str, Counts]:
        """The counts of a task's findings, by the name of the finding among the levels of `Likeness`."""
        families = self.stages.setdefault(stage, {})
        findings = families.setdefault(likeness.family, {})
        rows = sum(len(found) for found in families.values())
        found: dict[str, str] = {}
        for name, level in zip(likeness.findings, likeness.levels[-1], strict=True):
            found[name if name in findings or rows < MAX_ROWS else OTHERS] = level
        return {level: findings.setdefault(name, Counts()) for name, level in found.items()}

    def rows(self, stage: str, limit: int = 40) -> list[dict[str, Any]]:
        """A stage's counts as plain rows, the most often offered first; shares are of the family's."""
        rows = []
        for family, findings in self.stages.get(stage, {}).items():
            offered = sum(counts.offered for counts in findings.values())
            drawn = sum(counts.drawn for counts in findings.values())
            for finding, counts in findings.items():
                shares = {
                    "offered_share": counts.offered / max(offered, 1),
                    "drawn_share": counts.drawn / max(drawn, 1),
                    "flat_share": counts.flat / counts.groups if counts.groups else None,
                }
                rows.append({"family": family, "finding": finding, **asdict(counts), **shares})
        return sorted(rows, key=lambda row: (-row["offered"], row["family"], row["finding"]))[:limit]

    def state_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            stage: {
                family: {finding: asdict(counts) for finding, counts in findings.items()}
                for family, findings in families.items()
            }
            for stage, families in self.stages.items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.stages = {
            stage: {
                family: {finding: Counts(**counts) for finding, counts in findings.items()}
                for family, findings in families.items()
            }
            for stage, families in state.items()
        }
