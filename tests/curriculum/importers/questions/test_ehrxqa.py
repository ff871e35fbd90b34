import json

import pytest

from curriculum.importers.questions.ehrxqa import import_ehrxqa
from curriculum.taskset import TaskSetError, read_tasks
from tests.support.data_sets import assert_gold_is_answerable, mimic_tables

FILMS = {
    "lateral": (10000001, 50000001, "LATERAL", "train"),
    "later": (10000001, 50000001, "PA", "train"),
    "other": (10000002, 50000002, "AP", "test"),
    "side": (10000003, 50000003, "LL", "test"),
}
ASKS_A_FILM = 'select func_vqa("is there edema?", t1.study_id) from tb_cxr as t1'


def row(id, question, answer, **changes):
    common = dict(db_id="mimic_iv_cxr", split="train", id=id, question=question, query=ASKS_A_FILM, is_impossible=False)
    return common | dict(value={"study_id": 50000001}, answer=answer) | changes


ROWS = [
    row(0, "given the 50000001 study, is there edema?", [1]),
    row(1, "is there edema in study 50000002?", [0], value={"study_id": 50000002}),
    row(2, "list all devices in the study 50000001.", ["chest tube", "copd/emphysema"]),
    row(3, "list all devices in the 50000001 study.", []),
    row(4, "what changed since study 50000002?", [1], value={"study_id1": 50000001, "study_id2": 50000002}),
    row(5, "how old is patient 10000001?", [61], query="select age from patients", value={"patient_id": 10000001}),
    row(6, "is there edema in study 50000003?", [1], value={"study_id": 50000003}),
    row(7, "how many in study 50000001?", [3.5]),
    row(8, "is there edema in study 50000001?", [1], is_impossible=True),
]


def ehrxqa(folder, rows=ROWS):
    tables = mimic_tables(folder, FILMS)
    (folder / "train.json").write_text(json.dumps(rows))
    summary = import_ehrxqa(folder / "files", folder / "train.json", tables, folder / "out")
    return summary, read_tasks(folder / "out")


def test_questions_on_one_film_become_tasks_on_the_studys_frontal_film(tmp_path):
    summary, tasks = ehrxqa(tmp_path)
    assert [(task.question, task.family, task.gold, task.images[0].rpartition("/")[2]) for task in tasks] == [
        ("given this study, is there edema?", "binary", ("A",), "later.jpg"),
        ("is there edema in this study?", "binary", ("B",), "other.jpg"),
        ("list all devices in this study.", "vqa", ("chest tube", "copd-emphysema"), "later.jpg"),
        ("list all devices in this study.", "vqa", (), "later.jpg"),
    ]
    assert [(task.patient, task.split, task.view) for task in tasks[:2]] == [
        ("p10000001", "train", "PA"),
        ("p10000002", "test", "AP"),
    ]
    assert summary.skipped == {
        "about more than one study": 1,
        "that do not ask a film": 1,
        "whose study has no frontal film in MIMIC-CXR-JPG's metadata": 1,
        "whose answer is neither yes, no nor names": 1,
        "that cannot be answered": 1,
    }
    assert_gold_is_answerable(tasks)


def test_a_file_without_answers_is_refused(tmp_path):
    with pytest.raises(TaskSetError, match="row 0 .*'answer' must be a list, found None; the file with answers"):
        ehrxqa(tmp_path, [{name: value for name, value in ROWS[0].items() if name != "answer"}])
