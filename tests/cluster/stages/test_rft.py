"""A step of rejection sampling: which responses it learns from, and what it says of the others."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from actors.learner.orders import UpdateResult
from actors.trajectory import Trajectory
from cluster.record.console import step_words
from cluster.stages import RftStage
from rewards.reading.parser import FormatFault
from tests.support.rewards.scored_groups import scored_group

GATE = {"measure": "closed_accuracy", "max_steps": 10}
FAULT = (FormatFault("cut off at the length limit", 3),)


def stage(**training):
    return RftStage.model_validate(
        {"name": "r", "kind": "rft", "tasks": {"binary": 1}, "gate": GATE, "training": training}
    )


def group(name, *responses):
    """A scored group of responses (text, outcome, total) or (text, outcome, total, faults)."""
    scored = scored_group(name, [total for _, _, total, *_ in responses])
    trajectories, verdicts = [], []
    for number, (verdict, (text, outcome, total, *faults)) in enumerate(zip(scored.verdicts, responses, strict=True)):
        ids = np.array([number, *range(100, 100 + len(text))], np.int32)
        trajectories.append(Trajectory(text, ids, np.zeros(len(ids)), np.zeros(len(ids), int), ids, "stop", 0))
        verdicts.append(verdict._replace(outcome=outcome, total=total, faults=faults[0] if faults else ()))
    return replace(
        scored,
        group=replace(scored.group, task=SimpleNamespace(images=()), trajectories=tuple(trajectories)),
        verdicts=tuple(verdicts),
    )


class Run:
    """What a step uses of the run."""

    version, lr, temperature, max_response_tokens = 3, 0.5, 1.0, 64

    def __init__(self, *scored):
        self.scored, self.orders, self.booked = list(scored), [], None

    def generate(self):
        return [scored.group for scored in self.scored]

    def score(self, groups):
        return self.scored

    def learn(self, order):
        self.orders.append(order)
        return UpdateResult({"loss": 1.5, "tokens": 7, "lr": order.lr, "skipped": 0.0}, [])

    def book(self, trained, dropped, why):
        self.booked = [[s.group.group_id for s in part] for part in (trained, dropped)], why


RIGHT = group(
    "right",
    ("haze in the left lung", 1.0, 1.2),
    ("haze in the left lung", 1.0, 1.2),
    ("haze in the left lobe", 1.0, 1.4),
    ("the heart is wide and the ribs are whole", 1.0, 1.1),
    ("nothing", 0.0, 0.2),
    ("a whole answer that was cut", 1.0, 2.0, FAULT),
)
WRONG = group("wrong", ("a", 0.5, 0.9), ("b", 0.0, 0.1))


def test_a_step_learns_from_the_best_accepted_response_and_from_those_least_alike():
    run = Run(RIGHT, WRONG)
    result = stage(keep=2).step(run)
    (order,) = run.orders
    assert [sample.response_ids[0] for sample in order.samples] == [2, 3] and order.lr == 0.5
    assert run.booked == ([["right"], ["wrong"]], "no response was accepted")
    numbers = result.numbers
    assert numbers["accepted"] == 4 / 8 and numbers["learnt_responses"] == 2
    assert numbers["tasks_without_accepted"] == 1 and numbers["loss"] == 1.5
    assert "flat_groups" not in numbers  # no alarm where all responses are right


def test_equal_responses_are_learnt_from_once():
    run = Run(RIGHT)
    stage(keep=8).step(run)
    assert sorted(sample.response_ids[0] for sample in run.orders[0].samples) == [0, 2, 3]


def test_a_lower_outcome_may_be_asked():
    run = Run(WRONG)
    stage(min_outcome=0.5).step(run)
    assert [sample.response_ids[0] for sample in run.orders[0].samples] == [0]


def test_a_step_without_any_accepted_response_makes_no_update_and_says_so():
    run = Run(WRONG, WRONG)
    result = stage().step(run)
    assert not run.orders and result.numbers["tokens"] == 0 and result.numbers["skipped"] == 0
    row = result.numbers | {"stage": "r", "stage_step": 1, "max_steps": 10, "kind": "rft", "tokens_per_s": 0.0}
    assert "no response was accepted: no update" in step_words(row) and "tasks without 2" in step_words(row)


@pytest.mark.parametrize("training", [{"keep": 0}, {"min_outcome": 0}, {"credit": "step"}])
def test_settings_that_make_no_sense_are_refused(training):
    with pytest.raises(ValueError, match="training"):
        stage(**training)
