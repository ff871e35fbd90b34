"""Flat groups are replaced while others are still on their way: simulated pools deliver in any order."""

from types import SimpleNamespace

import numpy as np
import pytest

from actors.runtime.remote import RemoteFailure
from actors.trajectory import Group, Trajectory
from cluster.config.recipe_file import parse_recipe
from cluster.pools.shares import Batch, Failed
from cluster.record.ledger import Ledger
from cluster.run.in_flight import InFlight
from cluster.stages.dynamic_sampling import Replacing
from curriculum.sampler import Sampler
from curriculum.sets.task_table import TaskTable
from curriculum.task import Task
from rewards.verdict import Verdict

FLAT = 3  # one task in so many is
LOST = 7


class Rollouts:
    """Gives one group at each turn, in an order by `seed`. A lost task fails."""

    def __init__(self, seed, rewards):
        self.rng, self.rewards, self.batches, self.waits = np.random.default_rng(seed), rewards, [], []

    def submit(self, requests, temperature, arrived):
        self.batches.append(Batch(requests, None, arrived))
        self.waits.append(sum(len(batch.missing) for batch in self.batches[:-1]))
        return self.batches[-1]

    def pump(self, meanwhile):
        missing = [(batch, number) for batch in self.batches for number in sorted(batch.missing)]
        if missing:
            batch, number = missing[self.rng.integers(len(missing))]
            batch.deliver(number, self.answer(batch.items[number]))
        meanwhile()

    def gather(self, batch, meanwhile):
        while not batch.done:
            self.pump(meanwhile)
        return batch.results

    @staticmethod
    def answer(request):
        if int(request.task.id) % LOST == 0:
            return Failed("no worker could")
        one = np.ones(1, np.int32)
        trajectory = Trajectory("", one, one.astype(np.float32), one, one, "stop", request.seed)
        return Group(request.group_id, request.task, one, (trajectory, trajectory))


class Rewards:
    """Knows verdicts some turns after a group came."""

    def __init__(self, seed):
        self.rng, self.due, self.turn = np.random.default_rng([seed, 1]), {}, 0

    def add(self, group):
        self.due[group.group_id] = self.turn + int(self.rng.integers(4))

    def pump(self):
        self.turn += 1

    def known(self, group):
        if self.due[group.group_id] > self.turn:
            return None
        rewards = (1, 1) if int(group.task.id) % FLAT == 0 else (1, 0)
        return tuple(Verdict(r, r, 1, r, 0, 0, None) for r in rewards)

    def drop(self, group_id):
        self.due.pop(group_id, None)


def is_flat(scored):
    return len({verdict.total for verdict in scored.verdicts}) == 1


def recipe(**training):
    gate = {"measure": "closed_accuracy", "max_steps": 3}
    stage = {"name": "only", "kind": "grpo", "tasks": {"a": 1, "b": 1}, "gate": gate, "training": training}
    return parse_recipe({"name": "x", "data": {"phantoms": {}}, "model": {"tiny": {}}, "stages": [stage]}, "x")


def step(tmp_path, seed, rounds, **training):
    """The names of a step's groups and tasks, and how often a request was made while others were on their way."""
    made = recipe(**{"tasks_per_step": 8, "group_size": 2} | training)
    tasks = TaskTable.of(
        Task(id=str(n), domain="open", family="ab"[n % 2], question="?", gold=("x",), images=("x.png",))
        for n in range(1, 400)
    )
    rewards = Rewards(seed)
    rollouts = Rollouts(seed, rewards)
    ledger = Ledger(tmp_path / f"ledger-{seed}-{rounds}.jsonl")
    context = SimpleNamespace(
        recipe=made,
        sampler=Sampler(tasks, 0),
        ledger=ledger,
        workers=SimpleNamespace(rollouts=rollouts, rewards=rewards),
    )
    flight, stage = InFlight(context), made.stages[0]
    flight.issue(stage, 0)
    groups = flight.take(stage, 1, Replacing(rounds, is_flat) if rounds else None)
    ledger.check()
    dropped = ledger.counts["dropped"]
    ledger.close()
    return [(group.group_id, group.task.id) for group in groups], dropped, rollouts.waits


@pytest.mark.parametrize("rounds", [1, 2, 4])
def test_a_step_has_the_same_groups_in_whatever_order_they_come(tmp_path, rounds):
    first, dropped, _ = step(tmp_path, 0, rounds)
    early = 0
    for seed in range(1, 12):
        groups, lost, waits = step(tmp_path, seed, rounds)
        assert (groups, lost) == (first, dropped)
        early += sum(wait > 0 for wait in waits[1:])
    assert early  # replacements were asked for while others were on their way
    order = [int(name.rsplit("-", 1)[1]) for name, _ in first]
    assert order == sorted(order) and len(first) > 8


def test_groups_that_teach_are_made_up_for_within_the_rounds(tmp_path):
    groups, dropped, _ = step(tmp_path, 0, 6)
    assert sum(int(task) % FLAT != 0 for _, task in groups) == 8
    assert dropped and all(int(task) % LOST for _, task in groups)


def test_without_replacing_a_step_has_what_came(tmp_path):
    groups, dropped, waits = step(tmp_path, 0, 0)
    assert len(groups) == 8 - dropped and waits == [0]


def test_too_few_groups_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(Rollouts, "answer", staticmethod(lambda request: Failed("no worker could")))
    with pytest.raises(RemoteFailure, match="0 of 24 groups are left, 1 are needed; .* because: no worker could"):
        step(tmp_path, 0, 2)
