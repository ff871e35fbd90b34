"""What is expected of a task: its pass rate, and the chance that a group for it teaches something.

A Bayesian model with a chain of priors: form of the answer, family, family in its source, finding, task. Each level
starts from what the wider one expects, with the weight of some pseudo-responses, and moves with its own groups. So a
task that was never drawn is expected to be like others with its finding, and a finding that is new like its family.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from curriculum.sampling.evidence import FORGOTTEN, NOTHING, Evidence
from curriculum.sampling.likeness import Likeness

LIKE = 8.0  # pseudo-responses by which a level leans on the wider one
ALIKE, ALIKE_ROOM = 0.4, 2.0  # `_leaning` before any group: the share, and the room that it weighs as much as
PER_GROUP = 8.0  # pseudo-responses that weigh as much as one group's spread
GRADED = 0.05  # share of outcomes between 0 and 1 above which a family is graded


class Expected(NamedTuple):
    """What is expected of a task.

    Attributes:
        right, wrong: parameters of the Beta distribution of its pass rate.
        spread: of a group's outcomes (`spread_of`).
        graded: whether outcomes of its family lie between 0 and 1, so that the spread decides and not the pass rate.
    """

    right: float
    wrong: float
    spread: float
    graded: bool

    @property
    def pass_rate(self) -> float:
        return self.right / (self.right + self.wrong)

    def signal(self, group_size: int) -> float:
        """What a group of the task is expected to teach, in [0, 1].

        For outcomes of 0 or 1 that is the chance that the group is not flat, 1 − E[p^n] − E[(1 − p)^n] with n responses
        and the pass rate p ~ Beta(right, wrong). For graded outcomes it is the expected spread.
        """
        if self.graded:
            return self.spread
        all_right = all_wrong = 1.0
        for k in range(group_size):  # E[p^n] = Π (right + k) / (right + wrong + k)
            total = self.right + self.wrong + k
            all_right *= (self.right + k) / total
            all_wrong *= (self.wrong + k) / total
        return max(0.0, 1 - all_right - all_wrong)


class _Prior(NamedTuple):
    """What is expected of a task before it is drawn, and by how many pseudo-responses it leans on that."""

    mean: float
    spread: float
    graded: bool
    leaning: float


class Expectations:
    """Learns from groups, and says what is expected of tasks.

    It changes only when `observe` is called.

    Attributes:
        version: of the weights, at which groups were observed last.
        of_likes: name of a group of tasks (`Likeness.levels`) to what its groups showed.
        of_tasks: id of a task to what its groups showed; only tasks that were drawn have an entry.
    """

    def __init__(self) -> None:
        self.version = 0
        self.of_likes: dict[str, Evidence] = {}
        self.of_tasks: dict[str, Evidence] = {}

    def observe(self, likeness: Likeness, outcomes: Sequence[float], version: int) -> None:
        """Takes in a group: the outcomes of its responses, in [0, 1], trained at `version`."""
        self.version = max(self.version, version)
        own = self.of_tasks.get(likeness.task, NOTHING).at(version)
        expected = None if own.groups else self._of_likes(likeness).mean
        for names in likeness.levels:
            for name in names:
                known = self.of_likes.get(name, NOTHING)
                self.of_likes[name] = known.with_group(outcomes, version, 1 / len(names), expected)
        self.of_tasks[likeness.task] = own.with_group(outcomes, version)

    def of(self, likeness: Likeness) -> Expected:
        """What is expected of a task now."""
        prior = self._of_likes(likeness)
        own = self.of_tasks.get(likeness.task, NOTHING).at(self.version)
        right = prior.leaning * prior.mean + own.passed
        wrong = prior.leaning * (1 - prior.mean) + own.responses - own.passed
        return Expected(right, wrong, _spread(prior.spread, own, prior.leaning), prior.graded)

    def _of_likes(self, likeness: Likeness) -> _Prior:
        """What is expected of a task before it is drawn."""
        mean, spread = 0.5, 0.5
        for names in likeness.levels:
            found = [self._of_like(name) for name in names]
            means = [(LIKE * mean + evidence.passed) / (LIKE + evidence.responses) for evidence in found]
            spreads = [_spread(spread, evidence, LIKE) for evidence in found]
            mean, spread = sum(means) / len(means), sum(spreads) / len(spreads)
        family = self._of_like(f"family {likeness.family}")
        leaning = _leaning(self._of_like(f"pool {likeness.pool}"))
        return _Prior(mean, spread, family.graded > GRADED * family.responses, leaning)

    def pass_rate(self, name: str) -> float:
        """The mean outcome of the groups of a level by name, newer ones counting more; 0.5 if there were none."""
        evidence = self._of_like(name)
        return evidence.passed / evidence.responses if evidence.responses else 0.5

    def groups(self, name: str) -> float:
        """How many groups of a level by name were trained, newer ones counting more."""
        return self._of_like(name).groups

    def _of_like(self, name: str) -> Evidence:
        return self.of_likes.get(name, NOTHING).at(self.version)

    def state_dict(self) -> dict[str, Any]:
        """Plain values, for JSON. What is too old to count is left out."""

        def kept(evidence: Mapping[str, Evidence]) -> dict[str, list[float]]:
            return {name: list(known) for name, known in evidence.items() if self.version - known.version < FORGOTTEN}

        return {"version": self.version, "of_likes": kept(self.of_likes), "of_tasks": kept(self.of_tasks)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.version = state["version"]
        self.of_likes = {name: Evidence(*values) for name, values in state["of_likes"].items()}
        self.of_tasks = {name: Evidence(*values) for name, values in state["of_tasks"].items()}


def _leaning(pool: Evidence) -> float:
    """By how many pseudo-responses κ a task of a pool leans on its finding: few if tasks of a finding differ much.

    If pass rates p of a finding's tasks are distributed as Beta(κ m, κ (1 − m)), then E[p (1 − p)] = m (1 − m) κ /
    (κ + 1). The left side is the variance within groups, which is known, so κ follows (moments). Only the first group
    of a task counts: later ones are drawn because they are expected to vary.
    """
    share = (ALIKE * ALIKE_ROOM + pool.variance) / (ALIKE_ROOM + pool.room)
    share = min(max(share, 0.05), 0.95)
    return share / (1 - share)


def _spread(prior: float, evidence: Evidence, strength: float) -> float:
    """The expected spread of a group: `prior`, moved by the spreads of groups that there were."""
    return (strength * prior + PER_GROUP * evidence.spread) / (strength + PER_GROUP * evidence.groups)
