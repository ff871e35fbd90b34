"""Expectations against integrals, and against what made-up tasks do."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum.sampling.evidence import FORGOTTEN
from curriculum.sampling.expectations import Expectations, Expected
from curriculum.sampling.likeness import Likeness


def likeness(task, finding="Edema", family="diagnosis"):
    return Likeness(task, "names", family, family, (finding,))


@given(st.floats(0.3, 30), st.floats(0.3, 30), st.integers(2, 9))
def test_the_signal_is_the_chance_that_a_group_is_not_flat(right, wrong, size):
    """Independent: the moments of the Beta distribution by Gamma functions."""

    def power(a, b):
        return math.exp(math.lgamma(a + size) - math.lgamma(a) + math.lgamma(a + b) - math.lgamma(a + b + size))

    plain = 1 - power(right, wrong) - power(wrong, right)
    assert Expected(right, wrong, 0.9, False).signal(size) == pytest.approx(plain, abs=1e-9)


def test_the_signal_of_graded_tasks_is_the_spread_of_their_groups():
    ours = Expectations()
    for n in range(20):
        ours.observe(likeness(f"same{n}", "same"), [0.5] * 4, n)
        ours.observe(likeness(f"apart{n}", "apart"), [0.1, 0.4, 0.6, 0.9], n)
    same, apart = (ours.of(likeness("new", finding)) for finding in ("same", "apart"))
    assert same.graded and apart.graded and same.pass_rate == pytest.approx(apart.pass_rate, abs=0.01)
    assert same.signal(4) < 0.1 < 0.5 < apart.signal(4)
    assert not ours.of(likeness("new", "apart", "binary")).graded  # a family of its own, though of the same form


def test_without_any_group_everything_is_open():
    expected = Expectations().of(likeness("a"))
    assert expected.pass_rate == 0.5 and not expected.graded and 0.4 < expected.signal(8) < 0.9


def test_a_task_that_was_never_drawn_is_like_its_finding_and_a_new_finding_like_its_family():
    ours = Expectations()
    for n in range(10):
        ours.observe(likeness(f"easy{n}", "easy"), [1] * 8, n)
        ours.observe(likeness(f"hard{n}", "hard"), [0] * 8, n)
        ours.observe(likeness(f"far{n}", "far", "grounding"), [0] * 8, n)
    assert ours.of(likeness("new", "easy")).pass_rate > 0.85 and ours.of(likeness("new", "hard")).pass_rate < 0.15
    assert ours.of(likeness("new", "other")).pass_rate == pytest.approx(0.5, abs=0.1)
    assert ours.of(likeness("new", "other", "grounding")).pass_rate < 0.2


def test_a_group_of_its_own_moves_a_task_more_than_one_of_its_finding():
    ours = Expectations()
    before = ours.of(likeness("a")).pass_rate
    ours.observe(likeness("b"), [1] * 8, 0)
    by_likes = ours.of(likeness("a")).pass_rate
    ours.observe(likeness("a"), [1] * 8, 0)
    assert before < by_likes < ours.of(likeness("a")).pass_rate
    assert ours.of(likeness("a")).signal(8) < ours.of(likeness("b2")).signal(8)


@pytest.mark.parametrize("alike", [True, False])
def test_how_much_a_task_leans_on_its_finding_is_learnt(alike):
    """Rates of 0.5 for all, or of 0 and 1: a new task of the second kind is more often flat, though both pass half."""
    rng, ours = np.random.default_rng(0), Expectations()
    for n in range(60):
        rate = 0.5 if alike else n % 2
        ours.observe(likeness(str(n)), (rng.random(8) < rate).astype(float).tolist(), n // 8)
    expected = ours.of(likeness("new"))
    assert expected.pass_rate == pytest.approx(0.5, abs=0.1)
    assert (expected.signal(8) > 0.9) if alike else (expected.signal(8) < 0.3)


def test_old_groups_fade_so_that_a_solved_task_comes_back():
    ours = Expectations()
    ours.observe(likeness("a"), [1] * 8, 0)
    solved = ours.of(likeness("a")).signal(8)
    ours.observe(likeness("b", "other", "other"), [1, 0], 200)
    assert ours.of(likeness("a")).signal(8) > 1.5 * solved


def test_a_restored_state_expects_the_same_bit_for_bit_and_forgets_what_is_too_old():
    rng, ours = np.random.default_rng(0), Expectations()
    ours.observe(likeness("old"), [1, 0], 0)
    for n in range(30):
        ours.observe(likeness(str(n % 9), str(n % 3)), rng.random(4).tolist(), FORGOTTEN + n)
    restored = Expectations()
    restored.load_state_dict(json.loads(json.dumps(ours.state_dict())))
    assert "old" in ours.of_tasks and "old" not in restored.of_tasks
    for both in (ours, restored):
        both.observe(likeness("old"), [1, 0, 0], FORGOTTEN + 30)
    for n in range(9):
        assert restored.of(likeness(str(n), str(n % 3))) == ours.of(likeness(str(n), str(n % 3)))
