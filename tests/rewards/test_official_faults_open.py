"""Faults of CX-Mind's own rules: open answers, reasons, and what its system does with rewards."""

import json
import random

import pytest

from curriculum.importers.labels.nih import FINDINGS
from curriculum.task import NO_FINDING
from rewards.batch_gate import BatchGate
from rewards.score import score
from tests.support.rewards.official_examples import (
    CLOSED,
    HEALTHY,
    OPEN,
    OPEN_REFERENCE,
    PAPER,
    REFERENCE,
    RIGHT,
    RIGHT_ALONE,
    SAID,
    STRICT,
    THINKS,
    WRONG,
    answers,
    both,
    with_think,
    written,
)

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
    """Without its state a gate that was shut opens again; with it, it goes on as before."""
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
