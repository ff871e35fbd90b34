import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum.sampler import Mixing, Sampler
from curriculum.sets.mapped import hold_tasks
from curriculum.sets.task_table import Part, TaskTable
from curriculum.task import Task

MIXTURE = {"binary": 0.5, "single": 0.3, "open": 0.2}


def tasks(**sizes):
    return [
        Task(id=f"{family}{n}", domain="open", family=family, question="?", gold=(), images=("x.png",))
        for family, size in sizes.items()
        for n in range(size)
    ]


def sampler(seed=0, binary=7, single=5, open=3):
    return Sampler(TaskTable.of(tasks(binary=binary, single=single, open=open)), seed)


def draws(sampler, steps, mixture=MIXTURE, count=8):
    return [[(task.id, number) for task, number in sampler.draw(mixture, count)] for _ in range(steps)]


@given(
    st.integers(0, 99),
    st.tuples(*[st.integers(1, 9)] * 3),
    st.tuples(*[st.floats(0, 1)] * 3).filter(lambda w: sum(w) > 0.01),
    st.lists(st.integers(1, 20), min_size=1, max_size=12),
)
def test_every_task_once_a_pass_and_shares_within_one(seed, sizes, weights, counts):
    ours = sampler(seed, *sizes)
    drawn = {family: [] for family in MIXTURE}
    for count in counts:
        step = ours.draw(dict(zip(MIXTURE, weights, strict=True)), count)
        assert len(step) == count
        of_family = Counter(task.family for task, _ in step)
        for family, weight in zip(MIXTURE, weights, strict=True):
            assert abs(of_family[family] - count * weight / sum(weights)) < 1 + 1e-9
            drawn[family] += sorted((number, task.id) for task, number in step if task.family == family)
    for size, seen in zip(sizes, drawn.values(), strict=True):
        assert len(set(seen)) == len(seen)  # never twice in one pass
        assert [number for number, _ in sorted(seen)] == [n // size for n in range(len(seen))]


def test_shares_hold_over_many_steps():
    ours = sampler()
    mixture = {"binary": 0.62, "single": 0.27, "open": 0.11}
    families = Counter(task.family for _ in range(600) for task, _ in ours.draw(mixture, 4))
    for family, share in mixture.items():
        assert families[family] / 2400 == pytest.approx(share, abs=0.02)


def test_a_family_without_a_share_is_never_drawn():
    ours = sampler()
    assert {
        task.family for _ in range(50) for task, _ in ours.draw({"single": 1.0, "open": 0.0, "binary": 0.0}, 3)
    } == {"single"}


def test_orders_differ_between_passes_and_families_mix_within_a_step():
    ours = sampler(single=40)
    passes = [[ours.draw({"single": 1}, 1)[0][0].id for _ in range(40)] for _ in range(2)]
    assert sorted(passes[0]) == sorted(passes[1]) and passes[0] != passes[1]
    assert passes[0] != sorted(passes[0])
    families = [[task.family for task, _ in ours.draw(MIXTURE, 20)] for _ in range(5)]
    assert any(step != sorted(step, key=list(MIXTURE).index) for step in families)


def test_the_seed_decides():
    assert draws(sampler(0), 10) == draws(sampler(0), 10) != draws(sampler(1), 10)


@given(st.integers(0, 12), st.integers(1, 6))
def test_a_restored_sampler_goes_on_where_it_was(before, after):
    whole, first, restored = sampler(3), sampler(3), sampler(3)
    expected = draws(whole, before + after)
    draws(first, before)
    restored.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert draws(restored, after) == expected[before:]


def test_a_state_is_not_changed_by_going_on():
    ours = sampler()
    state = ours.state_dict()
    draws(ours, 3)
    assert state == sampler().state_dict() != ours.state_dict()


def test_foreign_states_and_missing_families_are_refused():
    with pytest.raises(ValueError, match=r"state is of families \['single'\].*\['binary', 'open', 'single'\]"):
        sampler().load_state_dict({"position": {"single": 3}})
    with pytest.raises(ValueError, match="no train task of family 'diagnosis'"):
        sampler().draw({"single": 1, "diagnosis": 1}, 4)


def test_every_family_gets_an_order_of_its_own():
    ours = Sampler(TaskTable.of(tasks(a=30, b=30)), 0)
    orders = [[int(ours.draw({family: 1.0}, 1)[0][0].id[1:]) for _ in range(30)] for family in "ab"]
    assert orders[0] != orders[1] and np.array_equal(*map(sorted, orders))


def two_sources(**sizes):
    """A sampler of sources a and b, each with so many tasks: `a=40` of family binary, `a_open=3` of family open."""
    held = {}
    for key, size in sizes.items():
        source, _, family = key.partition("_")
        held.setdefault(source, []).extend(tasks(**{family or "binary": size}))
    parts = [Part(source, hold_tasks(of_source)) for source, of_source in held.items()]
    table = TaskTable(parts, np.arange(sum(sizes.values())))
    return lambda weights, power=1.0: Sampler(table, 0, Mixing(weights, power))


def shares(ours, mixture, sources=()):
    drawn = Counter(task.id.partition("/")[0] for _ in range(400) for task, _ in ours.draw(mixture, 8, sources))
    return {source: count / drawn.total() for source, count in drawn.items()}


@pytest.mark.parametrize(
    "weights, power, expected", [((1, 1), 1, 0.8), ((1, 1), 0, 0.5), ((3, 1), 0, 0.75), ((1, 1), 0.5, 2 / 3)]
)
def test_sources_share_by_weight_and_size(weights, power, expected):
    ours = two_sources(a=40, b=10)(dict(zip("ab", weights, strict=True)), power)
    assert shares(ours, {"binary": 1.0})["a"] == pytest.approx(expected, abs=0.01)


def test_a_stage_may_name_its_sources_and_a_source_without_its_families_gives_nothing():
    ours = two_sources(a=4, b=4, a_open=2)({"a": 1, "b": 1})
    assert shares(ours, {"binary": 1.0}, ["b"]) == {"b": 1.0}
    assert shares(ours, {"open": 1.0}) == {"a": 1.0}
    mixed = [task.family for _ in range(400) for task, _ in ours.draw({"binary": 0.5, "open": 0.5}, 8, ["a"])]
    assert mixed.count("open") / len(mixed) == pytest.approx(0.5, abs=0.01)
    with pytest.raises(ValueError, match="no train task of family 'open' in b"):
        ours.draw({"binary": 0.5, "open": 0.5}, 8, ["b"])


def test_every_task_of_a_source_comes_once_a_pass_and_a_restored_sampler_goes_on():
    make = two_sources(a=5, b=3)
    ours, weights = make({"a": 1, "b": 1}), {"a": 1, "b": 1}
    drawn = draws(ours, 10, {"binary": 1.0})
    restored = make(weights)
    half = make(weights)
    draws(half, 4, {"binary": 1.0})
    restored.load_state_dict(json.loads(json.dumps(half.state_dict())))
    assert draws(restored, 6, {"binary": 1.0}) == drawn[4:]
    flat = [task for step in drawn for task in step]
    assert len(set(flat)) == len(flat) and set(half.state_dict()["position"]) == {"a/binary", "b/binary"}


def test_what_is_looked_at_ahead_is_drawn_next():
    looking, other = sampler(), sampler()
    for _ in range(12):  # over the end of a pass
        ahead = [task.id for task in looking.peek(MIXTURE, 8)]
        (drawn,) = draws(looking, 1)
        assert ahead == [id for id, _ in drawn] and [drawn] == draws(other, 1)
