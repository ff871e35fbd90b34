"""Groups in which nothing is better than anything else are replaced."""

from dataclasses import replace

from actors.algorithm.config import GrpoTraining
from cluster.stages.dynamic_sampling import replace_flat_groups
from rewards.verdict import StepVerdict
from tests.support.rewards.scored_groups import scored_group


def answers(*batches):
    """Gives a batch at each call, and writes down what it was asked."""
    left, asked = list(batches), []

    def more(so_far, missing):
        asked.append((so_far, missing))
        return left.pop(0)

    return more, asked


def named(groups):
    return [scored.group.group_id for scored in groups]


def test_groups_without_variance_are_replaced_until_there_are_enough_or_the_rounds_are_over():
    good, flat = (lambda name: scored_group(name, [0, 1])), (lambda name: scored_group(name, [1, 1]))
    training = GrpoTraining(dynamic_sampling=2, tasks_per_step=3, group_size=2)
    more, asked = answers([flat("d"), good("e")], [good("f")])
    kept, dropped = replace_flat_groups([good("a"), flat("b"), flat("c")], training, 1, more)
    assert (named(kept), named(dropped), asked) == (["a", "e", "f"], ["b", "c", "d"], [(3, 2), (5, 1)])
    more, asked = answers([flat("d"), flat("e")], [])  # workers may give up all of them
    kept, dropped = replace_flat_groups([good("a"), flat("b"), flat("c")], training, 2, more)
    assert (named(kept), named(dropped), asked) == (["a", "b"], ["c", "d", "e"], [(3, 2), (5, 2)])
    more, asked = answers()
    assert (
        named(replace_flat_groups([good("a"), good("b"), good("c")], training, 1, more)[0]) == ["a", "b", "c"]
        and not asked
    )


def test_a_group_teaches_by_its_steps_where_they_have_credit():
    steps = [(StepVerdict(0, 1, "A", "right", score, ""),) for score in (0.0, 1.0)]
    group = scored_group("g", [1, 1])
    group = replace(group, verdicts=tuple(v._replace(steps=s) for v, s in zip(group.verdicts, steps, strict=True)))
    for keys, teaches in (
        ({}, True),
        ({"process_weight": 0}, False),
        ({"credit": "response"}, False),
        ({"credit": "return"}, True),
    ):
        more, _ = answers([])
        kept, _ = replace_flat_groups([group], GrpoTraining(dynamic_sampling=1, tasks_per_step=1, **keys), 0, more)
        assert bool(kept) == teaches
