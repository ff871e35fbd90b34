from collections import Counter, defaultdict

import numpy as np
import pytest

from curriculum.importers.labels.nih import FINDINGS as NIH_FINDINGS
from curriculum.importers.parts.film_questions import describe as nih_describe
from curriculum.phantoms.phantom import FINDINGS, FREQUENCY, NUMBER_OF_FINDINGS
from curriculum.phantoms.phantom_set import describe
from curriculum.questions import RIGHT, WRONG, LabelledFilm, QuestionWriter
from curriculum.task import NO_FINDING
from rewards.reading.answers import read_marks

FAMILIES = ("binary", "single_choice", "multiple_choice", "diagnosis")


def films(count):
    """Films as phantoms are, without drawing them."""
    rng = np.random.default_rng(0)
    weights = np.array(list(FREQUENCY.values())) / sum(FREQUENCY.values())
    for index in range(count):
        number = rng.choice(len(NUMBER_OF_FINDINGS), p=NUMBER_OF_FINDINGS)
        names = tuple(FINDINGS[i] for i in rng.choice(len(FINDINGS), number, replace=False, p=weights))
        yield LabelledFilm(str(index), "x.png", names, "train", f"p{index}")


@pytest.fixture(scope="module")
def asked():
    """Family to (film, task)."""
    writer = QuestionWriter(FREQUENCY, NUMBER_OF_FINDINGS[0])
    rng = np.random.default_rng(1)
    return {family: [(film, getattr(writer, family)(film, rng)) for film in films(2500)] for family in FAMILIES}


def test_gold_is_what_the_film_shows(asked):
    for family in ("single_choice", "multiple_choice"):
        for film, task in asked[family]:
            truth = set(film.findings) or {NO_FINDING}
            assert len(set(task.options.values())) == len(task.options) == 4
            offered_and_true = {letter for letter, name in task.options.items() if name in truth}
            assert set(task.gold) == offered_and_true and task.gold == tuple(sorted(task.gold))
            assert family == "multiple_choice" or len(task.gold) == 1
    for film, task in asked["binary"]:
        name = next(name for name in FINDINGS if name in task.question)
        assert task.options == {"A": "Yes", "B": "No"} and task.gold == ("A" if name in film.findings else "B",)
    assert all(task.gold == film.findings and not task.options for film, task in asked["diagnosis"])


def test_tasks_belong_to_their_film(asked):
    everything = [(film, task) for family in FAMILIES for film, task in asked[family]]
    assert len({task.id for _, task in everything}) == len(everything)
    for film, task in everything:
        assert task.family in FAMILIES and (task.domain == "open") == (task.family == "diagnosis")
        assert task.id.startswith(f"{film.id}-") and task.images == (film.image,)
        assert (task.split, task.patient) == (film.split, film.patient)


def test_the_place_of_an_option_says_nothing(asked):
    for family in ("single_choice", "multiple_choice"):
        right = Counter(letter for _, task in asked[family] for letter in task.gold)
        mean = right.total() / 4
        assert all(abs(count - mean) < 4 * mean**0.5 for count in right.values()) and len(right) == 4
    yes = np.mean([task.gold == ("A",) for _, task in asked["binary"]])
    assert yes == pytest.approx(0.5, abs=0.04)


def rates(tasks):
    """Option name, or question of a binary task, to how often it is right where offered, and how often offered."""
    offered, right = Counter(), Counter()
    for task in tasks:
        for letter, name in task.options.items():
            key = task.question if task.family == "binary" else name
            if task.family != "binary" or letter == "A":
                offered[key] += 1
                right[key] += letter in task.gold
    return {name: right[name] / offered[name] for name in offered}, offered


@pytest.mark.parametrize("family, tolerance", [("binary", 0.05), ("single_choice", 0.07), ("multiple_choice", 0.2)])
def test_the_name_of_an_option_says_little(asked, family, tolerance):
    rate, offered = rates([task for _, task in asked[family]])
    mean = np.average(list(rate.values()), weights=list(offered.values()))
    assert len(rate) >= len(FINDINGS)
    for name, value in rate.items():
        assert abs(value - mean) < tolerance + 2.5 * (mean * (1 - mean) / offered[name]) ** 0.5, name


def test_a_blind_guesser_who_learnt_the_names_stays_near_chance(asked):
    tasks = [task for _, task in asked["single_choice"]]
    rate, _ = rates(tasks[:1250])
    places = Counter(letter for task in tasks[:1250] for letter in task.gold)
    hits = defaultdict(list)
    for task in tasks[1250:]:
        hits["name"].append(max(task.options, key=lambda letter: rate[task.options[letter]]) in task.gold)
        hits["place"].append(max(places, key=places.get) in task.gold)
        hits["never healthy"].append(
            min(task.options, key=lambda letter: task.options[letter] == NO_FINDING) in task.gold
        )
    for guesser, hit in hits.items():
        assert np.mean(hit) == pytest.approx(tasks[0].chance, abs=0.04), guesser
    questions = [task for _, task in asked["binary"]]
    rate, _ = rates(questions[:1250])
    hit = [(rate[task.question] > 0.5) == (task.gold == ("A",)) for task in questions[1250:]]
    assert np.mean(hit) == pytest.approx(questions[0].chance, abs=0.05)


def test_chance_of_each_family(asked):
    chance = {family: {task.chance for _, task in asked[family]} for family in FAMILIES}
    assert chance == {"binary": {1 / 2}, "single_choice": {1 / 4}, "multiple_choice": {1 / 15}, "diagnosis": {0.0}}


def test_rare_findings_are_offered_wrongly_too(asked):
    for family in ("single_choice", "multiple_choice"):
        wrong = Counter(name for _, t in asked[family] for letter, name in t.options.items() if letter not in t.gold)
        assert set(wrong) == {*FINDINGS, NO_FINDING} and min(wrong.values()) >= 20


@pytest.mark.parametrize("shown", [(), NIH_FINDINGS[:1], NIH_FINDINGS[3:6], NIH_FINDINGS[:7]])
@pytest.mark.parametrize("size", [2, 4, 7])
def test_any_number_of_options_for_any_film(shown, size):
    writer = QuestionWriter(dict.fromkeys(NIH_FINDINGS, 1.0), 0.2, nih_describe)
    film = LabelledFilm("f", "x.png", shown, "val", "p", {"view": "AP", "source": "s"})
    for seed in range(5):
        rng = np.random.default_rng(seed)
        single, several = writer.single_choice(film, rng, size), writer.multiple_choice(film, rng, size)
        assert len(single.options) == len(several.options) == size and len(single.gold) == 1
        assert len(several.gold) == min(max(1, len(shown)), size - 1)  # one option is wrong, however many are right
        assert (single.view, single.source, single.split) == ("AP", "s", "val")


def test_traces_are_of_the_seed_and_left_out_where_nothing_describes():
    film = next(film for film in films(50) if film.findings)
    silent, telling = (QuestionWriter(FREQUENCY, 0.2, describe) for describe in (None, nih_describe))
    for family in FAMILIES:
        first, again = (getattr(telling, family)(film, np.random.default_rng(3)) for _ in range(2))
        assert first == again and first.reference
        assert getattr(silent, family)(film, np.random.default_rng(3)).reference is None


def test_a_trace_weighs_every_option_once(phantom_tasks):
    for task in phantom_tasks:
        marks = [read_marks(answer.split("</answer>")[0])[1] for answer in task.reference.split("<answer>")[1:]]
        weighed = [mark for (mark,) in (m for m in marks if m)]
        assert marks[-1] == [] and sum(weighed) == len(task.gold)
        assert len(weighed) == len(task.options) if task.options else len(weighed) > len(task.gold)
        assert task.reference.count(RIGHT) + task.reference.count(WRONG) == len(weighed)


def test_traces_tell_what_their_writer_noticed_and_gold_and_report_stay_true():
    writer = QuestionWriter(FREQUENCY, 0.2, describe)
    rng = np.random.default_rng(0)
    present, overlooked = FINDINGS[:2], FINDINGS[1]
    film = LabelledFilm("f", "x.png", present, "train", "p", noticed=present[:1])
    for _ in range(30):
        task = writer.diagnosis(film, rng)
        assert task.gold == present and f"{overlooked} {WRONG}" in task.reference
        assert task.reference.endswith(f"<answer>{present[0]}</answer>")
        report = writer.report(film, rng).reference
        assert all(describe(name, True) in report for name in present)
        task = writer.multiple_choice(film, rng)
        letters = {name: letter for letter, name in task.options.items()}
        assert (
            set(task.gold) == {letters[name] for name in present}
            and f"{letters[overlooked]}) {WRONG}" in task.reference
        )
        assert task.reference.endswith(f"<answer>{letters[present[0]]}</answer>")
    blind = LabelledFilm("g", "x.png", present[:1], "train", "p", noticed=())
    for _ in range(30):
        task = writer.single_choice(blind, rng)
        letters = {name: letter for letter, name in task.options.items()}
        said = letters[present[0]]  # told that one is right, the writer looks again
        assert task.gold == (said,) and task.reference.endswith(f"<answer>{said}</answer>")
