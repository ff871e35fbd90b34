"""What is wrong with the published rewards, fault by fault: what `paper` pays for, and what `strict` makes of it."""

import json
import random

import pytest

from cluster.standalone.reward_file import score_lines
from curriculum.importers.nih import FINDINGS
from curriculum.task import NO_FINDING, Task
from rewards.batch_gate import BatchGate
from rewards.config import RewardConfig
from rewards.score import score

PAPER, STRICT = RewardConfig(preset="paper"), RewardConfig()
RIGHT, WRONG = "✅", "❌"
RIGHT_ALONE = 1.0  # of `strict`, in the format and without steps


def written(*pairs):
    return "".join(f"<think>{think}</think><answer>{answer}</answer>" for think, answer in pairs)


def answers(*texts, think="Look."):
    return written(*((think, text) for text in texts))


OPTIONS = {"A": "Cardiomegaly", "B": "Edema", "C": "Mass", "D": "Effusion"}
THINKS = {
    "A": "The heart is not enlarged.",
    "B": "There is interstitial edema in both lungs with thickened septal lines.",
    "C": "No mass or nodule in either lung.",
    "D": "No pleural effusion; the angles are sharp.",
}
REFERENCE = written(
    *((THINKS[letter], f"{letter}) {RIGHT if letter == 'B' else WRONG}") for letter in OPTIONS),
    ("Only B is supported.", f"B) {RIGHT}"),
)
CLOSED = Task(
    id="c",
    domain="closed",
    family="single_choice",
    question="Which?",
    images=("x.png",),
    options=OPTIONS,
    gold=("B",),
    reference=REFERENCE,
)
SAID = {
    "Edema": "There is interstitial edema in both lungs.",
    "Pleural Effusion": "A small pleural effusion on the left.",
    "Mass": "No mass in either lung.",
}
OPEN_REFERENCE = written(
    ("These may be there.", "Edema, Pleural Effusion, Mass"),
    *((think, f"{name} {WRONG if name == 'Mass' else RIGHT}") for name, think in SAID.items()),
    ("Two are there.", "Edema, Pleural Effusion"),
)
OPEN = Task(
    id="o",
    domain="open",
    family="diagnosis",
    question="What?",
    images=("x.png",),
    gold=("Edema", "Pleural Effusion"),
    reference=OPEN_REFERENCE,
)
HEALTHY = OPEN.model_copy(update={"gold": (), "reference": None})


def both(task, response):
    return score(task, response, PAPER), score(task, response, STRICT)


def closed(gold, options=OPTIONS, **changes):
    return CLOSED.model_copy(update={"gold": tuple(gold), "options": options, "reference": None} | changes)


def with_think(letter, think):
    return REFERENCE.replace(THINKS[letter], think)


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
        ("Label: B", "A", None),
        ("I see a mass", "E", None),
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


# Open answers


@pytest.mark.parametrize(
    "answer",
    [
        "Edema and Pleural Effusion",
        "Edema & Pleural Effusion",
        "Edema / Pleural Effusion",
        "- Edema\n- Pleural Effusion",
        "* Edema\n* Pleural Effusion",
        "• Edema • Pleural Effusion",
        "1. Edema\n2. Pleural Effusion",
        "1) Edema 2) Pleural Effusion",
        "[Edema, Pleural Effusion]",
        "(Edema, Pleural Effusion)",
        '["Edema", "Pleural Effusion"]',
        f"Edema {RIGHT}, Pleural Effusion {RIGHT}",
        f"Edema {RIGHT} Pleural Effusion {RIGHT}",
        "Final diagnoses: Edema, Pleural Effusion",
        "Findings:\nEdema\nPleural Effusion",
        "The diagnoses are Edema and Pleural Effusion.",
        "**Edema**, **Pleural Effusion**",
        "Edema + Pleural Effusion",
        "Edema | Pleural Effusion",
        "Edema, Pleural Effusion.",
        "Edema、Pleural Effusion",
        "Edema，Pleural Effusion",
        "Edema, and Pleural Effusion",
        f"Edema {RIGHT}, Pleural Effusion {RIGHT}, Mass {WRONG}",
        # by other names, with what is denied or left open
        "Edemas, Pleural Effusions",
        "Pulmonary oedema, pleural effusion",
        "Edema, effusion",
        "Edema, pleural fluid",
        "Lung edema, hydrothorax",
        "Edema, Pleural Effusion, no pneumothorax",
        "Edema, bilateral pleural effusions",
        "Edema, Pleural Effusion, possible pneumonia",
        "Edema; small left effusion; cannot exclude pneumonia",
        "Edema with pleural effusion, without mass",
    ],
)
def test_a_list_in_another_form_or_in_other_words_is_broken(answer):
    paper, strict = both(OPEN, answers(answer))
    assert paper.outcome < 1 and strict.outcome == 1 and strict.total == RIGHT_ALONE


@pytest.mark.parametrize(
    "answer",
    [
        "no edema, no pleural effusion",
        "Edema, no edema",
        "Edema, Pleural Effusion, No finding",
        "possible edema, possible pleural effusion",
        "Edema or Pleural Effusion",
        f"Edema {WRONG}, Mass {WRONG}",
        f"Edema {RIGHT}{WRONG}, Pleural Effusion {RIGHT}{WRONG}",
        "No finding",
        "edema has resolved",
    ],
)
def test_what_denies_doubts_or_contradicts_is_no_finding(answer):
    assert score(OPEN, answers(answer), STRICT).outcome == 0


@pytest.mark.parametrize(
    "answer",
    [
        "No finding",
        "Normal",
        "None",
        "No acute cardiopulmonary abnormality",
        "Normal chest X-ray",
        "Unremarkable.",
        "Final diagnosis: none",
        "No edema, no effusion",
        "no evidence of disease",
        f"Edema {WRONG}, Mass {WRONG}",
    ],
)
def test_a_healthy_film_has_many_names(answer):
    paper, strict = both(HEALTHY, answers(answer))
    assert paper.outcome == 0 and strict.outcome == 1


@pytest.mark.parametrize("count", [7, 10, 14])
@pytest.mark.parametrize("gold", [("Edema",), ("Edema", "Effusion"), ("Hernia", "Fibrosis", "Mass")])
def test_naming_many_labels_beats_an_honest_miss(count, gold):
    task = OPEN.model_copy(update={"gold": gold, "reference": None})
    names = [*gold, *(name for name in FINDINGS if name not in gold)][:count]
    missed = next(name for name in FINDINGS if name not in names or (count == 14 and name not in gold))
    for miss in (missed, NO_FINDING):
        (everything_paper, everything), (miss_paper, honest) = (
            both(task, answers(", ".join(names))),
            both(task, answers(miss)),
        )
        assert everything_paper.total > miss_paper.total and everything.total <= honest.total


# Reason

NEGATED = {
    "B": "There is no interstitial edema in both lungs with thickened septal lines.",
    "Edema": "There is no interstitial edema in both lungs.",
    "Pleural Effusion": "No small pleural effusion on the left.",
}


def reason_of(think):
    """Of a response that is right but for the think block on B: the reason of `paper`, and B's grounding."""
    paper, strict = both(CLOSED, with_think("B", think))
    assert strict.total <= score(CLOSED, REFERENCE, STRICT).total
    return paper.reason, strict.steps[1].grounding, strict.reason


def test_a_negated_copy_is_paid():
    paper, grounding, reason = reason_of(NEGATED["B"])
    assert paper > 0.85 and grounding == 0 and reason == pytest.approx(3 / 4)
    everything = {
        "A": "The heart is enlarged.",
        "B": NEGATED["B"],
        "C": "Mass and nodule in either lung.",
        "D": "Pleural effusion; the angles are sharp.",
    }
    response = REFERENCE
    for letter, think in everything.items():
        response = response.replace(THINKS[letter], think)
    assert score(CLOSED, response, PAPER).reason > 0.85 and score(CLOSED, response, STRICT).reason == 0


LONG = (
    "The cardiac silhouette is normal in size. There is diffuse pulmonary edema in both lungs. No pleural effusion is "
    "seen, and there is no pneumothorax."
)


@pytest.mark.parametrize(
    "think, least, most",
    [
        (LONG, 1, 1),
        ("Oedema of both lungs. Heart size within normal limits; no effusion, no pneumothorax.", 0.8, 1),
        (
            "The cardiac silhouette is not normal in size. There is no diffuse pulmonary edema in both lungs. "
            "A pleural effusion is seen, and there is a pneumothorax.",
            0,
            0.1,
        ),
        ("There is diffuse pulmonary edema in both lungs.", 0.3, 0.7),
        ("The is in and of a no with. There is size in both.", 0, 0),
        (LONG + " There is a pneumothorax.", 0.3, 0.9),
        (" ".join(LONG.split()[1::2] + LONG.split()[::2]), 0, 0.6),
        ("It cannot be excluded that there is edema. Possible effusion.", 0, 0.2),
        (LONG + " There may be a hernia.", 1, 1),
    ],
)
def test_a_long_think_block_is_worth_its_facts(think, least, most):
    task = CLOSED.model_copy(update={"reference": with_think("B", LONG)})
    assert least <= score(task, with_think("B", think), STRICT).steps[1].grounding <= most


@pytest.mark.parametrize("seed", range(5))
def test_shuffled_words_are_paid(seed):
    words = THINKS["B"].removesuffix(".").split()
    random.Random(seed).shuffle(words)
    paper, grounding, _ = reason_of(" ".join(words) + ".")
    assert paper > 0.4 and grounding < 0.75


@pytest.mark.parametrize(
    "think",
    [
        "There is a finding in both lungs with lines.",
        "There is interstitial change in both lungs with thickened lines.",
        "The lungs are seen in this film and there is a finding with lines in both.",
    ],
)
def test_boilerplate_is_paid(think):
    paper, grounding, _ = reason_of(think)
    assert paper > 0.3 and grounding == 0


@pytest.mark.parametrize(
    "think",
    [
        "Pulmonary oedema.",
        "Oedematous lungs, bilaterally.",
        "Findings consistent with pulmonary oedema!",
        "Marked oedema",
    ],
)
def test_a_right_paraphrase_is_not_paid(think):
    paper, grounding, reason = reason_of(think)
    assert paper < 0.2 and grounding == 1 and reason == 1


def test_an_open_step_is_held_against_the_opening_list():
    own = score(OPEN, OPEN_REFERENCE, PAPER).reason
    summary = OPEN_REFERENCE
    for name in ("Edema", "Pleural Effusion"):
        summary = summary.replace(SAID[name], "These may be there.")
    assert own < 0.3 and score(OPEN, summary, PAPER).reason == pytest.approx(1)
    assert score(OPEN, OPEN_REFERENCE, STRICT).reason == 1 and score(OPEN, summary, STRICT).reason == pytest.approx(
        1 / 3
    )


def test_a_trace_with_a_wrong_final_answer_beats_a_right_one():
    pasted = written(
        ("These may be there.", "Edema, Pleural Effusion, Mass"),
        ("These may be there.", f"Edema {RIGHT}"),
        ("Two are there.", "Edema"),
    )
    right = OPEN_REFERENCE.replace("These may", "One may")
    (paper_wrong, wrong), (paper_right, right) = both(OPEN, pasted), both(OPEN, right)
    assert paper_wrong.outcome < paper_right.outcome and paper_wrong.total > paper_right.total
    assert wrong.total < 1 < right.total


@pytest.mark.parametrize("name, opposite", NEGATED.items())
def test_a_negated_open_step_is_not_paid(name, opposite):
    if name in SAID:
        response = OPEN_REFERENCE.replace(SAID[name], opposite)
        assert score(OPEN, response, STRICT).reason == pytest.approx(2 / 3)


# System


def test_closed_and_open_share_a_batch():
    verdicts = [
        [score(task, response, config) for task, response in ((CLOSED, REFERENCE), (OPEN, OPEN_REFERENCE))]
        for config in (PAPER, STRICT)
    ]
    assert all(verdict.outcome == 1 for pair in verdicts for verdict in pair)
    mixed, is_open = BatchGate().apply([tuple(verdicts[0])])
    assert is_open and [verdict.outcome for verdict in mixed[0]] == [1, 1]


def test_the_running_mean_is_lost_on_resume():
    """Without its state a gate that was shut opens anew; with it, it goes on as before."""
    good, bad = ((score(CLOSED, response, PAPER),) for response in (REFERENCE, answers(f"A {WRONG}")))
    gate = BatchGate()
    gate.apply([good])
    shut, is_open = gate.apply([bad])
    verdict = shut[0][0]
    assert (
        not is_open and verdict.total == verdict.base == pytest.approx(0.1) and not any(s.score for s in verdict.steps)
    )
    lost, resumed = BatchGate(), BatchGate()
    resumed.load_state_dict(json.loads(json.dumps(gate.state_dict())))
    assert lost.apply([bad])[1] and not resumed.apply([bad])[1]
    gate.apply([bad])
    assert resumed.state_dict() == gate.state_dict() == {"mean": pytest.approx(0.64)}  # 0.8 × 0.8


def test_validation_is_shifted_by_a_gate():
    """What a verdict is worth does not depend on the batches before it; only training passes the gate."""
    for config in (PAPER, STRICT):
        before = score(CLOSED, REFERENCE, config)
        BatchGate().apply([(before,)])
        assert score(CLOSED, REFERENCE, config) == before and before.total > before.base
