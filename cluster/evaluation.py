"""Evaluation inside a run: greedy answers to held-out tasks, scored by the true rules without gates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from actors.trajectory import Request
from curriculum.task import Task
from curriculum.view_baseline import view_baseline
from rewards.score import RewardConfig, score

from .measures import Result
from .pools import RewardPool, RolloutPool


def held_out(tasks: Sequence[Task], families: Sequence[str], per_family: int) -> list[Task]:
    """At most `per_family` tasks of each family, always the same ones, in a fixed order."""
    chosen = []
    for family in families:
        of_family = [task for task in tasks if task.family == family]
        order = np.random.default_rng(0).permutation(len(of_family))[:per_family]
        chosen += [of_family[i] for i in sorted(order)]
    return chosen


def answer(tasks: Sequence[Task], rollouts: RolloutPool, rewards: RewardPool, version: int) -> list[Result]:
    """The model's most likely answer to each task, with its verdict."""
    requests = [Request(f"evaluation-{i}", task, 1, 0) for i, task in enumerate(tasks)]
    groups = rollouts.generate(requests, 0.0, version)
    verdicts = rewards.score(groups, evaluation=True)
    return [Result(group.task, group.trajectories[0].text, verdict[0])
            for group, verdict in zip(groups, verdicts, strict=True)]


def answer_by_view(train: Sequence[Task], test: Sequence[Task], rules: RewardConfig) -> list[Result] | None:
    """What the view alone (PA or AP) answers, by the frequencies of the train tasks; None where no view is known."""
    if not any(task.view for task in test):
        return None
    answers = view_baseline(train, test)
    texts = [f"<think>{task.view or 'Unknown'} view.</think><answer>{', '.join(answers[task.id])}</answer>" for task in test]
    return [Result(task, text, score(task, text, rules)) for task, text in zip(test, texts, strict=True)]
