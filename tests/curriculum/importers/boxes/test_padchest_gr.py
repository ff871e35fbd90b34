import json

import pytest

from curriculum.importers.boxes.padchest_gr import import_padchest_gr
from curriculum.taskset import TaskSetError, read_tasks
from tests.support.data_sets import assert_gold_is_answerable, by_family, draw_film, write_csv

HEADER = "StudyID,ImageID,label,split,PatientID,PatientSex_DICOM,PatientAge"


def sentence(text, *labels, boxes=(), abnormal=True):
    found = dict(sentence_en=text, sentence_es="…", abnormal=abnormal)
    return found | (dict(labels=list(labels), boxes=list(boxes), extra_boxes=[], progression=None) if abnormal else {})


def study(number, *sentences):
    return dict(StudyID=f"s{number}", ImageID=f"{number}_x.png", PreviousStudyID=None, findings=list(sentences))


STUDIES = [
    study(
        1,
        sentence(
            "Biapical pleural thickening.", "apical pleural thickening", boxes=[[0.1, 0.05, 0.3, 0.2], [0.6, 0, 1, 0.2]]
        ),
        sentence("Nasogastric tube.", "NSG tube"),
        sentence("No pleural effusion.", abnormal=False),
    ),
    study(2, sentence("No abnormality.", abnormal=False)),
    study(3, sentence("Cardiomegaly.", "cardiomegaly", boxes=[[0.2, 0.4, 0.8, 0.9]])),
]


def padchest_gr(folder, studies=STUDIES):
    rows = [
        dict(StudyID=f"s{n}", ImageID=f"{n}_x.png", label="x", split=split, PatientID=f"p{n}")
        | dict(PatientSex_DICOM="F", PatientAge=60 + n)
        for n, split in ((1, "train"), (1, "train"), (2, "validation"), (3, "test"))
    ]
    for number in range(1, 5):
        draw_film(folder / f"Padchest_GR_files/{number}_x.png")
    reports = folder / "grounded_reports_20240819.json"
    reports.write_text(json.dumps(studies))
    table = write_csv(folder / "master_table.csv", HEADER, rows)
    return import_padchest_gr(folder, reports, table, folder / "out"), read_tasks(folder / "out")


def test_sentences_labels_and_boxes_become_tasks(tmp_path):
    _, tasks = padchest_gr(tmp_path)
    found, normal, test = (by_family(tasks, f"{n}_x.png") for n in (1, 2, 3))
    assert found["phrase_grounding"].gold == ("[100, 50, 300, 200]", "[600, 0, 1000, 200]")
    assert '"Biapical pleural thickening."' in found["phrase_grounding"].question
    assert found["diagnosis"].gold == ("apical pleural thickening", "NSG tube") and normal["diagnosis"].gold == ()
    assert found["findings"].gold == ("Biapical pleural thickening. Nasogastric tube. No pleural effusion.",)
    assert (found["diagnosis"].sex, found["diagnosis"].age, found["diagnosis"].patient) == ("F", 61.0, "p1")
    assert [of["diagnosis"].split for of in (found, normal, test)] == ["train", "val", "test"]
    assert_gold_is_answerable([task for task in tasks if task.form != "text"])


def test_what_is_left_out_is_counted(tmp_path):
    summary, tasks = padchest_gr(tmp_path, [*STUDIES, study(4, sentence("Mass.", "mass")), study(3)])
    assert summary.skipped == {"whose study is not in master_table.csv": 1, "without a sentence": 1}
    assert not [task for task in tasks if task.images[0].endswith("4_x.png")]


@pytest.mark.parametrize(
    "broken, words",
    [
        (sentence("A.", "a", boxes=[[10, 20, 30, 40]]), "is not left, top, right, bottom as shares of the film"),
        (sentence("A.", "a", boxes=[[0.1, 0.2]]), "is not four numbers"),
        (sentence("A.", "a", boxes=["abcd"]), "is not four numbers"),
        (sentence("A.", "a") | {"boxes": 7}, "'boxes' must be a list, found 7"),
        (sentence("A.", 7), "'labels' must be a list of names"),
        ("A.", "'findings' must be a list of objects"),
        ({"abnormal": True}, "'sentence_en' must be text"),
    ],
)
def test_bad_studies_are_named_in_one_line(tmp_path, broken, words):
    with pytest.raises(TaskSetError, match=f"row 0 .*'1_x.png'.*{words}") as caught:
        padchest_gr(tmp_path, [study(1, broken)])
    assert "\n" not in str(caught.value)
