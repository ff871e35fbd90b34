"""The user's own table, as people and spreadsheets write it."""

import json
from collections import defaultdict

import pytest

from curriculum.importers.reports.own import import_own
from curriculum.taskset import TaskSetError, read_tasks
from tests.support.data_sets import draw_film

REPORT = "INDICATION: Cough.\nFINDINGS: Small left effusion. ___\nIMPRESSION: Effusion."


@pytest.fixture
def films(tmp_path):
    for number in range(8):
        draw_film(tmp_path / f"films/p{number}/view.png")
    return tmp_path / "films"


def imported(tmp_path, films, text, name="films.csv", encoding="utf-8", **options):
    (tmp_path / name).write_bytes(text.encode(encoding))
    summary = import_own(films, tmp_path / name, tmp_path / "out", **options)
    tasks = defaultdict(list)
    for task in read_tasks(tmp_path / "out"):
        tasks[task.family].append(task)
    return summary, tasks


def test_reports_and_labels_become_every_question(tmp_path, films):
    rows = ["image,patient_id,report,labels,view,sex,age,split\r\n"]
    for number in range(8):
        labels = ("Effusion; cardiomegaly", "No Finding", "effusion|Mass", "")[number % 4]
        split = ("train", "train", "validation", "test")[number % 4]
        rows.append(f'p{number}/view.png,a{number},"{REPORT if number else ""}",{labels},pa,female,064Y,{split}\r\n')
    summary, tasks = imported(tmp_path, films, "".join(rows), encoding="utf-8-sig")
    assert summary.films == 8 and summary.unlabelled == 2 and not summary.skipped
    assert tasks.keys() >= {"binary", "diagnosis", "findings", "impression_with_indication", "view", "report"}
    assert {task.gold for task in tasks["diagnosis"]} == {("Effusion", "cardiomegaly"), (), ("Effusion", "Mass")}
    section = tasks["findings"][0]
    assert section.gold == ("Small left effusion. ___",) and "IMPRESSION: Effusion." in section.report
    assert {(task.sex, task.age, task.view) for task in tasks["binary"]} == {("F", 64.0, "PA")}
    assert {task.split for task in tasks["view"]} == {"train", "val", "test"} and len(tasks["findings"]) == 7


def test_a_table_of_windows_and_of_a_spreadsheet(tmp_path, films):
    """Absolute paths of another machine, ";" between cells, and a list in the cell of labels."""
    rows = [
        "sep=;",
        "Bild;image;labels;patient_id",
        *(f"{n};C:\\Data\\films\\p{n}\\view.png;{'Mass, Edema' if n else 'Effusion'};{n}" for n in range(8)),
        ";;;",
    ]
    summary, tasks = imported(tmp_path, films, "\r\n".join(rows), encoding="utf-8-sig")
    assert summary.films == 8 and {task.gold for task in tasks["diagnosis"]} == {("Effusion",), ("Mass", "Edema")}


def test_r2gen_annotation_with_several_films_of_a_study(tmp_path, films):
    studies = {
        "train": [
            {
                "id": "s0",
                "report": "The heart is normal in size .",
                "image_path": ["p0/view.png", "p1/view.png"],
                "split": "train",
            }
        ],
        "val": [{"id": "s2", "report": "xxxx", "image_path": ["p2/view.png"]}],
        "test": [
            {
                "id": "s3",
                "report": "Findings: None.\nImpression: Clear lungs.",
                "image_path": ["p3/view.png", "p9/gone.png"],
            }
        ],
    }
    summary, tasks = imported(tmp_path, films, json.dumps(studies), "annotation.json")
    assert [(task.split, task.gold[0], task.patient) for task in tasks["findings"][:2]] == [
        ("train", "The heart is normal in size .", "s0")
    ] * 2
    assert {task.gold for task in tasks["impression"]} == {("Clear lungs.",)} and summary.missing == ["p9/gone.png"]
    assert summary.skipped == {"of which neither report nor labels nor view are known": 1}
    assert any("films name no patient; a study, or else a row, counts as one" in line for line in summary.lines())


def test_reports_in_files_are_found_by_the_column_or_the_films_name(tmp_path, films):
    for number in range(3):
        (tmp_path / f"texts/p{number}").mkdir(parents=True)
        (tmp_path / f"texts/p{number}/view.txt").write_bytes(f"\ufeffFINDINGS:\r\nMass {number}.\r\n".encode())
    rows = [
        {"image": f"p{n}/view.png", "patient_id": n} | ({"report": "p1\\view.txt"} if n == 1 else {}) for n in range(4)
    ]
    text = "\n".join(map(json.dumps, rows))
    summary, tasks = imported(tmp_path, films, text, "films.jsonl", reports=tmp_path / "texts")
    assert [task.gold for task in tasks["findings"]] == [(f"Mass {number}.",) for number in range(3)]
    assert summary.remarks == {"films have no report: no file below --reports is named so": 1}


def test_indiana_tables_of_kaggle_have_their_sections_in_columns(tmp_path, films):
    text = "uid,image,findings,impression,indication\n" + "".join(
        f'{n},p{n}/view.png,"Clear lungs, no edema.",Normal {n}.,XXXX pain\n' for n in range(8)
    )
    _, tasks = imported(tmp_path, films, text)
    assert tasks["findings"][0].gold == ("Clear lungs, no edema.",)
    assert "XXXX pain" in tasks["impression_with_indication"][0].question


def test_films_of_other_formats_and_without_an_ending(tmp_path):
    names = ["a.tif", "b.BMP", "c.webp", "d.png", "e.jpeg"]
    for name in names:
        draw_film(tmp_path / "films" / name)
    listed = [name if number < 3 else name.partition(".")[0] for number, name in enumerate(names)]
    text = "filename\tuid\treport\n" + "".join(f"{name}\t{name}\tClear lungs.\n" for name in listed)
    summary, tasks = imported(tmp_path, tmp_path / "films", text, "films.tsv")
    assert summary.films == 5 and not summary.missing
    assert [task.images[0].rpartition("/")[2] for task in tasks["findings"]] == names


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("a.csv", "image,labels\np0/view.png,Mass\n", "names only the finding 'Mass'; questions need two"),
        ("a.csv", "image,labels\np0/view.png,Mass|mass\n", "'Mass|mass'; findings separated by |, each once"),
        ("a.csv", "image,labels\np0/view.png,Mass||Edema\n", "row 0 .*findings separated by |, each once"),
        ("a.csv", "film,labels\np0/view.png,Mass|Edema\n", "no column image.*found .'film', 'labels'.; a table with"),
        ("a.csv", "image,labels,split\np0/view.png,Mass|Edema,holdout\n", "row 0 .*split 'holdout' must be"),
        ("a.json", '{"train": [], "holdout": []}', "it holds 'holdout'"),
        ("a.json", '{"train": [1]}', "lists of objects, train, val and test, are needed"),
        ("a.csv", "image,report\na.DCM,Clear.\n", "row 0 .*'a.DCM' is DICOM, which `data import dicom` makes into PNG"),
        ("a.json", "{", "not a readable JSON file"),
        ("a.csv", "image,report\ngone.png,Clear.\n", "none of the 1 images"),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path, films, name, text, words):
    with pytest.raises(TaskSetError, match=words) as caught:
        imported(tmp_path, films, text, name)
    assert "\n" not in str(caught.value)
