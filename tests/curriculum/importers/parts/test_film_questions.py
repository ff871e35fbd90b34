from collections import Counter

import pytest

from curriculum.importers.parts.film_questions import describe, film_questions, unit
from curriculum.importers.parts.label import Label
from curriculum.questions import LabelledFilm
from curriculum.taskset import TaskSetError

VOCABULARY = ("Edema", "Effusion", "Mass", "Nodule")


def film(number: int, findings=(), patient="p", view="PA", **changes):
    label = Label(f"row {number}", f"f{number}", f"{number}.png", patient, findings, **changes)
    provenance = {"view": view} if view else {}
    known = dict(unsure=label.unsure, denied=label.denied, unasked=label.unasked)
    shown = LabelledFilm(label.id, label.file, findings or (), "train", patient, provenance, **known)
    return label, shown


def ask(*films, vocabulary=VOCABULARY, seed=0, uncertain=False):
    return list(film_questions(films, vocabulary, seed, uncertain))


def families(tasks, number=0):
    return {task.family for task in tasks if task.id.startswith(f"f{number}-")}


def test_a_labelled_film_gets_every_question():
    assert families(ask(film(0, ("Mass",)))) == {
        "binary",
        "single_choice",
        "multiple_choice",
        "diagnosis",
        "report",
        "view",
        "image_text_matching",
    }


def test_an_unlabelled_film_is_asked_about_by_view_and_report_only():
    tasks = ask(film(0, None, sections={"findings": "Clear.", "impression": "Normal."}, indication="Cough."))
    assert families(tasks) == {
        "view",
        "image_text_matching",
        "findings",
        "findings_with_indication",
        "impression",
        "impression_with_indication",
    }
    (matching,) = (task for task in tasks if task.family == "image_text_matching")
    assert matching.question.endswith("Normal.") and matching.gold == ("A",)  # no other text is there


def test_no_list_of_all_findings_is_asked_if_one_is_unsure():
    tasks = ask(film(0, ("Mass",), unsure=("Edema",)))
    assert "diagnosis" not in families(tasks) and "single_choice" in families(tasks)
    assert not any("Edema" in text for task in tasks for text in (task.question, *task.options.values(), *task.gold))


def test_a_description_is_asked_only_for_vocabularies_that_fit_in_one():
    many = tuple(f"finding {number}" for number in range(31))
    assert "report" in families(ask(film(0, (many[0],)), vocabulary=many[:30]))
    assert "report" not in families(ask(film(0, (many[0],)), vocabulary=many))


def test_progression_compares_neighbours_in_time():
    later = film(0, ("Mass",), order=3.0)
    lateral = film(1, (), order=2.0, view="Lateral")
    earlier = film(2, ("Mass", "Edema"), order=1.0)
    other = film(3, ("Mass",), patient="q", order=0.0)
    progression = [task for task in ask(later, lateral, earlier, other) if task.family == "progression"]
    assert [task.images for task in progression] == [("2.png", "0.png")]
    finding = progression[0].question.removeprefix("What became of ").removesuffix(" since the prior film?")
    change = progression[0].options[progression[0].gold[0]]
    assert change == {"Mass": "Still present", "Edema": "Resolved"}.get(finding, "Still absent")
    assert not [task for task in ask(film(0, (), order=1.0), film(1, (), order=1.0)) if task.family == "progression"]


def test_boxes_of_a_finding_are_one_question():
    boxes = (("Mass", 0, 0, 50, 50), ("Edema", 10, 10, 20, 20), ("Mass", 50, 50, 100, 100), ("Mass", 0, 0, 50, 50))
    tasks = [task for task in ask(film(0, ("Mass",), boxes=boxes, size=(100, 100))) if task.family == "grounding"]
    assert [task.gold for task in tasks] == [("[0, 0, 500, 500]", "[500, 500, 1000, 1000]"), ("[100, 100, 200, 200]",)]
    with pytest.raises(TaskSetError, match="row 0: the box .* of Mass holds nothing"):
        ask(film(0, ("Mass",), boxes=(("Mass", 200, 0, 250, 50),), size=(100, 100)))


def test_boxes_of_a_sentence_are_one_question():
    phrases = (("Basal opacity.", 0, 0, 1, 0.5), ("A line.", 0.25, 0, 1, 1), ("Basal opacity.", 0, 0.5, 1, 1))
    tasks = ask(film(0, None, phrases=phrases, size=(1, 1), view=""))
    assert [(task.id, task.family, task.gold) for task in tasks] == [
        ("f0-phrase-0", "phrase_grounding", ("[0, 0, 1000, 500]", "[0, 500, 1000, 1000]")),
        ("f0-phrase-1", "phrase_grounding", ("[250, 0, 1000, 1000]",)),
    ]
    assert '"Basal opacity."' in tasks[0].question


def test_nothing_is_asked_about_what_nobody_looked_for():
    vocabulary = (*VOCABULARY, "Hernia", "Fibrosis")
    for seed in range(10):
        first = film(0, ("Mass",), unasked=("Hernia", "Fibrosis"), order=1.0)
        second = film(1, (), unasked=("Edema",), order=2.0)
        for task in ask(first, second, vocabulary=vocabulary, seed=seed):
            hidden = {"Hernia", "Fibrosis"} if task.id.startswith("f0") else {"Edema"}
            if task.family == "progression":
                hidden = {"Hernia", "Fibrosis", "Edema"}
            words = " ".join((task.question, *task.options.values(), *task.gold, task.reference))
            assert not [name for name in hidden if name in words], task


def test_one_finding_is_no_list_to_choose_from():
    for findings, gold in ((("Mass",), "A"), ((), "B")):
        tasks = ask(film(0, findings, view=""), vocabulary=("Mass",))
        assert {task.family for task in tasks} == {"binary", "report", "image_text_matching"}
        assert next(task.gold for task in tasks if task.family == "binary") == (gold,)


def test_every_wrong_option_has_its_reason():
    reasons = {}
    for seed in range(20):
        healthy = film(1, (), patient="q")
        for task in ask(film(0, ("Mass",), denied=("Edema",)), healthy, seed=seed):
            if task.id.startswith("f0") and task.family in ("binary", "single_choice", "multiple_choice"):
                assert task.why_wrong.keys() == task.options.keys() - set(task.gold), task
                finding = task.question.removeprefix("Is there ").rstrip("?")
                for letter, reason in task.why_wrong.items():
                    name = finding if task.family == "binary" else task.options[letter]
                    reasons.setdefault(name, set()).add(reason)
    assert reasons == {
        "Edema": {"labelled absent"},
        "Effusion": {"not mentioned"},
        "Nodule": {"not mentioned"},
        "Mass": {"labelled present"},
        "No finding": {"the film shows a finding"},
    }


def test_wrong_options_are_those_that_go_with_the_findings_of_the_film():
    vocabulary = tuple(f"finding {number}" for number in range(20))
    # 0 and 1 are always seen together but in the film that is asked about; the others each alone
    films = [film(number, vocabulary[:2], patient=f"p{number}") for number in range(1, 20)]
    films += [film(20 + number, (vocabulary[2 + number],), patient=f"q{number}") for number in range(18)]
    offered = Counter()
    for seed in range(60):
        tasks = ask(film(0, vocabulary[:1]), *films, vocabulary=vocabulary, seed=seed)
        (task,) = (task for task in tasks if task.id == "f0-single_choice")
        offered.update(task.options[letter] for letter in task.why_wrong)
    assert offered["finding 1"] > 45 and max(offered[name] for name in vocabulary[2:]) < 30


def test_unsure_findings_are_asked_about_on_request_beside_sure_ones():
    films = [film(0, ("Mass",), unsure=("Edema", "not of the vocabulary")), film(1, ("Mass",)), film(2, None)]
    plain = ask(*films)
    asked = [task for task in ask(*films, uncertain=True) if task not in plain]
    assert len(asked) == 2 and {task.family for task in asked} == {"certainty"}
    assert [task for task in ask(*films, uncertain=True) if task in plain] == plain
    unsure, sure = asked
    assert (unsure.question, unsure.options[unsure.gold[0]]) == ("Is there Edema?", "Uncertain")
    right = "Yes" if "Mass" in sure.question else "No"
    assert sure.options[sure.gold[0]] == right and unsure.options == sure.options


def test_the_seed_decides():
    films = [film(number, (VOCABULARY[number % 4],), patient=f"p{number}", view="") for number in range(6)]
    assert ask(*films) == ask(*films) != ask(*films, seed=1)


def test_words_of_a_trace_and_numbers_of_a_text():
    assert describe("Mass", True) == "Mass is seen." and describe("Mass", False) == "Mass is not seen."
    assert describe("No finding", True) == "Nothing is seen."
    assert unit("0:p1") == unit("0:p1") != unit("0:p2") and 0 <= unit("") < 1
    assert unit("abc") == int("ba7816bf8f01", 16) / 2**48  # SHA-256 of "abc", FIPS 180-2
