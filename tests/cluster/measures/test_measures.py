"""Scores of held-out answers against sums by hand and other people's code, and intervals against the textbook."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.measures import Result, Scores
from cluster.measures.measure import bleu, bootstrap, mean
from cluster.measures.strata import age_band, frequency_group, strata, train_shares
from curriculum.task import Task
from rewards.config import RewardConfig
from rewards.score import score


def closed(number, right, **known):
    known = {"patient": f"p{number}"} | known
    task = Task(
        id=f"c{number}",
        domain="closed",
        family="binary",
        question="Is there Mass?",
        options={"A": "Yes", "B": "No"},
        gold=("A",),
        images=("x.png",),
        **known,
    )
    return result(task, "A" if right else "B")


def opened(number, gold, found, **fields):
    fields = dict(family="diagnosis", patient=f"p{number}") | fields
    return result(
        Task(id=f"o{number}", domain="open", question="Which?", gold=gold, images=("x.png",), **fields), found
    )


def result(task, answer):
    text = f"<think>t</think><answer>{answer}</answer>"
    return Result(task, text, score(task, text, RewardConfig()))


def values(results, **options):
    return {name: value for name, (value, _, _) in Scores(results, 100, **options).measures().items()}


OPEN = [
    opened(0, ("Mass", "Edema"), "Mass, Hernia"),
    opened(1, (), "No finding"),
    opened(2, ("Mass",), "mass and nodule"),
    opened(3, ("Edema",), "who knows"),
]


def test_measures_by_hand():
    measures = values([closed(0, True), closed(1, True), closed(2, True), closed(3, False), *OPEN])
    assert measures["closed_accuracy"] == measures["binary_accuracy"] == 0.75 and measures["format_rate"] == 1
    # hits: Mass, Mass; gold: 2 + 0 + 1 + 1; found: 2 + 0 + 2 + 1
    assert measures["open_micro_f1"] == measures["diagnosis_micro_f1"] == pytest.approx(2 * 2 / (4 + 5))
    # Mass: 2 of 2 gold, 2 found; Edema: 0 of 2
    assert measures["open_macro_f1"] == pytest.approx((1 + 0) / 2)
    assert measures["open_recall"] == pytest.approx((2 / 2 + 0 / 2) / 2)
    # each task alone: 2 × 1 / (2 + 2), both empty, 2 × 1 / (1 + 2), 0
    assert measures["diagnosis_f1"] == pytest.approx((1 / 2 + 1 + 2 / 3 + 0) / 4)


def test_findings_and_their_groups_by_hand():
    scores = Scores(OPEN, 100, shares={"Mass": 0.3, "Edema": 0.05})
    value = {path: interval[0] for path, interval in scores.intervals().items()}
    assert value["findings", "Mass", "recall"] == value["findings", "Mass", "f1"] == 1
    assert value["findings", "Edema", "recall"] == 0
    assert value["frequency", "head", "macro_f1"] == 1 and value["frequency", "medium", "macro_f1"] == 0
    assert ("frequency", "tail", "macro_f1") not in value
    assert len(scores.paths["findings", "Mass", "recall"].tasks) == 2  # those whose gold has it


def test_no_train_films_no_groups():
    paths = Scores(OPEN, 100, shares={}).paths
    assert ("findings", "Mass", "recall") in paths and not any(path[0] == "frequency" for path in paths)


def test_a_set_of_healthy_films_has_no_findings_to_average():
    measures = values([opened(0, (), "No finding"), opened(1, (), "Mass")])
    assert measures["open_f1"] == 0.5 and measures["open_micro_f1"] == 0 and "open_macro_f1" not in measures


def test_boxes_by_hand():
    asked = dict(family="grounding", form="boxes")
    measures = values(
        [
            opened(0, ("[0, 0, 100, 100]",), "[0, 0, 100, 100]", **asked),
            opened(1, ("[0, 0, 100, 100]",), "[0, 0, 100, 40]", **asked),  # IoU 0.4
            opened(2, ("[0, 0, 100, 100]", "[500, 500, 600, 600]"), "[0, 0, 100, 100]", **asked),  # one of two: 0.5
            opened(3, ("[0, 0, 100, 100]",), "nowhere", **asked),
        ]
    )
    assert measures["boxes_iou"] == measures["grounding_iou"] == pytest.approx((1 + 0.4 + 0.5 + 0) / 4)
    assert measures["grounding_iou_50"] == 0.5 and "open_micro_f1" not in measures


REPORTS = [
    "The heart is normal. No effusion.",
    "Large left pleural effusion.",
    "Lungs are clear, without a mass or nodule.",
]


def texts(answers, golds=REPORTS):
    return [
        opened(i, (gold,), answer, family="findings", form="text")
        for i, (answer, gold) in enumerate(zip(answers, golds, strict=True))
    ]


def test_right_texts_are_worth_one():
    measures = values(texts(REPORTS))
    for name in ("bleu", "rouge_l", "clinical_f1"):
        assert measures[f"text_{name}"] == measures[f"findings_{name}"] == pytest.approx(1)
    assert values(texts(["", "", ""]))["text_bleu"] == 0


def test_clinical_f1_is_of_what_is_said_to_be_there():
    # gold: Effusion; found: Mass, Effusion, and Nodule
    answers = ["There is a mass.", "Small right effusion.", "A nodule is seen. No effusion."]
    assert values(texts(answers))["text_clinical_f1"] == pytest.approx(2 * 1 / (1 + 3))


VOCABULARY = ["the", "heart", "is", "normal", ".", "No", "effusion,", "left", "3.5cm", "mass"]
WORDS = st.lists(st.sampled_from(VOCABULARY), max_size=14).map(" ".join)


@given(st.lists(st.tuples(WORDS, WORDS.filter(bool)), min_size=1, max_size=6))
def test_bleu_is_that_of_sacrebleu(pairs):
    from sacrebleu import corpus_bleu

    answers, golds = zip(*pairs, strict=True)
    results = texts([answer or " " for answer in answers], golds)
    expected = corpus_bleu([r.final for r in results], [golds], lowercase=True).score / 100
    assert values(results)["text_bleu"] == pytest.approx(expected)


def test_bleu_of_a_resample_is_that_of_its_texts():
    counts = np.array([[4, 5, 3, 2, 1, 0, 4, 3, 2, 1], [6, 6, 2, 0, 0, 0, 6, 5, 4, 3]])
    measure = bleu(np.arange(2), counts)
    assert measure.value(np.array([[2, 1]]) @ counts) == bleu(np.arange(3), counts[[0, 0, 1]]).value(
        counts[[0, 0, 1]].sum(0, keepdims=True)
    )


def test_what_an_answer_is():
    def final(text):
        return Result(OPEN[0].task, text, OPEN[0].verdict).final

    assert final("<think>a</think><answer>b</answer><think>c</think><answer> d </answer>") == "d"
    assert final("Plain report.") == "Plain report." and final("<think>cut off") == ""


def test_an_interval_is_the_normal_one_for_many_tasks():
    results = [closed(i, i % 4 != 0) for i in range(1000)]
    value, low, high = Scores(results, 2000).measures()["closed_accuracy"]
    half = 1.96 * (0.75 * 0.25 / 1000) ** 0.5
    assert (
        value == 0.75 and low == pytest.approx(0.75 - half, abs=0.004) and high == pytest.approx(0.75 + half, abs=0.004)
    )


def test_intervals_cover_the_truth_nineteen_times_in_twenty():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(400):
        tasks = np.arange(120)
        drawn = bootstrap({"x": mean(tasks, rng.random(120) < 0.7)}, tasks, 400, 1)["x"]
        low, high = np.quantile(drawn[1:], (0.025, 0.975))
        covered += low <= 0.7 <= high
    assert 0.91 <= covered / 400 <= 0.98


def test_four_questions_about_a_patient_are_no_more_sure_than_one():
    right = [i % 4 != 0 for i in range(400)]
    once = [closed(i, r) for i, r in enumerate(right)]
    four = [closed(4 * i + k, r, patient=f"p{i}") for i, r in enumerate(right) for k in range(4)]
    (value, low, high), (value_4, low_4, high_4) = (Scores(r, 500).measures()["closed_accuracy"] for r in (once, four))
    assert value == value_4 == 0.75 and (low, high) == pytest.approx((low_4, high_4))


def test_tasks_without_a_patient_are_drawn_by_film():
    same_film = [closed(i, i % 2, patient="") for i in range(40)]
    assert Scores(same_film, 50).measures()["closed_accuracy"] == (0.5, 0.5, 0.5)


def test_parts_of_the_draws_change_nothing(monkeypatch):
    tasks = np.arange(60)
    measures = {"x": mean(tasks, np.random.default_rng(0).random(60))}
    whole = bootstrap(measures, tasks // 2, 300, 0)["x"]
    monkeypatch.setattr("cluster.measures.measure._CELLS_AT_ONCE", 30 * 7)
    assert bootstrap(measures, tasks // 2, 300, 0)["x"] == pytest.approx(whole)


@given(st.lists(st.booleans(), min_size=3, max_size=40), st.randoms(use_true_random=False))
def test_a_gain_is_paired_by_task(right, random):
    later = [r or random.random() < 0.3 for r in right]
    before, after = (Scores([closed(i, r) for i, r in enumerate(rs)], 100) for rs in (right, later))
    value, low, high = after.gain_over(before)["closed_accuracy"]
    assert value == pytest.approx(np.mean(later) - np.mean(right)) and 0 <= low <= high


def test_a_model_differs_from_itself_by_exactly_nothing():
    results = [*OPEN, *(closed(i, i % 3, view="AP") for i in range(30)), *texts(["A mass.", "", "Clear lungs."])]
    for i, r in enumerate(results):
        results[i] = Result(r.task.model_copy(update={"id": str(i)}), r.text, r.verdict)
    one, two = (Scores(list(results), 200, shares={"Mass": 0.2}) for _ in range(2))
    differences = one.differences(two)
    assert differences.keys() == one.paths.keys() and set(differences.values()) == {(0, 0, 0)}


def test_a_gain_over_other_tasks_is_refused():
    with pytest.raises(ValueError, match="same tasks"):
        Scores([closed(0, True)], 10).gain_over(Scores([closed(1, True)], 10))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["PA", "AP", ""]),
            st.sampled_from(["F", "M", "O", ""]),
            st.one_of(st.none(), st.floats(0, 120)),
            st.sampled_from(["nih", ""]),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_strata_part_the_tasks(people):
    names = ("view", "sex", "age", "source")
    results = [closed(i, True, **dict(zip(names, known, strict=True))) for i, known in enumerate(people)]
    scores = Scores(results, 10, shares={})
    for kind in ("view", "sex", "age", "source"):
        parts = [m.tasks for path, m in scores.paths.items() if path[:2] == ("strata", kind)]
        several = len({strata(r.task)[kind] for r in results}) > 1
        assert sorted(np.concatenate(parts)) == list(range(len(results))) if several else not parts
        for path, measure in scores.paths.items():
            if path[:2] == ("strata", kind):
                assert {strata(results[i].task)[kind] for i in measure.tasks} == {path[2]}


def test_age_bands():
    ages = [0, 17.9, 18, 39, 40, 59, 60, 79, 80, 120]
    assert [age_band(age) for age in ages[::2]] == ["0–17", "18–39", "40–59", "60–79", "80+"]
    assert [age_band(age) for age in ages[1::2]] == ["0–17", "18–39", "40–59", "60–79", "80+"] and age_band(None) == ""


def test_shares_count_films_once_and_healthy_ones_too():
    sick, healthy = (
        opened(0, ("Mass", "oedema"), "").task,
        opened(1, (), "").task.model_copy(update={"images": ("y.png",)}),
    )
    again, unnamed = sick.model_copy(update={"id": "again"}), closed(2, True).task
    assert (
        train_shares([sick, again, healthy, unnamed]) == {"Edema": 0.5, "Mass": 0.5} and train_shares([unnamed]) == {}
    )
    groups = {0.11: "head", 0.10: "medium", 0.01: "medium", 0.009: "tail", 0.0: "tail"}
    assert {share: frequency_group(share) for share in groups} == groups
