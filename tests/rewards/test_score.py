import itertools
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curriculum.importers.labels import nih
from curriculum.importers.parts.film_questions import describe
from curriculum.phantoms import phantom
from curriculum.questions import RIGHT, WRONG, LabelledFilm, QuestionWriter
from curriculum.task import NO_FINDING
from curriculum.taskset import read_tasks
from rewards.config import RewardConfig
from rewards.findings.canonical import canonical
from rewards.reading.parser import parse
from rewards.score import score
from tests.support.rewards.responses import HEALTHY, MULTIPLE, OPEN, SINGLE, pairs, plain_f1

REAL = Path(__file__).parents[2] / "../shared/data/cxr"
CONFIG = RewardConfig()
RIGHT_ALONE = CONFIG.format + CONFIG.outcome  # a right answer without steps
BEST = RIGHT_ALONE + CONFIG.process  # with right steps, where nothing is known to hold the think blocks against


def judged(task, *answers, **changes):
    return score(task, pairs(*answers), CONFIG, **changes)


def nih_tasks():
    """Films with up to nine NIH findings, and questions with every number of options."""
    rng = np.random.default_rng(0)
    writer = QuestionWriter(dict.fromkeys(nih.FINDINGS, 1.0), 0.3, describe)
    for n in range(40):
        findings = tuple(str(name) for name in rng.permutation(nih.FINDINGS)[: n % 10])
        film = LabelledFilm(str(n), "x.png", findings, "train", str(n))
        size = min(2 + n % 6, len(nih.FINDINGS) - len(findings) + 1)
        yield from (
            writer.binary(film, rng),
            writer.single_choice(film, rng, size),
            writer.multiple_choice(film, rng, size),
            writer.diagnosis(film, rng),
        )


def assert_reference_is_best(task):
    """A reference with steps earns all there is; one that only answers (a view, a text, boxes) all but the process."""
    verdict = score(task, task.reference, CONFIG)
    steps = task.reference.count("<think>") > 1
    assert (verdict.format, verdict.outcome, verdict.process) == (1, 1, steps), (task, verdict)
    assert verdict.reason in (0, 1)  # 0 where no think block of it states a fact that is known to be true
    assert verdict.total == pytest.approx((BEST if steps else RIGHT_ALONE) + CONFIG.reason * verdict.reason)
    assert verdict.base == pytest.approx(RIGHT_ALONE)
    assert {step.judgement for step in verdict.steps} == {"right"} and not verdict.faults
    assert sorted(verdict.answer) == sorted(task.gold)


def test_the_reference_of_a_phantom_question_scores_highest(phantom_tasks):
    for task in phantom_tasks:
        assert_reference_is_best(task)


def test_the_reference_of_an_nih_question_scores_highest():
    for task in nih_tasks():
        assert_reference_is_best(task)


def new_tasks():
    """A task of each family whose reference has an answer but no steps."""
    rng = np.random.default_rng(0)
    writer = QuestionWriter(dict.fromkeys(nih.FINDINGS, 1.0), 0.3, describe)
    film = LabelledFilm("f", "x.png", ("Edema",), "train", "p", {"view": "AP"})
    before = LabelledFilm("e", "w.png", (), "train", "p")
    text = "There is moderate pulmonary edema. No effusion."
    return (
        writer.view(film),
        writer.matching(film, text, "Normal.", rng),
        writer.progression(before, film, "Edema"),
        writer.section(film, "findings", text),
        writer.section(film, "impression", "Clear lungs.", "Cough."),
        writer.grounding(film, "Edema", ["[100, 100, 400, 500]", "[600, 100, 900, 500]"]),
    )


@pytest.mark.parametrize("task", new_tasks(), ids=lambda task: task.family)
def test_the_reference_without_steps_has_the_right_outcome(task):
    assert_reference_is_best(task)


TEXT, GROUNDING = new_tasks()[3], new_tasks()[5]


@pytest.mark.parametrize("task", [TEXT, GROUNDING])
def test_a_text_or_boxes_outside_the_format_earn_nothing(task):
    assert score(task, task.gold[0], CONFIG).total == 0 and judged(task, *task.gold, truncated=True).total == 0


def test_the_references_of_the_real_set_score_highest(tmp_path):
    if not (REAL / "labels.parquet").exists():
        pytest.skip("the real films are not beside the repository")
    nih.import_nih(REAL / "images", REAL / "labels.parquet", tmp_path)
    tasks = [task for task in read_tasks(tmp_path) if task.family != "report"]  # bare text, for SFT alone
    crowded = [task for task in tasks if task.domain == "open" and len(task.gold) >= CONFIG.max_candidates]
    assert crowded  # films with so many findings that the list of candidates passes the limit
    for task in crowded + tasks[::29]:
        assert_reference_is_best(task)


def test_marking_everything_wrong_earns_no_process(phantom_tasks):
    sick = [task for task in [*phantom_tasks, *nih_tasks()] if task.gold]
    assert {task.family for task in sick} == {"binary", "single_choice", "multiple_choice", "diagnosis"}
    for task in sick:
        for final in (None, NO_FINDING if task.domain == "open" else "A"):
            response = task.reference.replace(RIGHT, WRONG)
            if final is not None:
                head, last = response[: response.rindex("<answer>")], "<answer>{}</answer>"
                response = head + last.format(final)
            verdict = score(task, response, CONFIG)
            assert verdict.format == 1 and verdict.process == 0 and verdict.total <= BEST - CONFIG.process
        always_right = score(task, task.reference.replace(WRONG, RIGHT), CONFIG)
        assert always_right.format == 1 and always_right.process == 0


@pytest.mark.parametrize(
    "task, answers, outcome, process",
    [
        (SINGLE, ["A ❌", "B ✅", "C ❌", "D ❌", "B"], 1, 1),
        (SINGLE, ["B ✅", "A ❌", "B"], 1, 1 + 1 / 3 - 1),  # two of three wrong options were not weighed
        (SINGLE, ["A ❌", "C ❌", "D ❌", "B"], 1, 0),
        (SINGLE, ["B"], 1, 0),
        (SINGLE, ["A ✅", "B ❌", "C ❌", "D ❌", "A"], 0, 0),  # 0 + 2/3 − 1
        (MULTIPLE, ["A ❌", "B ✅", "C ❌", "D ❌", "B"], 0, 1 / 2),
        (MULTIPLE, ["A ❌", "B ✅", "C ✅", "D ✅", "B, C, D"], 0, 1 / 2),
        (MULTIPLE, ["A, B, C, D"], 0, 0),
        (
            OPEN,
            [
                "Edema, Mass, pleural thickening",
                "Edema ✅",
                "Mass ❌",
                "Pleural thickening ✅",
                "edema, thickened pleura",
            ],
            1,
            1,
        ),
        (OPEN, ["Edema, Mass", "Edema ✅", "Mass ❌", "Edema"], 2 / 3, 1 / 2),  # a finding never announced was missed
        (OPEN, ["Mass", "Mass ❌", "Edema, Pleural Thickening"], 1, 0),
        (OPEN, ["Edema and Pleural Thickening"], 1, 0),
        (OPEN, ["Edema, Mass", "Edema"], 2 / 3, 0),
        (OPEN, ["Edema, Mass", "Edema ❌", "Mass ❌", "No finding"], 0, 0),
        (HEALTHY, ["Edema, Mass", "Edema ❌", "Mass ❌", "No finding"], 1, 1),
        (HEALTHY, ["Edema, Mass", "Edema ❌", "Mass ✅", "Mass"], 0, 1 / 2),
        (HEALTHY, ["Edema, No finding"], 0, 0),  # contradicts itself
        (OPEN, ["Edema, Pleural Thickening, No finding"], 0, 0),
        (SINGLE, ["B ❌", "C ❌", "A ❌", "B"], 1, 0),
        (SINGLE, ["B ✅", "A ❌", "C ✅", "D ❌", "B"], 1, 2 / 3),
        (SINGLE, ["B ✅", "A ❌", "C ❌", "D ❌", "C"], 0, 0),  # gold and answer both contradict their steps
        (MULTIPLE, ["B ✅", "D ✅", "A ❌", "C ❌", "B, D, C"], 0, 1 / 2),
    ],
)
def test_outcome_and_process(task, answers, outcome, process):
    verdict = judged(task, *answers)
    assert (verdict.format, verdict.outcome, verdict.process) == pytest.approx((1, outcome, process))
    paid = process if outcome == 1 else 0
    assert verdict.total == pytest.approx(CONFIG.format + CONFIG.outcome * outcome + CONFIG.process * paid)


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_sound_steps_never_lift_a_worse_list_above_a_better_one(hits, more, extra, weighed):
    """Findings found by two responses: the one with the better F1 is worth more, whatever the other's steps."""
    names = sorted(nih.FINDINGS)
    gold = names[: max(1, hits + more)]
    task = OPEN.model_copy(update={"gold": tuple(gold)})
    worse = gold[: len(gold) - 1] + names[10 : 10 + extra % 4]
    listed = gold[:weighed] or gold[:1]
    steps = [f"{name} {'✅' if name in worse else '❌'}" for name in listed]
    with_steps = judged(task, ", ".join(listed), *steps, ", ".join(worse) or "No finding")
    bare = judged(task, ", ".join(gold))
    assert with_steps.outcome < bare.outcome and with_steps.total < bare.total


def test_naming_everything_does_not_beat_reading(phantom_tasks):
    for task in phantom_tasks:
        names = list(task.options) or list(phantom.FINDINGS)
        steps = [f"{name} {RIGHT}" for name in names]
        announced = [", ".join(names)] if task.domain == "open" else []
        verdict = judged(task, *announced, *steps, ", ".join(names))
        assert verdict.process == 0 and verdict.total < 0.6 * BEST
        honest_guess = judged(task, names[0])
        assert verdict.outcome < 1 and (task.domain == "open" or verdict.total <= honest_guess.total)


@pytest.mark.parametrize("task", [SINGLE, MULTIPLE, OPEN, HEALTHY])
def test_a_second_judgement_of_everything_adds_nothing(task):
    names = list(task.options) or ["Edema", "Mass", "Pleural Thickening"]
    steps = [f"{name} {RIGHT if name in task.gold else WRONG}" for name in names]
    head, final = ([", ".join(names)] if task.domain == "open" else []), ", ".join(task.gold) or NO_FINDING
    once, twice = judged(task, *head, *steps, final), judged(task, *head, *steps, *steps, final)
    assert once.total == pytest.approx(BEST) and twice.total <= once.total
    assert [s.judgement for s in twice.steps[-len(names) - 1 : -1]] == ["fault"] * len(names)


def test_a_response_cut_off_earns_nothing():
    whole, cut = judged(SINGLE, "B ✅", "A ❌", "B"), judged(SINGLE, "B ✅", "A ❌", "B", truncated=True)
    assert whole.process > 0 and cut.total == cut.base == 0
    assert (cut.format, cut.outcome, cut.process) == (0, 1, 0) and cut.faults[0].what == "cut off at the length limit"
    assert not any(step.score for step in cut.steps) and len(cut.steps) == 3


def test_broken_format_pays_nothing_and_says_why():
    verdict = score(SINGLE, "So: " + pairs("B ✅", "A ❌", "B"), CONFIG)
    assert verdict.total == verdict.base == 0 and not any(step.score for step in verdict.steps)
    assert any("text outside pairs" in reason for reason in verdict.why)


def test_nothing_at_all_is_worth_nothing():
    for task in (SINGLE, OPEN, HEALTHY):
        verdict = score(task, "", CONFIG)
        assert (verdict.total, verdict.answer, verdict.steps) == (0, None, ())


@pytest.mark.parametrize("size", [2, 4, 7])
def test_chance_is_what_blind_answers_get(size):
    letters = "ABCDEFG"[:size]
    options = {letter: f"Finding {letter}" for letter in letters}
    for family in ("single_choice", "multiple_choice"):
        task = SINGLE.model_copy(update={"options": options, "gold": ("A",), "family": family})
        most = size if family == "multiple_choice" else 1
        answers = [", ".join(chosen) for n in range(1, most + 1) for chosen in itertools.combinations(letters, n)]
        assert np.mean([judged(task, answer).outcome for answer in answers]) == pytest.approx(task.chance)
    assert OPEN.chance == 0


answer_of_step = st.tuples(
    st.sampled_from(
        [*SINGLE.options, "E", "", "Edema", "Mass", "Pleural Thickening", "Nodule", "A, B", "Edema, Mass, Nodule"]
    ),
    st.sampled_from([RIGHT, WRONG, RIGHT, WRONG, "", RIGHT + WRONG]),
).map(" ".join)
letters = st.lists(st.sampled_from([*SINGLE.options]), min_size=1, max_size=4)
names = st.lists(st.sampled_from(["Edema", "Mass", "pleural thickening", NO_FINDING]), min_size=1, max_size=4)
noise = st.text(max_size=8) | st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "<Think>", " "])
closed, opened = st.sampled_from([SINGLE, MULTIPLE]), st.sampled_from([OPEN, HEALTHY])


@given(closed, st.lists(answer_of_step, max_size=6), letters)
def test_no_closed_response_beats_the_reference_and_a_wrong_answer_never_a_right_one(task, steps, final):
    verdict = judged(task, *steps, ", ".join(final))
    assert verdict.outcome == float(set(final) == set(task.gold)) and verdict.total <= BEST + 1e-9
    least_right = CONFIG.format * verdict.format + CONFIG.outcome
    assert verdict.total >= least_right if verdict.outcome else verdict.total < least_right


@given(opened, st.lists(answer_of_step, max_size=6), names)
def test_no_open_response_beats_the_reference(task, steps, final):
    verdict = judged(task, *steps, ", ".join(final))
    named = {canonical(name) for name in final} if set(final) != {NO_FINDING} else set()
    assert verdict.outcome == pytest.approx(0 if NO_FINDING in named else plain_f1(named, set(task.gold)))
    assert verdict.total <= BEST + 1e-9


@given(
    closed | opened,
    st.lists(noise | (answer_of_step | (letters | names).map(", ".join)).map(pairs), max_size=8).map("".join)
    | st.text(),
    st.booleans(),
)
@settings(max_examples=200)
def test_any_text_has_a_verdict_with_spans_numbers_and_reasons(task, response, truncated):
    verdict = score(task, response, CONFIG, truncated)
    found = parse(response)
    wanted = [(pair.start, pair.end) for pair in found.pairs]
    if task.domain == "open" and len(wanted) < 3:
        wanted = wanted[-1:]  # too few for a list, a candidate and a summary
    assert [(step.start, step.end) for step in verdict.steps] == wanted
    assert all(
        response[s.start : s.end].startswith("<think>") and response[s.start : s.end].endswith("</answer>")
        for s in verdict.steps
    )
    parts = (verdict.format, verdict.outcome, verdict.process, *(step.score for step in verdict.steps))
    assert all(0 <= part <= 1 for part in parts)
    assert (verdict.format == 1) == (not verdict.faults) == (not found.faults and not truncated)
    assert verdict.process == 0 or verdict.format == 1
    assert verdict.base == pytest.approx(verdict.format * (CONFIG.format + CONFIG.outcome * verdict.outcome))
    assert verdict.total == pytest.approx(verdict.base + CONFIG.process * verdict.process)
    assert verdict.why and all(step.why for step in verdict.steps) and math.isfinite(verdict.total)
    assert score(task, response, CONFIG, truncated) == verdict


@pytest.mark.parametrize(
    "response",
    [
        "<think>" * 100_000,
        "</answer>" * 100_000,
        "<think>a" + "</think> " * 100_000,
        pairs("A ❌") * 10_000 + pairs("B"),
        pairs("B", think="no mass, edema, " * 60_000),
        pairs("A, " * 300_000),
        pairs("Edema, " * 150_000),
        pairs("✅" * 300_000),
        pairs("B" + " " * 1_000_000 + "x"),
        pairs("yes " * 250_000),
        pairs("[1, 2, 3, 4] " * 80_000),
        "<" * 1_000_000,
        pairs("Edema, Mass", "Edema ✅", "Mass ❌", "Edema", think="no edema, mass, " * 20_000),
    ],
    ids=lambda response: response[:30],
)
def test_a_megabyte_of_anything_has_a_verdict(response):
    """A pattern that is not linear would not come back."""
    for task in (SINGLE, OPEN, TEXT, GROUNDING):
        assert 0 <= score(task, response, CONFIG).total <= 1.5
        score(task, response, RewardConfig(preset="paper"))


def test_a_verdict_is_the_same_in_every_process():
    """Sets have another order in each; sums over them must not show it, or a run would not repeat itself to the bit."""
    program = """
from curriculum.task import Task
from rewards.config import RewardConfig
from rewards.score import score
from tests.support.rewards.responses import HEALTHY, MULTIPLE, OPEN, SINGLE, pairs, plain_f1
marks = {"A": "❌", "B": "✅", "C": "❌", "D": "❌"}
thinks = {"A": "No mass. No hernia.", "B": "Edema.", "C": "No hernia. No edema.", "D": "No nodule. No mass."}
def trace(thinks):
    steps = "".join(f"<think>{thinks[k]}</think><answer>{k} {marks[k]}</answer>" for k in marks)
    return steps + "<think>So.</think><answer>B</answer>"
closed = Task(id="t", domain="closed", family="single_choice", question="?", images=("x.png",), gold=("B",),
              reference=trace(thinks), options={"A": "Mass", "B": "Edema", "C": "Hernia", "D": "Nodule"})
less = {"A": "No mass.", "B": "Edema.", "C": "No hernia.", "D": "No nodule."}
weights = {"Edema": 0.1, "Mass": 0.2, "Nodule": 0.3, "Hernia": 0.7, "Effusion": 1.1}
names = Task(id="o", domain="open", family="diagnosis", question="?", images=("x.png",),
             gold=("Edema", "Mass", "Nodule"))
print(repr(score(closed, trace(less), RewardConfig()).total))
print(repr(score(names, "<think>So.</think><answer>Edema, Mass, Nodule, Hernia, Effusion</answer>",
                 RewardConfig(finding_weights=weights)).total))
"""
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
            check=True,
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[2],
        ).stdout
        for seed in range(6)
    }
    assert len(said) == 1
