"""What is wrong with the published rewards, fault by fault: what `paper` pays for, and what `strict` makes of it."""

import json

import pytest

from cluster.standalone.reward_file import score_lines
from rewards.score import score
from tests.support.rewards.official_examples import (
    CLOSED,
    OPEN,
    OPEN_REFERENCE,
    OPTIONS,
    PAPER,
    REFERENCE,
    RIGHT,
    RIGHT_ALONE,
    SAID,
    STRICT,
    WRONG,
    answers,
    both,
    closed,
)

# The reference


def test_the_reference_does_not_get_the_most():
    best = score(OPEN, OPEN_REFERENCE, STRICT)
    assert best.total == pytest.approx(1.5)
    pasted = OPEN_REFERENCE
    for name in ("Edema", "Pleural Effusion"):
        pasted = pasted.replace(SAID[name], "These may be there.")
    paper, strict = both(OPEN, pasted)
    assert paper.total > score(OPEN, OPEN_REFERENCE, PAPER).total and strict.total < best.total


# Parsing


@pytest.mark.parametrize(
    "answer, taken_for, is_meant",
    [
        ("Cardiomegaly", "C", "A"),
        ("Edema", "E", "B"),
        ("Choice: D", "C", "D"),
        ("Choice: B", "C", "B"),
        ("Effusion", "E", "D"),
        ("Answer: C", "A", "C"),
        ("answer is D", "A", "D"),
        (r"\boxed{C}", "B", "C"),
        (r"$\boxed{\text{D}}$", "B", "D"),
        ("The correct option is B.", "E", "B"),
        ("Final answer: (D)", "F", "D"),
        ("enlarged heart", "E", "A"),
        ("Label: B", "A", "B"),
        ("I see a mass", "E", "C"),
        ("Because of the haze", "B", None),
        ("Unclear", "C", None),
        ("**Answer:** B", "A", "B"),
    ],
)
def test_the_first_letter_anywhere_is_the_option(answer, taken_for, is_meant):
    options = OPTIONS | {"E": "Nodule", "F": "Hernia"}
    paper, strict = both(closed([taken_for], options), answers(answer))
    assert paper.outcome == 1 and strict.outcome == 0 and strict.answer == (is_meant and (is_meant,))
    if is_meant:
        paper, strict = both(closed([is_meant], options), answers(answer))
        assert paper.outcome == 0 and strict.outcome == 1


@pytest.mark.parametrize(
    "gold, answer",
    [
        ("B", "B or C"),
        ("B", "B) Mass"),
        ("B", f"B {WRONG}"),
        ("B", "Both"),
        ("A", "Any of them"),
        ("C", "Cannot tell"),
        ("B", "not B"),
        ("B", "B, not C"),
        ("A", "A? No"),
    ],
)
def test_an_answer_that_names_no_option_or_contradicts_itself_is_right(gold, answer):
    paper, strict = both(closed([gold]), answers(answer))
    assert paper.outcome == 1 and strict.outcome == 0


@pytest.mark.parametrize("answer", ["Ｄ", "Ⓓ", "（Ｄ）", "ⓓ", "🅓", "Ｄ．", "𝐃", "🄳"])
def test_full_width_and_circled_letters_are_wrong(answer):
    paper, strict = both(closed(["D"]), answers(answer))
    assert paper.outcome == 0 and strict.outcome == 1 and strict.total == RIGHT_ALONE


@pytest.mark.parametrize(
    "answer", ["A) and C)", "A, C", "A and C", "A/C", "A & C", "A) Cardiomegaly, C) Mass", "(A) + (C)", "A\nC"]
)
def test_two_options_count_as_the_first(answer):
    paper, strict = both(closed(["A"]), answers(answer))
    assert paper.outcome == 1 and strict.outcome == 0
    assert score(closed(["A", "C"]), answers(answer), STRICT).outcome == 1


def rows(tmp_path, config, *values):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in values))
    return [json.loads(line) for line in score_lines(path, config)]


def test_gold_yes_is_e_and_gold_no_is_never_right(tmp_path):
    yes, no = (
        {"domain": "closed", "question": "Is there edema?", "gold": [gold], "response": answers(gold)}
        for gold in ("Yes", "No")
    )
    wrong = [
        yes | {"response": answers("No, there is none")},
        no | {"response": answers("Yes")},
        yes | {"response": answers("E")},
    ]
    assert [row["outcome"] for row in rows(tmp_path, PAPER, yes, no, *wrong)] == [1, 0, 1, 0, 1]  # "there"
    assert [row["outcome"] for row in rows(tmp_path, STRICT, yes, no, *wrong)] == [1, 1, 0, 0, 0]


# Format


@pytest.mark.parametrize(
    "response",
    [
        REFERENCE.replace("</answer><think>", "</answer> and now <think>"),
        REFERENCE.replace("</answer><think>", "</answer>\n.\n<think>", 1),
        REFERENCE.replace("<think>No mass", "<think>a<think>No mass"),
        REFERENCE.replace("lung.</think>", "lung.</think></think>"),
        "<think>a</think><think>b</think><think>c</think><answer>B</answer>",
        "<think>a<answer>A</answer></think><answer>B</answer>",
        "<think>a</think><answer>A</answer><answer>B</answer>",
        "<think></think><answer>B</answer>",
        "<think>a</think><answer></answer><think>b</think><answer>B</answer>",
    ],
)
def test_text_between_pairs_nested_and_spare_tags_pass(response):
    paper, strict = both(CLOSED, response)
    assert paper.format == 1 and strict.format == 0 and strict.total == 0 and strict.faults


@pytest.mark.parametrize(
    "response",
    [
        "\n" + REFERENCE,
        "  " + REFERENCE,
        "\r\n\t" + REFERENCE,
        REFERENCE.replace("think>", "THINK>"),
        REFERENCE.replace("answer>", "Answer>"),
        REFERENCE.replace("<think>", "<Think>", 1),
    ],
)
def test_a_leading_newline_and_upper_case_tags_fail(response):
    paper, strict = both(CLOSED, response)
    assert paper.format == 0 and strict.format == 1 and strict.total == score(CLOSED, REFERENCE, STRICT).total


# Process


@pytest.mark.parametrize("mark", [RIGHT + WRONG, f"{WRONG} {RIGHT}", f"{WRONG}{RIGHT}{WRONG}"])
def test_both_marks_always_pass(mark):
    response = answers(*(f"{letter} {mark}" for letter in OPTIONS), "B " + mark)
    paper, strict = both(CLOSED, response)
    assert paper.process > 0 and strict.process == 0 and strict.answer is None and strict.total == pytest.approx(0.1)
    assert all("marks" in step.why for step in strict.steps[:-1])
    paper, strict = both(OPEN, answers("Edema, Mass", f"Edema {mark}", f"Mass {mark}", "Edema, Pleural Effusion"))
    assert paper.process > 0 and strict.process == 0 and strict.total == RIGHT_ALONE


@pytest.mark.parametrize(
    "steps, final",
    [
        ([f"A {WRONG}"] * 40, []),
        ([f"A {WRONG}", f"C {WRONG}", f"D {WRONG}"] * 10, []),
        ([f"{letter} {WRONG}" for letter in "ACD"], [f"F {WRONG}"]),
    ],
)
def test_shouting_wrong_without_an_answer_earns_the_process(steps, final):
    paper, strict = both(CLOSED, answers(*steps, *final))
    assert paper.total == pytest.approx(0.6) and strict.total == pytest.approx(0.1) and strict.process == 0
    assert not any(step.score for step in strict.steps)


@pytest.mark.parametrize(
    "steps, process",
    [
        ([f"B {RIGHT}"], 0),
        ([], 0),
        ([f"A {WRONG}"], 1 / 3),
        ([f"A {WRONG}", f"C {WRONG}"], 2 / 3),
        ([f"A {WRONG}", f"B {RIGHT}"], 1 / 3),
        ([f"A {WRONG}", f"B {RIGHT}", f"D {WRONG}"], 2 / 3),
    ],
)
def test_coverage_does_not_count(steps, process):
    """The summary with its mark judges B too."""
    paper, strict = both(CLOSED, answers(*steps, f"B {RIGHT}"))
    assert paper.process == 0.5 and strict.outcome == 1 and strict.process == pytest.approx(process)
    assert strict.total < score(CLOSED, REFERENCE, STRICT).total
    if "B " + RIGHT not in steps:
        assert score(CLOSED, answers(*steps, "B"), STRICT).process == 0


def test_coverage_of_announced_candidates_does_not_count():
    paper, strict = both(OPEN, answers("Edema, Pleural Effusion, Mass", f"Mass {WRONG}", "Edema, Pleural Effusion"))
    assert paper.process == 0.2 and strict.process == 0 and strict.total == RIGHT_ALONE


@pytest.mark.parametrize(
    "task, response, place", [(CLOSED, REFERENCE, 2), (CLOSED, REFERENCE, 3), (OPEN, OPEN_REFERENCE, 2)]
)
def test_doubles_are_not_noticed(task, response, place):
    pairs = response.split("<think>")
    doubled = "<think>".join([*pairs[: place + 1], *[pairs[place]] * 3, *pairs[place + 1 :]])
    paper, strict = both(task, doubled)
    assert paper.process == score(task, response, PAPER).process > 0 and paper.format == 1
    assert strict.total <= score(task, response, STRICT).total
    assert [step.judgement for step in strict.steps[place : place + 3]] == ["fault"] * 3


@pytest.mark.parametrize("nothing", ["", " ", "\n"])
def test_empty_thinks_pass(nothing):
    paper, strict = both(
        CLOSED, answers(*(f"{o} {RIGHT if o == 'B' else WRONG}" for o in OPTIONS), f"B {RIGHT}", think=nothing)
    )
    assert paper.total >= 1.5 and strict.total == 0 and "empty think" in str(strict.faults[0])


@pytest.mark.parametrize("final, steps", [(f"C {WRONG}", "B"), ("A", "B"), (f"D {WRONG}", "B")])
def test_steps_that_contradict_the_final_answer_are_paid(final, steps):
    response = answers(*(f"{o} {RIGHT if o in steps else WRONG}" for o in OPTIONS), final)
    paper, strict = both(CLOSED, response)
    assert paper.process == (0.5 if WRONG in final else 0) and strict.total == pytest.approx(0.1)
    opened = both(
        OPEN,
        answers(
            "Edema, Pleural Effusion, Mass", f"Edema {RIGHT}", f"Pleural Effusion {RIGHT}", f"Mass {WRONG}", "Mass"
        ),
    )
    assert opened[0].process == 0.2 and opened[1].total == pytest.approx(0.1) and opened[1].process == 0
    assert sum("contradicts the final answer" in step.why for step in opened[1].steps) == 3


@pytest.mark.parametrize(
    "name",
    [
        "Edemas",
        "Pulmonary oedema",
        "pulmonary edema",
        "Effusion",
        "Pleural effusions",
        "pleural fluid",
        "Small left pleural effusion",
    ],
)
def test_synonyms_reject_the_gold_for_free(name):
    response = answers(f"{name}, Mass", f"{name} {WRONG}", f"Mass {WRONG}", "Mass")
    paper, strict = both(OPEN, response)
    assert (
        paper.process == 0.2 and strict.process == strict.steps[1].score == 0 and strict.steps[1].judgement == "wrong"
    )
    right = both(OPEN, answers(f"{name}, Mass", f"{name} {RIGHT}", f"Mass {WRONG}", "Edema, Pleural Effusion"))
    assert right[0].process == 0 and right[1].steps[1].judgement == "right" and right[1].process == pytest.approx(1 / 2)


def test_process_is_granted_without_format_or_correctness():
    wrong = answers("Edema, Pleural Effusion", f"Edema {RIGHT}", "Mass")
    for response in (
        wrong,
        "So. " + wrong,
        REFERENCE.replace("B) ✅</answer>", "B ✅</answer>").replace("<answer>A", ": <answer>A"),
    ):
        task = CLOSED if "A)" in response else OPEN
        paper, strict = both(task, response)
        assert paper.process > 0 or paper.format == 0
        assert strict.total == pytest.approx(0.1 * strict.format)
