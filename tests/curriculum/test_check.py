"""A fault put into a clean set is reported, at its row, and nothing else is."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curriculum.check import check_tasks
from curriculum.importers.labels.nih import import_nih
from curriculum.summary import Summary
from curriculum.taskset import TaskSetError, read_tasks
from tests.support.task_sets import copy_of, faults_of, save_rows

REAL = Path(__file__).parents[2] / "../shared/data/cxr"

# Which rows it can be done to, what, and the kind that must be told of it. # stands for the row's number.
CHANGES = {
    "gold not among the options": (lambda row: row["options"], {"gold": ["G"]}, "answer"),
    "gold twice": (lambda row: row["options"], {"gold": ["A", "A"]}, "answer"),
    "no gold": (lambda row: row["options"], {"gold": []}, "answer"),
    "one option": (lambda row: row["options"], {"options": [("A", "Mass")], "gold": ["A"]}, "answer"),
    "box that is none": (lambda row: row["form"] == "boxes", {"gold": ["[5, 5, 5, 9]"]}, "answer"),
    "form of another domain": (lambda row: True, {"domain": "open", "form": "letters"}, "answer"),
    "empty question": (lambda row: True, {"question": ""}, "question"),
    "blank question": (lambda row: True, {"question": " \n"}, "question"),
    "no question": (lambda row: True, {"question": None}, "question"),
    "no id": (lambda row: True, {"id": None}, "id"),
    "unknown split": (lambda row: True, {"split": "dev"}, "split"),
    "unknown domain": (lambda row: True, {"domain": "closd"}, "domain"),
    "age beyond life": (lambda row: True, {"age": 580.0}, "age"),
    "a caption too many": (lambda row: True, {"captions": ["prior film", "current film"]}, "answer"),
    "missing image": (lambda row: True, {"images": ["images/gone#.png"]}, "image"),
    "broken image": (lambda row: True, {"images": ["images/cut#.png"]}, "image"),
    "text for an image": (lambda row: True, {"images": ["images/text#.png"]}, "image"),
}


@settings(max_examples=60)
@given(st.data())
def test_what_is_put_in_is_reported_and_nothing_else(clean_set, tmp_path_factory, data):
    folder, rows = clean_set
    rows = [dict(row) for row in rows]
    where = data.draw(st.lists(st.integers(0, len(rows) - 1), unique=True, max_size=6))
    wanted = Counter()
    for number in where:
        possible = [name for name, (fits, *_) in CHANGES.items() if fits(rows[number])]
        _, change, kind = CHANGES[data.draw(st.sampled_from(possible))]
        rows[number].update(change)
        rows[number]["images"] = [image.replace("#", str(number)) for image in rows[number]["images"]]
        wanted[number, kind] += 1
    # Between rows: an id of a row above, and the split of another patient's film.
    untouched = [n for n in range(len(rows)) if n not in where]
    if data.draw(st.booleans()):
        first, second = sorted(data.draw(st.lists(st.sampled_from(untouched), min_size=2, max_size=2, unique=True)))
        rows[second]["id"] = rows[first]["id"]
        wanted[second, "duplicate id"] += 1
    if data.draw(st.booleans()):
        number = data.draw(st.sampled_from(untouched))
        patient = rows[number]["patient"]
        above = [row for row in rows[:number] if row["patient"] == patient and row["split"] == rows[number]["split"]]
        below = [
            row for row in rows[number + 1 :] if row["patient"] == patient and row["split"] == rows[number]["split"]
        ]
        unnamed = data.draw(st.booleans())
        if unnamed:  # then the image tells
            for row in rows:
                row["patient"] = ""
            above, below = ([row for row in part if row["images"] == rows[number]["images"]] for part in (above, below))
        rows[number]["split"] = "test" if rows[number]["split"] != "test" else "train"
        late = [number] if above else [rows.index(row) for row in below]  # the first row of a patient decides
        wanted.update((n, "two splits") for n in late)
    checked = list(check_tasks(save_rows(copy_of(folder, tmp_path_factory), rows)))
    assert faults_of(checked) == wanted
    assert [row.number for row in checked] == list(range(len(rows)))
    of_others = {"image", "duplicate id", "two splits"}
    assert all((row.task is None) == bool({fault.kind for fault in row.faults} - of_others) for row in checked)


def test_faults_of_one_row_are_all_told(clean_set, tmp_path_factory):
    folder, rows = clean_set
    rows = [dict(row) for row in rows]
    rows[7] |= {
        "id": rows[0]["id"],
        "question": "",
        "age": -1.0,
        "images": ["images/cut7.png", "images/gone.png"],
        "patient": rows[-1]["patient"],
        "split": rows[0]["split"],
    }
    checked = list(check_tasks(save_rows(copy_of(folder, tmp_path_factory), rows)))
    of_row = {key: count for key, count in faults_of(checked).items() if key[0] == 7}
    assert of_row == {(7, "question"): 1, (7, "age"): 1, (7, "duplicate id"): 1, (7, "image"): 2}
    told = [checked[7].describe(fault) for fault in checked[7].faults]
    assert all(line.startswith(f"row 7 (0-based), task {rows[0]['id']!r}: ") and "\n" not in line for line in told)
    assert any("gone.png: no such image file" in line for line in told)
    assert any("row 0 has the same id" in line for line in told)


def test_the_first_fault_is_what_read_tasks_raises(clean_set, tmp_path_factory):
    folder, rows = clean_set
    rows = [dict(row) for row in rows]
    rows[3] |= {"question": ""}
    rows[9] |= {"gold": ["G"]}
    copy = save_rows(copy_of(folder, tmp_path_factory), rows)
    row = next(row for row in check_tasks(copy) if row.faults)
    with pytest.raises(TaskSetError) as caught:
        read_tasks(copy)
    assert str(caught.value) == f"{copy / 'tasks.parquet'}: {row.describe(row.faults[0])}"


def test_wrong_columns_are_one_fault_of_the_file(tmp_path):
    pq.write_table(pa.table({"id": ["a"] * 50}), tmp_path / "tasks.parquet")
    with pytest.raises(TaskSetError, match="column 'domain' is missing"):
        next(check_tasks(tmp_path))


def test_every_row_about_a_broken_image_is_told(clean_set, tmp_path_factory):
    folder, rows = clean_set
    rows = [row | {"images": ["images/cut0.png"], "patient": "", "split": "train"} for row in rows[:5]]
    checked = list(check_tasks(save_rows(copy_of(folder, tmp_path_factory), rows)))
    assert faults_of(checked) == {(n, "image"): 1 for n in range(5)} and not any(row.sizes for row in checked)


def test_the_real_set_is_clean(tmp_path):
    if not (REAL / "labels.parquet").exists():
        pytest.skip(f"the real films are not at {REAL}")
    import_nih(REAL / "images", REAL / "labels.parquet", tmp_path)
    summary = Summary()
    for row in check_tasks(tmp_path):
        summary.add(row)
    assert summary.bad_rows == 0 and summary.rows > 11_000
    tables = {table.title: table for table in summary.tables()}
    assert tables["Image files"].rows == [("224 × 224", "1,605")]
    assert {row[0]: row[1:] for row in tables["Films and named patients"].rows}["films"] == (
        "1,157",
        "157",
        "291",
    )
