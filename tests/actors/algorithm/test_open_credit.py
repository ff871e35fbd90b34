"""Credit by step on open answers: what a list, a mark and one candidate more are worth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.algorithm.advantage import step_advantages, token_advantages
from tests.actors.algorithm.test_advantage import OPEN, normalised, of_characters, respond

FINDINGS = ("Edema", "Mass", "Nodule", "Hernia")


@st.composite
def answered(draw):
    """An open group: each response lists some findings, marks them and names those that it accepts."""
    gold = tuple(draw(st.lists(st.sampled_from(FINDINGS), max_size=3, unique=True)))
    drawn = draw(
        st.lists(st.dictionaries(st.sampled_from(FINDINGS), st.booleans(), min_size=1), min_size=2, max_size=5)
    )
    return OPEN.model_copy(update={"gold": gold}), drawn


def open_group(task, group):
    finals = [", ".join(name for name in said if said[name]) or "No finding" for said in group]
    return [respond(task, said, final) for said, final in zip(group, finals, strict=True)]


@given(answered())
def test_the_other_mark_on_an_open_candidate_would_change_the_outcome_in_the_direction_of_its_advantage(drawn):
    """The comparison of two responses that differ in one mark: the better one has the advantage, by the difference."""
    task, group = drawn
    said = group[0]
    name = next(iter(said))
    pair = open_group(task, [said, said | {name: not said[name]}])
    verdicts = [verdict for verdict, _ in pair]
    own, other = (advantages[1 + list(said).index(name)] for advantages in step_advantages([v.steps for v in verdicts]))
    difference = verdicts[0].outcome - verdicts[1].outcome
    assert own == pytest.approx(difference / 2**0.5, abs=1e-4) and other == pytest.approx(-own)


def test_a_missed_finding_costs_more_than_a_name_too_many():
    """Gold Edema. One response misses it; another accepts Mass as well. F1 0, 1, 2/3: what each mark was worth."""
    group = [{"Edema": False, "Mass": False}, {"Edema": True, "Mass": False}, {"Edema": True, "Mass": True}]
    steps = [verdict.steps for verdict, _ in open_group(OPEN, group)]
    missed, right, many = (advantages[1:3] for advantages in step_advantages(steps))
    of_edema, of_mass = ([normalised(value, pool) for value in pool] for pool in ([0.0, 1, 1], [1.0, 1, 0]))
    assert missed == pytest.approx([1 * of_edema[0], 0 * of_mass[0]], abs=1e-5)  # Mass alone is worth as little as none
    assert right == pytest.approx([1 * of_edema[1], of_mass[1] / 3], abs=1e-5)
    assert many == pytest.approx([2 / 3 * of_edema[2], of_mass[2] / 3], abs=1e-5)
    assert missed[0] == pytest.approx(3 * many[1], abs=1e-5) and many[1] < 0


def test_a_list_that_leaves_out_what_others_found_has_a_lower_advantage():
    """Edema is in the gold. A list gets what its response came to, by the outcome alone."""
    group = open_group(OPEN, [{"Mass": False}, {"Edema": True, "Mass": False}, {"Edema": False, "Mass": False}])
    verdicts = [verdict for verdict, _ in group]
    left_out, found, missed = token_advantages(verdicts, list(map(of_characters, group)), "step", 1.0)
    outcomes = [normalised(verdict.base, [v.base for v in verdicts]) for verdict in verdicts]
    assert [left_out[0], found[0], missed[0]] == pytest.approx(outcomes, abs=1e-5)
    assert left_out[0] < 0 < found[0]


@given(answered())
def test_what_no_other_response_lists_earns_nothing(drawn):
    """Neither a right mark on it nor its place in the list: more candidates are not worth more by themselves."""
    task, group = drawn
    longer = [group[0] | {"Pneumothorax": False}, *group[1:]]
    assert "Pneumothorax" not in task.gold
    steps = [verdict.steps for verdict, _ in open_group(task, group)]
    longer_steps = [verdict.steps for verdict, _ in open_group(task, longer)]
    own = step_advantages(longer_steps)[0]
    assert own[-2] <= 0
    assert own[0] == pytest.approx(step_advantages(steps)[0][0], abs=1e-9)
