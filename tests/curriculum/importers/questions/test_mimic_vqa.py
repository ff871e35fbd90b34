import json

import pytest

from curriculum.importers.questions.mimic_vqa import import_mimic_vqa
from curriculum.taskset import TaskSetError, read_tasks
from tests.support.data_sets import assert_gold_is_answerable, mimic_tables

FILMS = {"aa": (10000001, 50000001, "AP", "test"), "bb": (10000001, 50000002, "PA", "test")}


def row(idx, kind, question, answer, image="aa", **arguments):
    empty = {name: {} for name in ("object", "attribute", "category", "viewpos", "gender")}
    return dict(
        split="train",
        idx=idx,
        subject_id="10000001",
        study_id="50000001",
        image_id=image,
        image_path=f"p10/p10000001/s50000001/{image}.jpg",
        question=question,
        semantic_type=kind,
        content_type="presence",
        template_arguments=empty | arguments,
        answer=answer,
    )


TWO = {"object": {"0": "left lung"}, "attribute": {"0": "edema", "1": "copd/emphysema"}}
ROWS = [
    row(0, "verify", "Is there edema?", ["no"]),
    row(1, "choose", "Edema or copd/emphysema in the left lung?", ["edema"], **TWO),
    row(2, "choose", "Which of edema and copd/emphysema?", ["edema", "copd/emphysema"], "bb", **TWO),
    row(3, "choose", "Edema or copd/emphysema?", [], **TWO),
    row(4, "query", "What is there?", ["copd/emphysema", "cardiac pacer and wires"]),
    row(5, "query", "List the devices.", []),
    row(6, "verify", "Is there a mass?", []),
    row(7, "choose", "AP or PA?", ["ap"]),
]


def mimic_vqa(folder, rows=ROWS, name="train.json", tables=False):
    films = mimic_tables(folder, FILMS)
    (folder / "qa").mkdir(exist_ok=True)
    (folder / "qa" / name).write_text(json.dumps(rows))
    options = {"tables": films} if tables else {}
    summary = import_mimic_vqa(folder / "files", folder / "qa", folder / "out", **options)
    return summary, read_tasks(folder / "out")


def test_rows_become_tasks_by_their_semantic_type(tmp_path):
    summary, tasks = mimic_vqa(tmp_path)
    assert [(task.family, list(task.options.values()), task.gold) for task in tasks] == [
        ("binary", ["Yes", "No"], ("B",)),
        ("single_choice", ["edema", "copd/emphysema"], ("A",)),
        ("multiple_choice", ["edema", "copd/emphysema"], ("A", "B")),
        ("vqa", [], ("copd-emphysema", "cardiac pacer with wires")),
        ("vqa", [], ()),
    ]
    assert summary.skipped == {
        "that choose neither of their values": 1,
        "that verify something and are answered by neither yes nor no": 1,
        "that do not say between which two values to choose": 1,
    }
    assert {(task.patient, task.split, task.view) for task in tasks} == {("p10000001", "train", "")}
    assert_gold_is_answerable(tasks)


def test_the_tables_of_mimic_give_views_and_its_splits(tmp_path):
    _, tasks = mimic_vqa(tmp_path, tables=True)
    assert {(task.images[0][-6:], task.split, task.view) for task in tasks} == {
        ("aa.jpg", "test", "AP"),
        ("bb.jpg", "test", "PA"),
    }


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"answer": "Will be generated"}, "'answer' must be a list of texts.*the file with answers is needed"),
        ({"split": "fold"}, "split 'fold' must be train, val or test"),
    ],
)
def test_bad_rows_are_named_in_one_line(tmp_path, changes, words):
    with pytest.raises(TaskSetError, match=f"row 0 .*{words}") as caught:
        mimic_vqa(tmp_path, [ROWS[0] | changes])
    assert "\n" not in str(caught.value)
