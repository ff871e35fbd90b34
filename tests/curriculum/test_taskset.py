from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curriculum.phantoms.phantom_set import PhantomConfig, draw_phantom_set
from curriculum.task import Task
from curriculum.taskset import TaskSetError, read_tasks, write_tasks

ROW = dict(
    id="t0",
    domain="closed",
    family="single_choice",
    question="Which?",
    options={"A": "Mass", "B": "Edema"},
    gold=["B"],
    images=["x.png"],
    split="train",
)


def save(folder: Path, *rows: dict) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), folder / "tasks.parquet")
    return folder


def test_phantom_set_is_the_same_after_a_round_trip(tmp_path):
    tasks = list(draw_phantom_set(PhantomConfig(train=3, val=2, test=1), tmp_path))
    path = write_tasks(tasks, tmp_path)
    assert path == tmp_path / "tasks.parquet"
    assert read_tasks(tmp_path) == read_tasks(path) == tasks
    assert read_tasks(path, splits=["val", "test"]) == [task for task in tasks if task.split != "train"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["images", "tasks.parquet"]


def test_images_inside_the_folder_move_with_it_and_others_stay(tmp_path):
    (tmp_path / "set").mkdir()
    inside, outside = tmp_path / "set/images/a.png", tmp_path / "settled/b.png"
    task = Task(id="t", domain="open", family="diagnosis", question="?", gold=(), images=(str(inside), str(outside)))
    write_tasks([task], tmp_path / "set")
    (tmp_path / "set").rename(tmp_path / "moved")
    assert read_tasks(tmp_path / "moved")[0].images == (str(tmp_path / "moved/images/a.png"), str(outside))


def test_a_failed_write_leaves_the_old_file(tmp_path):
    task = Task(id="t", domain="open", family="diagnosis", question="?", gold=(), images=("x.png",))
    path = write_tasks([task], tmp_path)
    before = path.read_bytes()
    with pytest.raises(TaskSetError, match="row 1 .*row 0 has the same id"):
        write_tasks([task, task], tmp_path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"gold": ["C"]}, ["row 1 (0-based)", "'t0'", "['C'] is not among the options ['A', 'B']"]),
        ({"id": "t"}, ["row 1 (0-based)", "'t'", "row 0 has the same id"]),
        ({"split": "dev"}, ["row 1", "split", "'train', 'val' or 'test'", "'dev'"]),
        ({"question": None}, ["row 1", "question", "valid string", "None"]),
        ({"split": None}, ["row 1", "split", "'train', 'val' or 'test'"]),
        ({"domain": "open"}, ["row 1", "no options"]),
    ],
)
def test_a_bad_row_is_named_in_one_line(tmp_path, changes, words):
    save(tmp_path, ROW | {"id": "t"}, ROW | changes)
    with pytest.raises(TaskSetError) as caught:
        read_tasks(tmp_path, splits=["val"])  # a bad row is refused in whichever split
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in [str(tmp_path / "tasks.parquet"), *words])


@pytest.mark.parametrize(
    "row, words",
    [
        ({k: v for k, v in ROW.items() if k != "gold"}, "'gold' is missing"),
        (ROW | {"splits": "val"}, "'splits' is unknown"),
        (ROW | {"id": 7}, "row 0 .*task 7: id: .*valid string, found 7"),
        (ROW | {"options": "A, B"}, "options: .*valid dictionary, found 'A, B'"),
    ],
)
def test_bad_columns(tmp_path, row, words):
    save(tmp_path, row)
    with pytest.raises(TaskSetError, match=words):
        read_tasks(tmp_path)


def test_bad_files_and_splits(tmp_path):
    with pytest.raises(TaskSetError, match="tasks.parquet: no such file"):
        read_tasks(tmp_path)
    (tmp_path / "tasks.parquet").write_text("id,gold\n")
    with pytest.raises(TaskSetError, match="not a readable Parquet file"):
        read_tasks(tmp_path)
    with pytest.raises(ValueError, match="no such split"):
        read_tasks(tmp_path, splits="train")


def test_hand_made_rows_may_leave_out_what_has_a_default(tmp_path):
    three = {"A": "Mass", "B": "Edema", "C": "Hernia"}
    save(tmp_path, ROW | {"options": three, "view": "PA"}, ROW | {"id": "t1", "view": None})
    assert [(task.options, task.view) for task in read_tasks(tmp_path)] == [(three, "PA"), (ROW["options"], "")]


def test_the_reasons_of_wrong_options_are_kept_and_old_files_have_none(tmp_path):
    save(tmp_path, ROW)
    (old,) = read_tasks(tmp_path)
    assert old.why_wrong == {}
    known = old.model_copy(update={"why_wrong": {"A": "labelled absent"}})
    write_tasks([known], tmp_path)
    assert read_tasks(tmp_path) == [known]
    save(tmp_path, ROW | {"why_wrong": "none"})
    with pytest.raises(TaskSetError, match="why_wrong: .*valid dictionary, found 'none'"):
        read_tasks(tmp_path)


def test_lists_and_options_in_texts(tmp_path):
    written = dict(options='{"A": "Mass", "B": "Edema"}', gold="['B']", images='["x.png"]')
    save(tmp_path, ROW | written)
    plain = tmp_path / "plain"
    plain.mkdir()
    save(plain, ROW | {"images": [str(tmp_path / "x.png")]})
    assert read_tasks(tmp_path) == read_tasks(plain)


@pytest.mark.parametrize("gold", ["B", "['B'", "[B]", "{'B'}", "[" * 5000])
def test_texts_that_are_no_lists_are_refused(tmp_path, gold):
    save(tmp_path, ROW | {"gold": gold})
    with pytest.raises(TaskSetError, match="row 0 .*gold: ") as caught:
        read_tasks(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_age_that_is_not_a_number_is_not_known(tmp_path):
    save(tmp_path, ROW | {"age": float("nan")}, ROW | {"id": "t1", "age": 40.0})
    assert [task.age for task in read_tasks(tmp_path)] == [None, 40.0]


def test_bytes_that_are_no_utf_8_are_named_with_row_and_column(tmp_path):
    save(tmp_path, ROW, ROW | {"id": "t1", "question": "caf?"})
    table = pq.read_table(tmp_path / "tasks.parquet")
    bad = pa.array([b"Which?", b"caf\xe9"]).cast(pa.binary()).view(pa.string())
    place = table.schema.get_field_index("question")
    pq.write_table(table.set_column(place, "question", bad), tmp_path / "tasks.parquet")
    with pytest.raises(TaskSetError, match=r"row 1 \(0-based\), column 'question': not UTF-8 .*; write texts as UTF-8"):
        read_tasks(tmp_path)


def test_paths_with_dots_and_backslashes(tmp_path):
    (tmp_path / "img").mkdir()
    (tmp_path / "img/x.png").touch()
    names = ["./img/x.png", "img//x.png", "img\\x.png", "../" + tmp_path.name + "/img/x.png", ".\\img\\x.png"]
    save(tmp_path, *(ROW | {"id": str(number), "images": [name]} for number, name in enumerate(names)))
    assert {task.images for task in read_tasks(tmp_path)} == {(str(tmp_path / "img/x.png"),)}


def test_a_set_without_a_task_is_not_written(tmp_path):
    with pytest.raises(TaskSetError, match="there is no task to write"):
        write_tasks([], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
