import pytest

from curriculum.importers.boxes.ms_cxr import import_ms_cxr
from curriculum.taskset import TaskSetError, read_tasks
from tests.support.data_sets import assert_gold_is_answerable, mimic_tables, write_csv

HEADER = "category_name,label_text,path,x,y,w,h,image_width,image_height,dicom_id,split"


def row(id, text, *box, **changes):
    x, y, w, h = box
    path = f"files/p10/p10000001/s50000001/{id}.jpg"
    return dict(category_name="Edema", label_text=text, path=path, dicom_id=id, split="train") | dict(
        x=x, y=y, w=w, h=h, image_width=1000, image_height=2000, **changes
    )


ROWS = [
    row("aa", "Left basal  opacity", 100, 200, 300, 400),
    row("aa", "Left basal  opacity", 500, 200, 300, 400),
    row("aa", "Small apical pneumothorax", 0, 0, 100, 100),
    row("bb", "Edema", 10, 20, 30, 40, path="files/p11/p11000001/s50000002/bb.jpg", split="test"),
]


def ms_cxr(folder, rows=ROWS, **options):
    tables = mimic_tables(folder, {"aa": (10000001, 50000001, "AP", "test"), "bb": (11000001, 50000002, "PA", "train")})
    labels = write_csv(folder / "MS_CXR_Local_Alignment_v1.1.0.csv", HEADER, rows)
    options = dict.fromkeys(options, tables)
    return import_ms_cxr(folder / "files", labels, folder / "out", **options), read_tasks(folder / "out")


def test_the_boxes_of_a_sentence_are_one_question(tmp_path):
    _, tasks = ms_cxr(tmp_path)
    assert [(task.family, task.gold) for task in tasks] == [
        ("phrase_grounding", ("[100, 100, 400, 300]", "[500, 100, 800, 300]")),
        ("phrase_grounding", ("[0, 0, 100, 50]",)),
        ("phrase_grounding", ("[10, 10, 40, 30]",)),
    ]
    assert tasks[0].question.startswith('Where is "Left basal opacity" seen? Answer with boxes [left')
    assert [(task.patient, task.split) for task in tasks[1:]] == [("p10000001", "train"), ("p11000001", "test")]
    assert_gold_is_answerable(tasks)


def test_the_tables_of_mimic_give_views_and_its_splits(tmp_path):
    _, tasks = ms_cxr(tmp_path, tables=True)
    grounding = [task for task in tasks if task.family == "phrase_grounding"]
    assert [(task.view, task.split) for task in grounding] == [("AP", "test"), ("AP", "test"), ("PA", "train")]
    assert sum(task.family == "view" for task in tasks) == 2


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"x": "a"}, "x is 'a'; a number is needed"),
        ({"label_text": "___"}, "the image or the sentence is missing"),
        ({"image_width": 0}, "image_width or image_height is not above 0"),
        ({"split": "fold 1"}, "split 'fold 1' must be train, val or test"),
        ({"x": 5000}, "the box .* holds nothing of a film of"),
    ],
)
def test_bad_rows_are_named_in_one_line(tmp_path, changes, words):
    with pytest.raises(TaskSetError, match=f"row 0 .*'aa'.*{words}") as caught:
        ms_cxr(tmp_path, [ROWS[2] | changes])
    assert "\n" not in str(caught.value)
