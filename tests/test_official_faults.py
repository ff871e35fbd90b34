"""What is wrong with the published rewards (docs/rewards.md): for each fault, what `paper` pays and what `strict` pays."""

import pytest

from curriculum.importers.nih import FINDINGS
from curriculum.task import Task
from rewards.config import RewardConfig
from rewards.gate import BatchGate
from rewards.score import score

PAPER, STRICT = RewardConfig(preset="paper"), RewardConfig()


def pairs(*steps):
    """("think", "answer") pairs, or answers alone with a think of no content."""
    said = [("It is so.", step) if isinstance(step, str) else step for step in steps]
    return "".join(f"<think>{think}</think><answer>{answer}</answer>" for think, answer in said)


CLOSED_REFERENCE = (("No mass.", "A ❌"), ("There is pulmonary edema.", "B ✅"), ("No nodule.", "C ❌"), ("No hernia.", "D ❌"),
                    ("Only edema.", "B"))
OPEN_REFERENCE = (("Candidates.", "Edema, Effusion, Mass"), ("There is pulmonary edema.", "Edema ✅"),
                  ("There is a small effusion.", "Effusion ✅"), ("No mass.", "Mass ❌"), ("In sum.", "Edema, Effusion"))
CLOSED = Task(id="c", domain="closed", family="f", question="Which?", images=("x.png",), gold=("B",),
              options={"A": "Mass", "B": "Edema", "C": "Nodule", "D": "Hernia"}, reference=pairs(*CLOSED_REFERENCE))
OPEN = Task(id="o", domain="open", family="f", question="?", images=("x.png",), gold=("Edema", "Effusion"),
            reference=pairs(*OPEN_REFERENCE))
YES_NO = Task(id="y", domain="closed", family="f", question="Is there edema?", images=("x.png",), gold=("A",),
              options={"A": "Yes", "B": "No"})
NAMED = CLOSED.model_copy(update={"options": {"A": "Edema", "B": "Cardiomegaly", "C": "Mass", "D": "Nodule"}, "reference": None})


def both(task, response):
    return score(task, response, PAPER), score(task, response, STRICT)


def gold(task, *letters):
    return task.model_copy(update={"gold": letters, "reference": None})


# -- parsing ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task, answer", [
    (NAMED, "Cardiomegaly"), (gold(CLOSED, "D"), "Choice: D"), (YES_NO, "Yes"), (gold(YES_NO, "B"), "No"),
    (gold(CLOSED, "C"), "Answer: C"), (gold(CLOSED, "C"), r"\boxed{C}"), (gold(CLOSED, "C"), "Ｃ"), (gold(CLOSED, "C"), "Ⓒ"),
    (gold(CLOSED, "D"), "The answer is D."), (CLOSED, "pulmonary oedema"), (YES_NO, "Yes, there is pulmonary edema."),
])
def test_a_right_answer_in_another_form_is_taken_for_wrong(task, answer):
    paper, strict = both(task, pairs(answer))
    assert (paper.outcome, strict.outcome) == (0, 1)


@pytest.mark.parametrize("task, answer", [
    (gold(CLOSED, "A"), "A) and C)"), (gold(CLOSED, "C"), "Cannot tell"), (gold(CLOSED, "A"), "Any of them"),
    (gold(CLOSED, "B"), "B or C"), (gold(CLOSED, "B"), "Both"), (gold(CLOSED, "B"), "B) Mass"), (gold(CLOSED, "B"), "B ❌"),
    (gold(YES_NO, "A"), "A) No"),
])
def test_an_answer_that_names_no_option_or_several_is_taken_for_right(task, answer):
    paper, strict = both(task, pairs(answer))
    assert (paper.outcome, strict.outcome) == (1, 0)


# -- format -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("response", [
    pairs("A ❌") + " So I think. " + pairs("B"), f"<think>{pairs('A ❌')}</think>{pairs('B')}",
    "<think>a</think><think>b</think><think>c</think><answer>B</answer>", "<think>a<think>b</think><answer>B</answer>",
    pairs("A ❌") + "<answer>B</answer>" + pairs("B"),
])
def test_text_between_pairs_and_nested_tags_pass_as_format(response):
    paper, strict = both(CLOSED, response)
    assert (paper.format, strict.format, strict.total) == (1, 0, 0)


@pytest.mark.parametrize("response", ["\n" + pairs("B"), "  " + pairs("B"), pairs("B").replace("think", "THINK"),
                                      pairs("B").upper()])
def test_white_space_before_and_upper_case_tags_fail_as_format(response):
    paper, strict = both(CLOSED, response)
    assert (paper.format, strict.format, strict.outcome) == (0, 1, 1)


# -- process ------------------------------------------------------------------------------------------------------------


def test_both_marks_at_once_always_pass():
    for task in (CLOSED, gold(CLOSED, "A")):
        paper, strict = both(task, pairs("A ✅❌", "B ✅❌", "C ✅❌", "D ✅❌", "B ✅❌"))
        assert paper.process == 0.5 and strict.process == 0 and strict.total <= 0.1


def test_forty_times_one_rejection_is_paid_and_nothing_is_answered():
    paper, strict = both(CLOSED, pairs(*["A ❌"] * 40))
    assert paper.total == pytest.approx(0.6) and strict.total == pytest.approx(0.1)


def test_one_judged_option_is_paid_as_four_are():
    paper, strict = both(CLOSED, pairs("A ❌", "B ✅"))
    assert paper.process == 0.5 and strict.process < 0.5 and strict.total < score(CLOSED, CLOSED.reference, STRICT).total


def test_doubles_are_paid():
    doubled = pairs(*CLOSED_REFERENCE[:-1], *CLOSED_REFERENCE[:-1], ("Sum.", "B ✅"))
    paper, strict = both(CLOSED, doubled)
    assert paper.process == 0.5 and {s.judgement for s in strict.steps[4:8]} == {"fault"}
    assert strict.total <= score(CLOSED, CLOSED.reference, STRICT).total


def test_empty_thinks_are_paid():
    paper, strict = both(CLOSED, pairs(*[("", answer) for _, answer in CLOSED_REFERENCE[:-1]], ("", "B ✅")))
    assert paper.process == 0.5 and strict.total == 0


def test_a_step_against_the_final_answer_is_paid():
    paper, strict = both(CLOSED, pairs("A ❌", "C ❌", "D ❌", "B ✅", "A ❌"))  # never answers, every step is right
    assert paper.process == 0.5 and strict.total == pytest.approx(0.1)
    paper, strict = both(OPEN, pairs("Edema, Effusion, Mass", "Edema ✅", "Effusion ✅", "Mass ❌", "Mass"))
    assert paper.process == 0.2 and strict.process == 0
    assert all("contradicts the final answer" in step.why for step in strict.steps[1:4])


def test_a_gold_finding_is_rejected_by_another_name_for_free():
    paper, strict = both(OPEN, pairs("Edema, Effusion, Mass", "Edemas ❌", "Pleural effusions ❌", "Mass ❌", "Edema, Effusion"))
    assert paper.process == 0.2 and strict.process == 0
    assert [step.judgement for step in strict.steps[1:3]] == ["fault", "fault"]


def test_process_is_paid_without_format_and_without_a_right_answer():
    right_steps = pairs("A ❌", "B ✅", "C ❌", "D ❌")
    paper, strict = both(CLOSED, "Well. " + right_steps)
    assert paper.total == pytest.approx(0.5) and strict.total == 0
    paper, strict = both(OPEN, pairs("Edema, Mass", "Edema ✅", "Mass ❌", "Hernia"))
    assert paper.total > 0.3 and strict.total == pytest.approx(0.1)


# -- open answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [
    "Edema and Effusion", "Edema & Effusion", "Edema / Effusion", "- Edema\n- Effusion", "1. Edema\n2. Effusion",
    "[Edema, Effusion]", "Final diagnoses: Edema, Effusion", "Edema ✅, Effusion ✅", '["Edema", "Effusion"]',
    "pulmonary oedema, pleural effusions", "Edema; effusion.", "Edema, small right pleural effusion", "Effusion, Edema, no mass",
    "Edema, Effusion, cannot exclude pneumonia",
])
def test_a_right_list_in_another_form_is_taken_for_wrong(answer):
    paper, strict = both(OPEN, pairs(answer))
    assert paper.outcome < 1 and strict.outcome == 1


def test_naming_every_label_beats_an_honest_miss():
    everything, miss = pairs(", ".join(FINDINGS)), pairs("Pneumonia")
    paper, strict = both(OPEN, everything), both(OPEN, miss)
    assert paper[0].total > strict[0].total  # by the paper's numbers: shouting over missing
    assert paper[1].total <= strict[1].total


# -- reason -------------------------------------------------------------------------------------------------------------


LONG = (("The cardiac silhouette is normal in size. There is diffuse pulmonary edema in both lungs. No pleural effusion is seen, "
         "and there is no pneumothorax."))
NEGATED = (("The cardiac silhouette is not normal in size. There is no diffuse pulmonary edema in both lungs. A pleural effusion is "
            "seen, and there is a pneumothorax."))
PARAPHRASE = "Oedema of both lungs. Heart size within normal limits; pleural spaces free of fluid or air: no effusion, no pneumothorax."


def reason(think):
    task = CLOSED.model_copy(update={"reference": pairs(("No mass.", "A ❌"), (LONG, "B ✅"), ("No nodule.", "C ❌"),
                                                        ("No hernia.", "D ❌"), "B")})
    response = pairs(("No mass.", "A ❌"), (think, "B ✅"), ("No nodule.", "C ❌"), ("No hernia.", "D ❌"), "B")
    paper, strict = both(task, response)
    return paper.reason, strict.steps[1].grounding


def test_a_negated_copy_is_paid_nearly_in_full():
    paper, strict = reason(NEGATED)
    assert paper > 0.6 and strict < 0.1


def test_a_right_paraphrase_is_paid_next_to_nothing():
    paper, strict = reason(PARAPHRASE)
    assert paper < 0.4 and strict > 0.8


def test_boilerplate_is_paid():
    paper, strict = reason("The is in and of a no with. There is size in both. No seen, and there is no.")
    assert paper > 0.3 and strict == 0


def test_shuffled_words_are_paid():
    words = LONG.replace(".", "").replace(",", "").split()
    paper, strict = reason(" ".join(words[1::2] + words[::2]))
    assert paper > 0.35 and strict < 0.6 and strict < reason(LONG)[1] == 1


def test_the_reference_of_an_open_task_is_not_paid_best():
    """The published lookup takes the think of the first pair whose list holds the name, which is the opening list's."""
    pasted = pairs("Edema, Effusion, Mass", *[(OPEN_REFERENCE[0][0], f"{name} ✅") for name in OPEN.gold], "Hernia")
    (own, ours), (hacked, theirs) = both(OPEN, OPEN.reference), both(OPEN, pasted)
    assert hacked.reason > own.reason and theirs.reason < ours.reason == 1
    assert ours.total == pytest.approx(1.5) and theirs.total == pytest.approx(0.1)


def test_a_trace_with_a_wrong_final_beats_a_right_one():
    pasted = pairs("Edema, Effusion, Mass", *[(OPEN_REFERENCE[0][0], f"{name} ✅") for name in OPEN.gold], ("s", "Edema"))
    (own, ours), (hacked, theirs) = both(OPEN, OPEN.reference), both(OPEN, pasted)
    assert hacked.total > own.total and theirs.total < ours.total


# -- the system around them -----------------------------------------------------------------------------------------------


def test_closed_and_open_share_a_batch_and_one_gate():
    groups = [(score(task, task.reference, PAPER),) for task in (CLOSED, OPEN)]
    (closed, opened), is_open = BatchGate().apply(groups)
    assert is_open and closed[0].total > closed[0].base and opened[0].total > opened[0].base


def test_the_gate_stays_shut_over_a_resume():
    good, bad = [(score(CLOSED, CLOSED.reference, PAPER),)], [(score(CLOSED, pairs("A ❌", "A"), PAPER),)]
    gate = BatchGate()
    assert gate.apply(good)[1] and not gate.apply(bad)[1]
    resumed, fresh = BatchGate(), BatchGate()
    resumed.load_state_dict(gate.state_dict())
    assert not resumed.apply(bad)[1]
    assert fresh.apply(bad)[1]  # what the published code does: its mean is not in the checkpoint


def test_a_shut_gate_takes_process_and_reason_alone():
    gate = BatchGate()
    gate.apply([(score(CLOSED, CLOSED.reference, PAPER),)])
    half = [(score(CLOSED, CLOSED.reference, PAPER), score(CLOSED, pairs("A"), PAPER))]
    (shut,), is_open = gate.apply(half)
    assert not is_open and [v.total for v in shut] == [v.base for v in shut] == [1.0, 0.1]
    assert not any(step.score for step in shut[0].steps) and "gate" in shut[0].why[-1]


def test_an_evaluation_never_sees_the_gate():
    """`score` has no state: whatever a gate has seen, the same response has the same verdict."""
    before = score(CLOSED, CLOSED.reference, PAPER)
    gate = BatchGate()
    gate.apply([(before,)])
    gate.apply([(score(CLOSED, pairs("A"), PAPER),)])
    assert score(CLOSED, CLOSED.reference, PAPER) == before
