import itertools

import pytest

from curriculum.questions import RIGHT, WRONG
from rewards.config import RewardConfig
from rewards.score import score
from tests.support.rewards.responses import OPEN, SINGLE, pairs, written

CONFIG = RewardConfig()
MARKS_ALONE = RewardConfig(reason=0)  # for responses whose think blocks state no facts


@pytest.mark.parametrize(
    "bad, mark, why",
    [
        ("A ✅", "fault", "contradicts the final answer"),
        ("A", "fault", "no marks"),
        ("A ✅❌", "fault", "2 marks"),
        ("A ❌❌", "fault", "2 marks"),
        ("E ❌", "fault", "not one of the candidates"),
        ("❌", "fault", "not one of the candidates"),
        ("A, C ❌", "fault", "not one of the candidates"),
        ("B ✅", "fault", "judged before"),
        ("A ❌", "right", "not in the gold"),
    ],
)
def test_a_step_is_paid_for_one_mark_on_one_new_option_in_agreement_with_the_answer(bad, mark, why):
    verdict = score(SINGLE, pairs("B ✅", bad, "B"), MARKS_ALONE)
    step = verdict.steps[1]
    assert step.judgement == mark and why in step.why
    assert step.score == ((2 / 4) if mark == "right" else 0)  # the two right steps cover half of the four options
    assert verdict.process == pytest.approx(1 / 3 if mark == "right" else 0)


@pytest.mark.parametrize(
    "task, head, sure, doubtful",
    [
        (OPEN, ["Edema, Mass, Nodule"], f"Mass {WRONG}", [f"Edema {WRONG}", f"Nodule {WRONG}"]),
        (SINGLE, [], f"A {WRONG}", [f"B {WRONG}", f"C {WRONG}", f"D {RIGHT}"]),
    ],
)
def test_to_pass_over_the_doubtful_ones_does_not_pay(task, head, sure, doubtful):
    final = "No finding" if task.domain == "open" else "D"
    dared, shy = (score(task, pairs(*head, sure, *more, final), MARKS_ALONE) for more in (doubtful, ()))
    assert dared.steps[len(head)].score == 1 and shy.steps[len(head)].score == pytest.approx(1 / (1 + len(doubtful)))


def test_a_step_without_a_thought_is_not_paid_and_breaks_the_format():
    response = pairs("B ✅") + pairs("A ❌", think=" ") + pairs("B")
    verdict = score(SINGLE, response, CONFIG)
    assert (
        verdict.steps[1].judgement == "fault" and "nothing was thought" in verdict.steps[1].why and verdict.format == 0
    )


def test_the_order_of_the_steps_does_not_matter():
    steps = [("No mass.", "A ❌"), ("Edema.", "B ✅"), ("No hernia. A nodule.", "C ❌"), ("A nodule.", "D ✅")]
    verdicts = [score(SINGLE, written(*order, ("So.", "B")), CONFIG) for order in itertools.permutations(steps)]
    assert verdicts[0].process == pytest.approx(2 / 3) and len({verdict.process for verdict in verdicts}) == 1
    assert len({verdict.reason for verdict in verdicts}) == 1 and 0 < verdicts[0].reason < verdicts[0].process
    assert len({frozenset((s.candidate, s.judgement, s.score) for s in verdict.steps) for verdict in verdicts}) == 1


def test_a_step_that_repeats_the_summary_gets_no_grounding():
    own_thought = score(SINGLE, written(("Edema.", "B ✅"), ("Edema!", "B ✅")), CONFIG)
    repeated = score(SINGLE, written(("Edema.", "B ✅"), ("Edema.", "B ✅")), CONFIG)
    assert (own_thought.steps[0].grounding, repeated.steps[0].grounding) == (1, 0)


def test_the_words_of_the_reference_in_another_order_count_by_what_is_still_in_order():
    reference = written(("No mass or hernia.", "A ❌"), ("Edema.", "B ✅"), ("So.", "B"))
    task = SINGLE.model_copy(update={"reference": reference})
    shuffled = written(("No hernia or mass.", "A ❌"), ("Edema.", "B ✅"), ("So.", "B"))
    assert score(task, reference, CONFIG).steps[0].grounding == 1
    assert score(task, shuffled, CONFIG).steps[0].grounding == 2 / 4  # "no … or" or "no … mass"


def test_a_right_mark_that_the_final_answer_leaves_out_has_a_score_and_earns_no_process():
    """Gold Edema and Pleural Thickening, both accepted, one named: the final answer is to blame, not the mark."""
    listed = ("Edema, Pleural Thickening, Mass", "Edema ✅", "Pleural Thickening ✅")
    verdict = score(OPEN, pairs(*listed, "Mass ❌", "Edema"), MARKS_ALONE)
    kept, left_out, rejected = verdict.steps[1:4]
    assert (left_out.judgement, left_out.why) == ("fault", "Pleural Thickening ✅ contradicts the final answer")
    assert kept.score == left_out.score == rejected.score == pytest.approx(2 / 3)  # of three, two without a fault
    assert left_out.stake == pytest.approx(1 / 3) and verdict.process == pytest.approx(1 / 2)  # half of the gold found
    missed = score(OPEN, pairs(listed[0], "Edema ✅", "Pleural Thickening ❌", "Mass ❌", "Edema"), MARKS_ALONE)
    assert missed.steps[2].score == 0


@pytest.mark.parametrize(
    "answers", [("Edema, Mass", "Edema ✅", "Mass ✅", "Edema"), ("Edema, Mass", "Edema ❌", "Mass ❌", "Edema")]
)
def test_other_contradictions_with_the_final_answer_have_no_score(answers):
    verdict = score(OPEN, pairs(*answers), CONFIG)
    faults = [step for step in verdict.steps if step.judgement == "fault"]
    assert [step.score for step in faults] == [0] and "contradicts" in faults[0].why
