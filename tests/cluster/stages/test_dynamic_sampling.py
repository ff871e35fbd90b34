"""Groups in which nothing is better than anything else are replaced."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.algorithm.config import GrpoTraining
from cluster.stages import GrpoStage
from cluster.stages.dynamic_sampling import groups_to_request, without_flat
from rewards.verdict import StepVerdict
from tests.support.rewards.scored_groups import scored_group

GATE = {"measure": "closed_accuracy", "max_steps": 1}


def stage(**keys):
    """A stage that replaces flat groups twice."""
    training = GrpoTraining(**{"dynamic_sampling": 2, "tasks_per_step": 3, "group_size": 2} | keys)
    return GrpoStage(name="a", kind="grpo", tasks={"binary": 1}, gate=GATE, training=training)


def is_flat(scored):
    return not stage().teaches(scored)


def test_groups_without_variance_are_left_out_unless_the_ranks_need_them():
    good, flat = (lambda name: scored_group(name, [0, 1])), (lambda name: scored_group(name, [1, 1]))
    groups = [good("a"), flat("b"), flat("c"), good("d")]
    for minimum, kept, dropped in ((1, "ad", "bc"), (3, "adb", "c"), (9, "adbc", "")):
        both = without_flat(groups, is_flat, minimum)
        assert ["".join(scored.group.group_id for scored in part) for part in both] == [kept, dropped]


def in_rounds(flat, first, rounds):
    """How many groups are asked for if every round is over before the next begins."""
    total, new = first, first
    for _ in range(rounds):
        new = sum(flat[total - new : total])
        total += new
    return total


@given(st.integers(1, 6), st.integers(0, 4), st.integers(0, 999), st.integers(0, 10))
def test_what_is_asked_for_is_that_of_whole_rounds_in_whatever_order_groups_come(first, rounds, seed, quarters):
    """Groups become known at random; each request is made as soon as it is certain. The end is always the same."""
    rng = np.random.default_rng(seed)
    flat = (rng.random(first * (rounds + 1)) < quarters / 10).tolist()
    known: dict[int, bool] = {}
    asked = first
    while len(known) < asked:
        arrived = rng.choice([n for n in range(asked) if n not in known])
        known[arrived] = flat[arrived]
        wanted = groups_to_request([known.get(n, False) for n in range(asked)], first, rounds)
        assert wanted >= asked  # never too many: what was asked for is never taken back
        asked = wanted
    assert asked == in_rounds(flat, first, rounds)


def test_a_replacement_is_asked_for_before_the_round_ends():
    assert groups_to_request([False, True, False], 3, 2) == 4  # the others may still be on their way
    assert groups_to_request([False, True, False, True], 3, 2) == 5
    assert groups_to_request([False, True, False, True, True], 3, 2) == 5  # of the last round, or not yet certain
    assert groups_to_request([True, True, False, True, True], 3, 2) == 7  # now both are of the first round
    assert groups_to_request([True, True, True], 3, 0) == 3


@pytest.mark.parametrize(
    "keys, teaches",
    [
        ({}, True),
        ({"process_weight": 0}, False),
        ({"credit": "response"}, False),
        ({"credit": "return"}, True),
    ],
)
def test_a_groupteaches_by_its_steps_where_they_have_credit(keys, teaches):
    steps = [(StepVerdict(0, 1, "A", "right", score, ""),) for score in (0.0, 1.0)]
    group = scored_group("g", [1, 1])
    group = replace(group, verdicts=tuple(v._replace(steps=s) for v, s in zip(group.verdicts, steps, strict=True)))
    assert stage(**keys).teaches(group) == teaches
