import json

import numpy as np
import pytest

from curriculum.importers.boxes.rsna import import_rsna
from curriculum.taskset import TaskSetError, read_tasks
from tests.curriculum.importers.labels.test_dicom import film as draw_dicom
from tests.support.data_sets import assert_gold_is_answerable, draw_film

LABELS = """patientId,x,y,width,height,Target
aa,264.0,152.0,213.0,379.0,1
aa,562.0,152.0,256.0,453.0,1
bb,,,,,0
cc,,,,,0
"""
CLASSES = """patientId,class
aa,Lung Opacity
aa,Lung Opacity
bb,Normal
cc,No Lung Opacity / Not Normal
"""


def rsna_set(folder, labels=LABELS, classes=CLASSES):
    for name in ("aa", "bb", "cc"):
        draw_film(folder / f"films/{name}.png")
    (folder / "stage_2_train_labels.csv").write_text(labels)
    (folder / "stage_2_detailed_class_info.csv").write_text(classes)
    return folder / "films", folder / "stage_2_train_labels.csv", folder / "out"


def of_film(tasks, name):
    return {task.family: task for task in tasks if task.id.startswith(f"{name}-")}


def test_boxes_and_classes_become_tasks(tmp_path):
    import_rsna(*rsna_set(tmp_path), classes=tmp_path / "stage_2_detailed_class_info.csv")
    tasks = read_tasks(tmp_path / "out")
    marked, normal, other = (of_film(tasks, name) for name in ("aa", "bb", "cc"))
    assert marked["grounding"].gold == ("[258, 148, 466, 519]", "[549, 148, 799, 591]")
    assert [of["binary"].gold for of in (marked, normal, other)] == [("A",), ("B",), ("B",)]
    assert marked["binary"].why_wrong == {"B": "labelled present"}
    assert normal["binary"].why_wrong == {"A": "labelled absent"}
    # one finding is no list to choose from, and what else a film shows is known of the normal one only
    assert not {"single_choice", "multiple_choice", "diagnosis"} & {task.family for task in tasks}
    assert "image_text_matching" in normal and "image_text_matching" not in other
    assert_gold_is_answerable(tasks)


def test_patients_are_those_of_nih(tmp_path):
    mappings = [{"subset_img_id": name, "img_id": f"00000007_00{n}.png"} for n, name in enumerate(("aa", "bb"))]
    (tmp_path / "mappings.json").write_text(json.dumps(mappings))
    import_rsna(*rsna_set(tmp_path), mappings=tmp_path / "mappings.json")
    patients = {task.id[:2]: task.patient for task in read_tasks(tmp_path / "out")}
    assert patients == {"aa": "nih-00000007", "bb": "nih-00000007", "cc": "cc"}


def test_dicom_films_are_written_as_png_and_give_view_sex_and_age(tmp_path):
    images, labels, out = rsna_set(tmp_path)
    for name in ("aa", "bb", "cc"):
        (images / f"{name}.png").unlink()
    draw_dicom(images / "aa.dcm", np.arange(16).reshape(4, 4), PatientAge="051Y", PatientSex="M", ViewPosition="AP")
    summary = import_rsna(images, labels, out)
    (task,) = (task for task in read_tasks(out) if task.family == "binary")
    assert (task.view, task.sex, task.age) == ("AP", "M", 51.0) and task.images == (str(out / "images/aa.png"),)
    assert summary.skipped == {"whose file is not below the image folder": 2}


@pytest.mark.parametrize(
    "labels, classes, words",
    [
        (LABELS.replace("264.0", "left"), CLASSES, "row 0 .*'aa'.*x is 'left'; a number is needed"),
        (LABELS.replace(",0\n", ",2\n"), CLASSES, "row 2 .*'bb'.*Target is '2'"),
        (LABELS, CLASSES.replace("Normal\ncc", "Fine\ncc"), "row 2 .*class 'Fine' is none of Normal"),
        (LABELS.replace("264.0", "2000"), CLASSES, "the box .* of Lung Opacity holds nothing of a film of"),
        ("patientId\naa\n", CLASSES, "column 'x' is missing"),
    ],
)
def test_bad_files_are_named_in_one_line(tmp_path, labels, classes, words):
    with pytest.raises(TaskSetError, match=words) as caught:
        import_rsna(*rsna_set(tmp_path, labels, classes), classes=tmp_path / "stage_2_detailed_class_info.csv")
    assert "\n" not in str(caught.value)
