import json

import pytest

from curriculum.importers.questions.rexvqa import import_rexvqa
from curriculum.taskset import TaskSetError, read_tasks
from tests.support.data_sets import assert_gold_is_answerable, draw_film


def question(films=("a/1.png",), **changes):
    return (
        dict(
            question="Which finding is seen?",
            options=["A. No pleural effusion", "B. Small effusion", "C. Mass", "D. Hernia"],
            correct_answer="B",
            correct_answer_explanation="The angle is blunted.",
            study_id="p1_st1",
            PatientID="GRDN1",
            PatientAge="058Y",
            PatientSex="F",
            Indication="Cough.  Fever.",
            ImagePath=[f"../deid_png/GRDN1/{film}" for film in films],
            ImageViewPosition=["PA", "LATERAL"][: len(films)],
        )
        | changes
    )


QUESTIONS = {
    "q1": question(),
    "q2": question(("a/1.png", "b/2.png"), Indication="___"),
    "q3": question(ImagePath="['../deid_png/GRDN1/a/1.png']", options="['A. Yes', 'B. No']"),
    "q4": question(correct_answer="E"),
    "q5": question(options=["A. Mass", "C. Mass"]),
    "q6": question(ImagePath=[]),
    "q7": question(("c/3.png",), PatientID="GRDN2"),
}


def rexvqa(folder, questions=QUESTIONS, name="train_vqa_data.json"):
    for film in ("a/1.png", "b/2.png", "c/3.png"):
        draw_film(folder / f"deid_png/GRDN1/{film}")
    (folder / name).write_text(json.dumps(questions))
    return import_rexvqa(folder / "deid_png", folder / name, folder / "out"), read_tasks(folder / "out")


def test_questions_become_tasks_on_all_films_of_their_study(tmp_path):
    summary, tasks = rexvqa(tmp_path)
    found = {task.id.rpartition("-")[2]: task for task in tasks}
    assert list(found) == ["q1", "q2", "q3", "q7"]
    assert found["q1"].options["B"] == "Small effusion" and found["q1"].gold == ("B",)
    assert found["q1"].context == "Indication: Cough. Fever." and found["q2"].context == ""
    assert (found["q1"].sex, found["q1"].age, found["q1"].split) == ("F", 58.0, "train")
    assert found["q1"].captions == () and found["q2"].captions == ("PA", "LATERAL")
    assert [path[-7:] for path in found["q2"].images] == ["a/1.png", "b/2.png"]
    assert found["q3"].options == {"A": "Yes", "B": "No"}
    assert [found[id].patient for id in ("q1", "q2", "q7")] == ["GRDN1", "GRDN1", "GRDN2"]
    assert summary.skipped == {
        "whose answer is none of its options": 1,
        "whose options are not lettered A, B, … in order (2 to 7 of them)": 1,
        "without an image": 1,
    }
    assert_gold_is_answerable(tasks)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"options": [1, 2]}, "'options' must be a list of texts"),
        ({"ImagePath": {"a": 1}}, "'ImagePath' must be a list of texts"),
        ({"correct_answer": ["B"]}, "'correct_answer' must be text"),
    ],
)
def test_bad_questions_are_named_in_one_line(tmp_path, changes, words):
    with pytest.raises(TaskSetError, match=f"question 'q1'.*{words}") as caught:
        rexvqa(tmp_path, {"q1": question(**changes)})
    assert "\n" not in str(caught.value)


def test_a_list_is_refused(tmp_path):
    with pytest.raises(TaskSetError, match="an object of objects is needed"):
        rexvqa(tmp_path, [question()])
