import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum.sampling.evidence import FORGOTTEN, HALF_LIFE, NOTHING, Evidence, spread_of

outcomes = st.lists(st.floats(0, 1), min_size=1, max_size=6)


@given(st.lists(st.tuples(outcomes, st.integers(0, 60)), max_size=6))
def test_sums_are_those_of_all_groups_each_halved_by_its_age(groups):
    evidence, version, known = NOTHING, 0, []
    for outcomes, later in groups:
        version += later
        evidence = evidence.with_group(outcomes, version)
        known.append((outcomes, version))
    factors = [0.5 ** ((version - at) / HALF_LIFE) for _, at in known]
    expected = {
        "groups": sum(factors),
        "responses": sum(f * len(o) for f, (o, _) in zip(factors, known, strict=True)),
        "passed": sum(f * sum(o) for f, (o, _) in zip(factors, known, strict=True)),
        "graded": sum(f * sum(0 < x < 1 for x in o) for f, (o, _) in zip(factors, known, strict=True)),
        "spread": sum(f * 2 * float(np.std(o)) for f, (o, _) in zip(factors, known, strict=True)),
    }
    for name, value in expected.items():
        assert getattr(evidence, name) == pytest.approx(value, rel=1e-9, abs=1e-12)


def test_what_is_too_old_does_not_count():
    old = NOTHING.with_group([1, 0], 3)
    assert old.at(3) is old and old.at(3 + FORGOTTEN) == Evidence(3 + FORGOTTEN)
    assert old.at(3 + FORGOTTEN - 1).responses > 0


def test_only_new_tasks_tell_how_much_tasks_differ():
    assert NOTHING.with_group([1, 0, 0, 0], 0).variance == 0
    new = NOTHING.with_group([1, 0, 0, 0], 0, expected=0.4)
    assert (new.variance, new.room) == (pytest.approx(0.25), pytest.approx(0.24))  # 4/3 × 1/4 × 3/4; 0.4 × 0.6


def test_the_spread_of_a_group():
    assert (spread_of([1, 1, 1]), spread_of([0, 1]), spread_of([0.5])) == (0, 1, 0)
