"""The sampler with adaptive sampling: what stays as it is, and what tasks are drawn more often."""

import json
from collections import Counter

import numpy as np
import pytest

from curriculum.sampler import Mixing, Outcome, Sampler
from curriculum.sampling.choice import Adaptive
from curriculum.sets.mapped import hold_tasks
from curriculum.sets.task_table import Part, TaskTable
from curriculum.task import Task

HOW = Adaptive("only", 4)
MIXTURE = {"names": 0.7, "other": 0.3}


def task(n, family="names"):
    finding = f"finding {n % 5}"
    return Task(id=f"{family}{n}", domain="open", family=family, question="?", gold=(finding,), images=("x.png",))


def table(size=60):
    return TaskTable.of([*(task(n) for n in range(size)), *(task(n, "other") for n in range(size // 2))])


def outcome(drawn, rng):
    """One task in three is open, the others are solved."""
    varies = int("".join(filter(str.isdigit, drawn.id))) % 3 == 0
    rewards = (rng.random(4) < (0.5 if varies else 1.0)).astype(float).tolist()
    return Outcome(drawn, rewards, len(set(rewards)) == 1)


def steps(sampler, count, first=0, adaptive=HOW):
    """The tasks of some steps, after each of which the sampler learns what became of them."""
    made = []
    for step in range(first, first + count):
        drawn = sampler.draw(MIXTURE, 10, (), adaptive)
        made.append([(task.id, number) for task, number in drawn])
        rng = np.random.default_rng(step)
        sampler.observe([outcome(task, rng) for task, _ in drawn], step, adaptive or HOW)
    return made


def test_the_mixture_stays_as_it_is_and_no_task_comes_twice_in_a_pass():
    ours, uniform = Sampler(table(), 0), Sampler(table(), 0)
    drawn = [pair for step in steps(ours, 100) for pair in step]
    plain = [pair for step in steps(uniform, 100, adaptive=None) for pair in step]
    shares = [sum(name.startswith("names") for name, _ in pairs) / 1000 for pairs in (drawn, plain)]
    assert shares == pytest.approx([0.7, 0.7], abs=0.02)
    assert len(set(drawn)) == len(drawn)  # so no sampling seed comes twice
    assert set(plain) != set(drawn)


def test_tasks_that_teach_come_more_often_and_every_task_comes():
    drawn = Counter(name for step in steps(Sampler(table(), 0), 300) for name, _ in step if name.startswith("names"))
    teaching = sum(count for name, count in drawn.items() if int(name.removeprefix("names")) % 3 == 0)
    assert teaching / drawn.total() > 0.6  # uniform: 1/3
    assert len(drawn) == 60


def test_same_seed_same_draws_and_a_restored_sampler_goes_on_where_it_was():
    whole, half, restored = Sampler(table(), 3), Sampler(table(), 3), Sampler(table(), 3)
    expected = steps(whole, 30)
    assert steps(half, 13) == expected[:13]
    restored.load_state_dict(json.loads(json.dumps(half.state_dict())))
    assert steps(restored, 17, first=13) == expected[13:]
    assert restored.tally.rows("only") == whole.tally.rows("only")
    assert steps(Sampler(table(), 4), 5) != expected[:5]


def test_draws_depend_on_what_was_observed_and_on_nothing_else():
    ours = Sampler(table(), 0)
    steps(ours, 10)
    state = json.dumps(ours.state_dict())
    peeked = [task.id for task in ours.peek(MIXTURE, 10, (), HOW)]
    assert json.dumps(ours.state_dict()) == state  # peeking changes nothing, not even the table of a report
    assert [task.id for task, _ in ours.draw(MIXTURE, 10, (), HOW)] == peeked


def test_the_state_of_a_release_without_adaptive_sampling_is_taken():
    ours = Sampler(table(), 0)
    steps(ours, 3)
    ours.load_state_dict({"position": {"names": 40, "other": 9}})
    assert ours.position == {"names": 40, "other": 9} and not ours.expectations.of_tasks
    assert not ours.tally.rows("only")


def test_uniform_draws_do_not_depend_on_what_was_observed():
    ours, plain = Sampler(table(), 0), Sampler(table(), 0)
    ours.observe([outcome(task(n), np.random.default_rng(n)) for n in range(20)], 0, HOW)
    assert steps(ours, 5, adaptive=None) == steps(plain, 5, adaptive=None)


def test_sources_are_told_apart_and_a_pool_of_one_task_is_drawn():
    parts = [Part("a", hold_tasks([task(0)])), Part("b", hold_tasks([task(n) for n in range(40)]))]
    ours = Sampler(TaskTable(parts, np.arange(41)), 0, Mixing({"a": 1, "b": 1}, 0.0))
    drawn = [task for _ in range(20) for task, _ in ours.draw({"names": 1.0}, 4, (), HOW)]
    assert Counter(task.id.split("/")[0] for task in drawn)["a"] == 40
    ours.observe([Outcome(task, [1.0] * 4, True) for task in drawn], 1, HOW)
    assert {"pool a/names", "pool b/names"} <= set(ours.expectations.of_likes)
    assert "a/names0" in ours.expectations.of_tasks and "b/names0" in ours.expectations.of_tasks
