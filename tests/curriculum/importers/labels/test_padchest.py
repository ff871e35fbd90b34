import gzip
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curriculum.images import load_image
from curriculum.importers.labels.padchest import import_padchest
from curriculum.taskset import TaskSetError, read_tasks
from tests.support.data_sets import by_family, write_csv

HEADER = (
    ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,ViewPosition_DICOM,"
    "Projection,MethodProjection,Pediatric,Report,MethodLabel,Labels"
)


def padchest_set(folder: Path, labels: list[str], **changes) -> Path:
    rows = [
        {
            "": n,
            "ImageID": f"{n}_x.png",
            "ImageDir": n % 2,
            "StudyDate_DICOM": f"201409{n % 28 + 1:02d}",
            "PatientID": n // 2,
            "PatientBirth": "1930.0",
            "PatientSex_DICOM": "F",
            "ViewPosition_DICOM": "nan",
            "Projection": "AP_horizontal",
            "Report": " sin hallazg .",
            "MethodLabel": "RNN_model",
            "Labels": label,
        }
        for n, label in enumerate(labels)
    ]
    rows[0] |= changes
    for row in rows:
        path = folder / str(row["ImageDir"]) / row["ImageID"]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.arange(16, dtype=np.uint16).reshape(4, 4) * 200).save(path)
    return write_csv(folder / "PADCHEST.csv.gz", HEADER, rows, gzip.open)


def test_padchest(tmp_path):
    used = [
        "['normal']",
        "['cardiomegaly', ' pleural effusion', 'cardiomegaly']",
        "['COPD signs']",
        "['kyphosis', 'scoliosis']",
    ] * 10
    left_out = [
        "['exclude']",
        "['suboptimal study', 'kyphosis']",
        "['unchanged', 'nodule']",
        "['']",
        "nan",
        "['normal', 'mass']",
    ]
    summary = import_padchest(tmp_path, padchest_set(tmp_path, used + left_out), tmp_path / "out")
    tasks = read_tasks(tmp_path / "out")
    assert summary.films == 40 and summary.skipped.total() == 6 and set(summary.skipped.values()) == {1}
    assert any("skipped 1 films that PadChest marks 'unchanged'" in line for line in summary.lines())
    assert by_family(tasks, "/0_x.png")["diagnosis"].gold == ()
    assert by_family(tasks, "/1_x.png")["diagnosis"].gold == ("cardiomegaly", "pleural effusion")
    names = {name for task in tasks if task.family.endswith("_choice") for name in task.options.values()}
    assert names == {"cardiomegaly", "pleural effusion", "COPD signs", "kyphosis", "scoliosis", "No finding"}
    view = by_family(tasks, "/0_x.png")["view"]
    assert view.view == "AP" and view.sex == "F" and view.age == 84 and "Research Use Agreement" in view.licence
    assert not any("hallazg" in text for task in tasks for text in (task.question, *task.gold))
    assert {task.split for task in tasks} == {"train", "val", "test"}
    assert np.asarray(load_image(view.images[0])).max() == 255


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"Labels": "['normal'"}, "row 0 .*image '0_x.png': Labels is .*it is a list"),
        ({"Labels": "[1]"}, "row 0 .*Labels is '\\[1\\]'"),
        ({"StudyDate_DICOM": "2014"}, "row 0 .*StudyDate_DICOM is '2014'"),
        ({"PatientID": ""}, "row 0 .*both are needed"),
    ],
)
def test_a_bad_row_is_named_in_one_line(tmp_path, changes, words):
    labels = padchest_set(tmp_path, ["['normal']", "['nodule']"], **changes)
    with pytest.raises(TaskSetError, match=words) as caught:
        import_padchest(tmp_path, labels, tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()
