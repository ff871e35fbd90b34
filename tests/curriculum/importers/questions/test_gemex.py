import json

import pytest

from curriculum.importers.questions.gemex import import_gemex
from curriculum.taskset import TaskSetError, read_tasks
from tests.support.data_sets import assert_gold_is_answerable, mimic_tables

FILMS = {"aa": (10000001, 50000001, "AP", "train"), "bb": (10000002, 50000002, "PA", "test")}
CHOICES = ["A: Right lung", "B: Cardiac region, left", "C: Spine"]


def line(question, answer, **changes):
    path = "p10/p10000001/s50000001/aa.jpg"
    common = dict(
        type="finding", reason="The report says so.", visual_regions=["spine"], visual_locations=[[1, 2, 3, 4]]
    )
    return dict(question=question, answer=answer, image_path=path, q_id=0, row_id="row_0", **common) | changes


def talk(asked, said):
    turns = [{"from": "human", "value": f"<image>\n{asked}"}, {"from": "gpt", "value": said}]
    return dict(conversations=turns, row_id=18, q_type="…", image="p10/p10000002/s50000002/bb.jpg")


LINES = [
    line("Is there evidence of pneumonia?", "No."),
    line("Where?", "B", choices=CHOICES),
    line("Which regions?", ["A", "C"], choices=CHOICES),
    line("What does it suggest?", "Restrictive lung disease."),
    line("What is the significance?", "They indicate that the patient has had cardiac surgery before."),
    line("Where?", "G", choices=CHOICES),
]
TALKS = [
    talk("Is the heart enlarged?", "<answer> Yes. <reason> It is wide. <location> [[36, 82, 180, 187]]"),
    talk("Where? <choices>: [A: Right lung, B: Cardiac region, left, C: Spine]", "<answer> B <reason> … <location> []"),
    talk("Which? <choices>: [A: Right lung, B: Left lung]", "<answer> ['A', 'B'] <reason> … <location> []"),
    talk("What?", "It is edema."),
]


def gemex(folder, lines=LINES, talks=TALKS, **options):
    tables = mimic_tables(folder, FILMS)
    (folder / "qa/test").mkdir(parents=True, exist_ok=True)
    (folder / "qa/test/questions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (folder / "qa/sub_training_data.json").write_text(json.dumps(talks))
    options = dict.fromkeys(options, tables)
    return import_gemex(folder / "files", [folder / "qa/test", folder / "qa"], folder / "out", **options), read_tasks(
        folder / "out"
    )


def test_lines_and_conversations_become_tasks(tmp_path):
    summary, tasks = gemex(tmp_path, tables=True)
    assert [(task.family, task.gold) for task in tasks] == [
        ("binary", ("B",)),
        ("single_choice", ("B",)),
        ("multiple_choice", ("A", "C")),
        ("vqa", ("Restrictive lung disease",)),
        ("binary", ("A",)),
        ("single_choice", ("B",)),
        ("multiple_choice", ("A", "B")),
    ]
    assert tasks[5].question == "Where?" and tasks[5].options["B"] == "Cardiac region, left" == tasks[1].options["B"]
    assert {(task.patient, task.split, task.view) for task in tasks} == {
        ("p10000001", "train", "AP"),
        ("p10000002", "test", "PA"),
    }
    assert summary.skipped == {
        "whose answer is no list of names": 1,
        "whose answer is none of its options": 1,
        "whose answer is not marked by <answer>": 1,
    }
    assert_gold_is_answerable(tasks)


def test_without_tables_paths_give_the_patients_and_files_or_folders_the_splits(tmp_path):
    _, tasks = gemex(tmp_path)
    splits = {task.patient: task.split for task in tasks}
    assert splits.keys() == {"p10000001", "p10000002"} and splits["p10000001"] == "test"
    assert splits["p10000002"] in ("train", "val")  # a set without val gives some of train to it


@pytest.mark.parametrize(
    "lines, talks, words",
    [
        ([line("Where?", "A", choices="A: Spine")], [], "questions.jsonl: row 0 .*'choices' must be a list of texts"),
        (
            [],
            [talk("a", "b") | {"conversations": [1]}],
            "sub_training_data.json: row 0 .*'conversations' must be a question and an",
        ),
        ([line("What?", {"a": 1})], [], "questions.jsonl: row 0 .*'answer' must be text"),
    ],
)
def test_bad_rows_are_named_in_one_line(tmp_path, lines, talks, words):
    with pytest.raises(TaskSetError, match=words) as caught:
        gemex(tmp_path, lines, talks)
    assert "\n" not in str(caught.value)
