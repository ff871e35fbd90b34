import numpy as np
import pytest
from PIL import Image

from curriculum.importers.boxes.vindr import import_vindr
from curriculum.taskset import TaskSetError, read_tasks
from tests.curriculum.importers.labels.test_dicom import film as draw_dicom
from tests.support.data_sets import assert_gold_is_answerable, by_family, names_in, write_csv

BOXES = "image_id,rad_id,class_name,x_min,y_min,x_max,y_max"
LABELS = "image_id,rad_id,Cardiomegaly,Mass,Pleural effusion,Pneumonia,Other diseases,No finding"


def box(image, reader, name, *edges):
    return dict(zip(BOXES.split(","), (image, reader, name, *edges), strict=False))


def ticks(image, reader, *names):
    return {"image_id": image, "rad_id": reader} | {name: float(name in names) for name in LABELS.split(",")[2:]}


TRAIN_BOXES = [
    box("a", "R1", "Cardiomegaly", 100, 200, 300, 400),
    box("a", "R2", "Cardiomegaly", 120, 200, 300, 420),
    box("a", "R3", "Pleural effusion", 10, 10, 50, 50),
    box("b", "R1", "No finding"),
    box("b", "R2", "No finding"),
    box("b", "R3", "No finding"),
]
TRAIN_LABELS = [
    ticks("a", "R1", "Cardiomegaly", "Pneumonia"),
    ticks("a", "R2", "Cardiomegaly", "Pneumonia"),
    ticks("a", "R3", "Pleural effusion"),
    *(ticks("b", reader, "No finding") for reader in ("R1", "R2", "R3")),
]


def vindr_set(folder, boxes=TRAIN_BOXES, labels=TRAIN_LABELS, size=(500, 1000)):
    for name in "abt":
        (folder / "films").mkdir(parents=True, exist_ok=True)
        Image.new("L", size).save(folder / f"films/{name}.png")
    test = [{"image_id": "t", "class_name": "Mass", "x_min": 5, "y_min": 10, "x_max": 50, "y_max": 100}]
    consensus = [ticks("t", "", "Mass", "Other diseases")]
    return [
        write_csv(folder / "annotations_train.csv", BOXES, boxes),
        write_csv(folder / "image_labels_train.csv", LABELS, labels),
        write_csv(folder / "annotations_test.csv", BOXES.replace("rad_id,", ""), test),
        write_csv(
            folder / "image_labels_test.csv",
            LABELS.replace("rad_id,", ""),
            [{name: value for name, value in row.items() if name != "rad_id"} for row in consensus],
        ),
    ]


def test_the_majority_of_the_readers_decides(tmp_path):
    labels = vindr_set(tmp_path)
    summary = import_vindr(tmp_path / "films", labels, tmp_path / "out")
    tasks = read_tasks(tmp_path / "out")
    read, normal, consensus = (by_family(tasks, f"{name}.png") for name in "abt")
    assert read["grounding"].gold == ("[220, 200, 600, 410]",)  # the mean of two readers' boxes, in thousandths
    # one of three named an effusion: it may be there, so nothing is asked about it, nor a list of all findings
    assert "diagnosis" not in read
    assert not [task for task in tasks if task.images[-1].endswith("a.png") and "Pleural effusion" in names_in(task)]
    assert normal["diagnosis"].gold == () and set(normal["single_choice"].why_wrong.values()) == {"labelled absent"}
    assert consensus["grounding"].gold == ("[10, 10, 100, 100]",) and "diagnosis" not in consensus
    assert {task.split for task in tasks if task.images[-1].endswith("t.png")} == {"test"}
    assert not summary.remarks
    assert_gold_is_answerable(tasks)


def test_what_one_reader_of_three_sees_may_be_asked_as_uncertain(tmp_path):
    import_vindr(tmp_path / "films", vindr_set(tmp_path), tmp_path / "out", uncertain=True)
    asked = [task for task in read_tasks(tmp_path / "out") if task.family == "certainty"]
    assert {task.images[0][-5:] for task in asked} == {"a.png"} and len(asked) == 2
    (unsure,) = (task for task in asked if task.gold == ("C",))
    assert unsure.question == "Is there Pleural effusion?" and unsure.options["C"] == "Uncertain"
    assert unsure.why_wrong == {"A": "labelled uncertain", "B": "labelled uncertain"}


def test_boxes_that_do_not_overlap_are_no_agreement(tmp_path):
    apart = [box("a", "R2", "Cardiomegaly", 310, 500, 400, 700) if n == 1 else row for n, row in enumerate(TRAIN_BOXES)]
    summary = import_vindr(tmp_path / "films", vindr_set(tmp_path, apart), tmp_path / "out")
    tasks = read_tasks(tmp_path / "out")
    assert not [task for task in tasks if task.family == "grounding" and task.images[0].endswith("a.png")]
    assert "1 findings are present, but no box of them is by more than half" in "\n".join(summary.lines())


def test_boxes_on_scaled_images_need_the_sizes_of_the_films(tmp_path):
    labels = vindr_set(tmp_path, size=(50, 100))
    with pytest.raises(TaskSetError, match=r"a box of .* ends at .* outside the image of .*--sizes train_meta.csv"):
        import_vindr(tmp_path / "films", labels, tmp_path / "out")
    sizes = [{"image_id": name, "dim0": 1000, "dim1": 500} for name in "abt"]
    meta = write_csv(tmp_path / "train_meta.csv", "image_id,dim0,dim1", sizes)
    import_vindr(tmp_path / "films", labels, tmp_path / "out", sizes=meta)
    assert by_family(read_tasks(tmp_path / "out"), "a.png")["grounding"].gold == ("[220, 200, 600, 410]",)


def test_kaggles_table_alone_has_the_findings_of_the_boxes_and_dicom_films_their_size(tmp_path):
    rows = [row for row in TRAIN_BOXES if row["image_id"] == "a"]
    rows += [box("b", reader, "No finding") for reader in ("R1", "R2", "R3")]
    table = write_csv(tmp_path / "train.csv", BOXES, rows)
    draw_dicom(tmp_path / "films/a.dicom", np.zeros((1000, 500)) + np.arange(500))
    draw_dicom(tmp_path / "films/b.dicom", np.zeros((8, 8)) + np.arange(8))
    import_vindr(tmp_path / "films", [table], tmp_path / "out")
    tasks = read_tasks(tmp_path / "out")
    assert by_family(tasks, "a.png")["grounding"].gold == ("[220, 200, 600, 410]",)
    assert {task.question for task in tasks if task.family == "binary"} <= {
        "Is there Cardiomegaly?",
        "Is there Pleural effusion?",
    }


@pytest.mark.parametrize(
    "boxes, labels, words",
    [
        ([box("a", "R1", "Mass", 1, 2, 3)], TRAIN_LABELS, "row 0 .*'a'.*y_max is ''; a number is needed"),
        ([box("a", "R1", "Mass", 5, 2, 5, 9)], TRAIN_LABELS, r"row 0 .*the box \[5.0, 2.0, 5.0, 9.0\] has no area"),
        (TRAIN_BOXES, [ticks("a", "R1") | {"Mass": "yes"}], "row 0 .*Mass is 'yes'; a number is needed"),
    ],
)
def test_bad_rows_are_named_in_one_line(tmp_path, boxes, labels, words):
    with pytest.raises(TaskSetError, match=words) as caught:
        import_vindr(tmp_path / "films", vindr_set(tmp_path, boxes, labels), tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_another_table_is_refused(tmp_path):
    other = write_csv(tmp_path / "images.csv", "image_id,quality", [{"image_id": "a", "quality": 1}])
    with pytest.raises(TaskSetError, match="neither class_name nor 'No finding' is a column"):
        import_vindr(tmp_path, [other], tmp_path / "out")
