import pytest

from curriculum.importers.parts.film_questions import describe, film_questions, unit
from curriculum.importers.parts.label import Label
from curriculum.questions import LabelledFilm
from curriculum.taskset import TaskSetError

VOCABULARY = ("Edema", "Effusion", "Mass", "Nodule")


def film(number: int, findings=(), patient="p", view="PA", **changes):
    label = Label(f"row {number}", f"f{number}", f"{number}.png", patient, findings, **changes)
    provenance = {"view": view} if view else {}
    shown = LabelledFilm(label.id, label.file, findings or (), "train", patient, provenance, unsure=label.unsure)
    return label, shown


def ask(*films, vocabulary=VOCABULARY, seed=0):
    return list(film_questions(films, vocabulary, seed))


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


def test_the_seed_decides():
    films = [film(number, (VOCABULARY[number % 4],), patient=f"p{number}", view="") for number in range(6)]
    assert ask(*films) == ask(*films) != ask(*films, seed=1)


def test_words_of_a_trace_and_numbers_of_a_text():
    assert describe("Mass", True) == "Mass is seen." and describe("Mass", False) == "Mass is not seen."
    assert describe("No finding", True) == "Nothing is seen."
    assert unit("0:p1") == unit("0:p1") != unit("0:p2") and 0 <= unit("") < 1
    assert unit("abc") == int("ba7816bf8f01", 16) / 2**48  # SHA-256 of "abc", FIPS 180-2
