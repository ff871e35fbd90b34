"""Answers to held-out tasks, scored by the true rules without gates: in a run, greedy, and for `curlvpr eval`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from actors.trajectory import Request, sampling_seed
from cluster.config.recipe import Recipe
from cluster.measures import Result
from cluster.pools.reward_pool import RewardPool
from cluster.pools.rollout_pool import RolloutPool
from cluster.pools.shares import Failed
from curriculum.sets.task_table import TaskTable
from curriculum.task import Split, Task
from curriculum.view_baseline import view_baseline
from rewards.config import RewardConfig
from rewards.score import score
from rewards.verdict import unscored


def held_out(tasks: TaskTable, families: Sequence[str], per_family: int) -> list[Task]:
    """At most `per_family` tasks of each family, always the same ones, in a fixed order; of each source as many."""
    chosen = []
    for family in families:
        positions = tasks.families.get(family, np.zeros(0, int))
        order = np.random.default_rng(0).permutation(len(positions))
        places = _place_in_source(tasks.sources[positions[order]])
        order = order[np.argsort(places, kind="stable")][:per_family]
        chosen += [tasks[int(position)] for position in positions[np.sort(order)]]
    return chosen


def _place_in_source(sources: np.ndarray) -> np.ndarray:
    """[tasks] how many tasks of the same source come before each task."""
    places: np.ndarray = np.zeros(len(sources), int)
    for source in np.unique(sources):
        places[sources == source] = np.arange(np.count_nonzero(sources == source))
    return places


def deciding_tasks(recipe: Recipe, val: TaskTable) -> TaskTable:
    """The validation tasks that gates and the ranking of versions ask: all but those of a source that only vetoes."""
    veto = recipe.checkpoint.best.veto
    if veto is None:
        return val
    return val.of_sources([source.name for source in recipe.data.sources or () if source.name != veto.source])


def vetoing_tasks(recipe: Recipe, val: TaskTable) -> TaskTable:
    """The validation tasks of the source that only vetoes; none without one."""
    veto = recipe.checkpoint.best.veto
    return val.of_sources([veto.source] if veto else [])


def tested_families(recipe: Recipe, train: TaskTable) -> dict[str, str]:
    """The families that the run tests, with the form of their answers."""
    tested = recipe.tested_families
    return {family: train[int(tasks[0])].form for family, tasks in train.families.items() if family in tested}


def test_tasks(recipe: Recipe, tasks: Mapping[Split, TaskTable]) -> list[Task]:
    """The test tasks of a run: some of every family that it tests."""
    families = tested_families(recipe, tasks["train"])
    return held_out(tasks["test"], list(families), recipe.evaluation.test_per_family)


def answer(
    tasks: Sequence[Task],
    rollouts: RolloutPool,
    rewards: RewardPool,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Result]:
    """The model's most likely answer to each task, with its verdict; none where no worker could make one.

    Args:
        progress: is called after each part with the number of tasks answered so far.
    """
    return [results[0] for results in _ask(tasks, 1, 0.0, rollouts, rewards, progress)]


def sample(
    tasks: Sequence[Task],
    count: int,
    temperature: float,
    rollouts: RolloutPool,
    rewards: RewardPool,
    progress: Callable[[int], None] = lambda done: None,
) -> list[list[Result]]:
    """`count` sampled answers to each task, with their verdicts. The seeds depend on the tasks alone.

    Args:
        progress: as in `answer`.
    """
    return _ask(tasks, count, temperature, rollouts, rewards, progress)


def _ask(
    tasks: Sequence[Task],
    count: int,
    temperature: float,
    rollouts: RolloutPool,
    rewards: RewardPool,
    progress: Callable[[int], None],
) -> list[list[Result]]:
    """They are asked in parts of about twice what the engines hold at once, so that the pool's time limit is that of a
    part.
    """
    part = max(1, 2 * rollouts.config.max_sequences * rollouts.config.workers // count)
    score_group = partial(rewards.add, evaluation=True)
    results: list[list[Result]] = []
    for start in range(0, len(tasks), part):
        asked = tasks[start : start + part]
        seeds = [sampling_seed(0, task.id, 0) if temperature else 0 for task in asked]
        requests = [
            Request(f"evaluation-{start + i}", task, count, seed)
            for i, (task, seed) in enumerate(zip(asked, seeds, strict=True))
        ]
        answers = rollouts.gather(rollouts.submit(requests, temperature, score_group), meanwhile=rewards.pump)
        verdicts = iter(rewards.take([answer for answer in answers if not isinstance(answer, Failed)]))
        for request, answer in zip(requests, answers, strict=True):
            if isinstance(answer, Failed):
                results.append([Result(request.task, "", unscored(answer.why))] * count)
            else:
                scored = zip(answer.trajectories, next(verdicts), strict=True)
                results.append([Result(request.task, written.text, verdict) for written, verdict in scored])
        progress(len(results))
    return results


def answer_by_view(train: TaskTable, test: Sequence[Task], rules: RewardConfig) -> list[Result] | None:
    """What the view alone (PA or AP) answers, by the frequencies of the train tasks; None where no view is known."""
    if not any(task.view for task in test):
        return None
    answers = view_baseline(train, test)
    texts = {id: f"<think>By the view.</think><answer>{', '.join(answer)}</answer>" for id, answer in answers.items()}
    return [Result(task, texts[task.id], score(task, texts[task.id], rules)) for task in test if task.id in texts]
