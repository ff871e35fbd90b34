"""What importers of ready questions share; the importers' own tests go through `import_questions` as well."""

from collections import Counter
from pathlib import Path

import pytest

from curriculum.importers.parts.ready_questions import (
    ReadyQuestion,
    files_of,
    import_questions,
    read_json,
    read_split,
    text_of,
)
from curriculum.task import Task
from curriculum.taskset import TaskSetError, read_tasks
from tests.support.data_sets import draw_film

FILE = Path("questions.json")


def question(number: int, *images: str, split: str = "", patient: str = "") -> ReadyQuestion:
    task = Task(id=f"q{number}", domain="open", family="vqa", question="?", gold=(), images=images)
    return ReadyQuestion(f"row {number}", task, split, patient)


def test_questions_that_images_link_have_one_split_and_patient(tmp_path):
    for name in "abcde":
        draw_film(tmp_path / f"imgs/{name}.png")
    questions = [
        question(0, "a.png", "b.png"),
        question(1, "c.png"),
        question(2, "b.png", "d.png"),
        question(3, "e.png"),
    ]
    summary = import_questions(questions, tmp_path / "imgs", FILE, tmp_path / "out", 0, Counter())
    patients = {task.id: task.patient for task in read_tasks(tmp_path / "out")}
    assert patients == {"q0": "a.png", "q1": "c.png", "q2": "a.png", "q3": "e.png"}
    assert summary.films == 5 and summary.rows == "questions"
    given = [question(0, "a.png", split="train"), question(1, "a.png", split="test")]
    with pytest.raises(TaskSetError, match="row 1: patient 'a.png' is in split 'test' here and in 'train' above"):
        import_questions(given, tmp_path / "imgs", FILE, tmp_path / "out", 0, Counter())


def test_patients_that_the_set_names_are_kept_and_link_their_images(tmp_path):
    for name in "abcd":
        draw_film(tmp_path / f"imgs/{name}.png")
    questions = [
        question(0, "b.png", patient="p2"),
        question(1, "a.png", patient="p2"),
        question(2, "a.png"),
        question(3, "c.png", patient="p1"),
        question(4, "d.png"),
    ]
    import_questions(questions, tmp_path / "imgs", FILE, tmp_path / "out", 0, Counter())
    patients = {task.id: task.patient for task in read_tasks(tmp_path / "out")}
    assert patients == {"q0": "p2", "q1": "p2", "q2": "p2", "q3": "p1", "q4": "d.png"}


def test_absolute_paths_need_no_folder_and_missing_images_are_named(tmp_path):
    draw_film(tmp_path / "a.png")
    questions = [question(0, str(tmp_path / "a.png")), question(1, str(tmp_path / "gone.png"))]
    skipped = Counter()
    summary = import_questions(questions, None, FILE, tmp_path / "out", 0, skipped)
    assert [task.id for task in read_tasks(tmp_path / "out")] == ["q0"]
    assert summary.missing == [str(tmp_path / "gone.png")] and skipped == {"without their image file": 1}
    with pytest.raises(TaskSetError, match="row 2: image 'b.png' is a file; the image folder is needed"):
        import_questions([question(2, "b.png")], None, FILE, tmp_path / "out", 0, Counter())
    with pytest.raises(
        TaskSetError, match="questions.json: no image is there, the first would be b.png; skipped 2 .* odd"
    ):
        import_questions([question(2, "b.png")], tmp_path, FILE, tmp_path / "out", 0, Counter({"that are odd": 2}))


@pytest.mark.parametrize(
    "given, name, split",
    [
        ("validate", "x.json", "val"),
        ("Test", "train.json", "test"),
        (None, "train-00000-of-00001.parquet", "train"),
        (None, "slake_test.json", "test"),
        (None, "questions.json", ""),
        (None, "train_and_test.json", ""),
        ("", "dev.jsonl", "val"),
    ],
)
def test_splits_of_rows_and_file_names(given, name, split):
    assert read_split(given, Path(name), "row 0") == split


def test_a_row_of_no_split_is_refused():
    with pytest.raises(TaskSetError, match="row 0: split 'fold 1' must be train, val or test"):
        read_split("fold 1", Path("train.json"), "row 0")


def test_files_of_a_folder_or_a_file(tmp_path):
    for name in ("b.json", "a.jsonl", "c.txt"):
        (tmp_path / name).write_text("[]")
    assert files_of(tmp_path, (".json", ".jsonl")) == [tmp_path / "a.jsonl", tmp_path / "b.json"]
    assert files_of(tmp_path / "b.json", (".json",)) == [tmp_path / "b.json"]
    for path, words in ((tmp_path / "c.txt", "a .json file, or a folder"), (tmp_path / "d.json", "is needed here")):
        with pytest.raises(TaskSetError, match=words):
            files_of(path, (".json",))
    with pytest.raises(TaskSetError, match="no .parquet file is in this folder"):
        files_of(tmp_path, (".parquet",))


def test_objects_of_both_kinds_of_json(tmp_path):
    (tmp_path / "a.json").write_text('[{"a": 1}, {"b": "é"}]', encoding="utf-8-sig")
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n\n{"b": "é"}\n', encoding="utf-8")
    assert list(read_json(tmp_path / "a.json")) == list(read_json(tmp_path / "a.jsonl")) == [{"a": 1}, {"b": "é"}]
    for name, text, words in (
        ("x.jsonl", '{"a": 1}\n[2]\n', r"row 1 .* is \[2\]; an object a line is needed"),
        ("x.json", "3", "a list of objects is needed"),
        ("y.jsonl", "{", "not a readable JSON file; an object a line is needed"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(TaskSetError, match=words):
            list(read_json(tmp_path / name))


def test_an_object_of_objects_gives_each_its_key(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"x": {"a": 1}, "y": {"id": "other"}}')
    assert list(read_json(path, key="id")) == [{"a": 1, "id": "x"}, {"id": "y"}]
    for text, words in (("[]", "an object of objects is needed"), ('{"x": 1}', "row 0 .* is 1; an object of objects")):
        path.write_text(text)
        with pytest.raises(TaskSetError, match=words):
            list(read_json(path, key="id"))


def test_text_of_a_field():
    assert text_of({"a": " x "}, "a", "row 0") == "x" and text_of({"a": 12}, "a", "row 0") == "12"
    for value in (
        None,
        "",
        float("nan"),
        float("inf"),
        "nan",
        " NaN ",
        "<NA>",
        "NaT",
        "null",
        "N/A",
        "XXXX",
        "[**x**]",
    ):
        assert text_of({"a": value}, "a", "row 0") == "", value
    for value in (True, ["x"]):
        with pytest.raises(TaskSetError, match=r"row 0: 'a' must be text, found .*; the fields are \['a'\]"):
            text_of({"a": value}, "a", "row 0")
