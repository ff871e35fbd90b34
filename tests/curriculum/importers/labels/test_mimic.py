import gzip
from pathlib import Path

import pytest

from curriculum.importers.labels.mimic import import_mimic
from curriculum.taskset import TaskSetError, read_tasks
from tests.support.data_sets import by_family, draw_film, write_csv

LABELS = (
    "subject_id,study_id,Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,Lung Lesion,"
    "Lung Opacity,No Finding,Pleural Effusion,Pleural Other,Pneumonia,Pneumothorax,Support Devices"
)
METADATA = (
    "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,"
    "StudyTime,ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,"
    "PatientOrientationCodeSequence_CodeMeaning"
)
REPORT = """                                 WET READ: ___ ___ 8:04 PM
 No acute process.
 ______________________________________________________________________________
                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___F with cough  // eval for
 pneumonia

 COMPARISON:  ___

 FINDINGS:

 The heart is enlarged.  There is no
 effusion.

 IMPRESSION:

 1. Cardiomegaly.
"""


def mimic_set(folder: Path, **changes) -> None:
    studies = {
        50000001: {"Cardiomegaly": "1.0", "Enlarged Cardiomediastinum": "1.0", "Pleural Effusion": "0.0"},
        50000002: {"No Finding": "1.0"},
        50000003: {"Edema": "-1.0"},
        50000004: {},
    }
    films = [
        ("aa", 10000001, 50000001, "PA", "21800506", "213014.531", "train"),
        ("ab", 10000001, 50000001, "LATERAL", "21800506", "213014.531", "train"),
        ("ac", 10000001, 50000002, "AP", "21800507", "82523.34", "train"),
        ("ad", 10000002, 50000003, "LL", "21800506", "213014.531", "validate"),
        ("ae", 10000003, 50000004, "", "21800506", "213014.531", "test"),
    ]
    for film, patient, study, *_ in films:
        draw_film(folder / f"files/p10/p{patient}/s{study}/{film}.jpg")
    write_csv(
        folder / "mimic-cxr-2.0.0-chexpert.csv.gz",
        LABELS,
        [{"study_id": study} | labels for study, labels in studies.items()],
        gzip.open,
    )
    names = ("dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime")
    metadata = [dict(zip(names, film, strict=False)) for film in films]
    metadata[0] |= changes
    write_csv(folder / "mimic-cxr-2.0.0-metadata.csv.gz", METADATA, metadata, gzip.open)
    write_csv(
        folder / "mimic-cxr-2.0.0-split.csv",
        "dicom_id,study_id,subject_id,split",
        [{"dicom_id": film[0], "study_id": film[2], "subject_id": film[1], "split": film[-1]} for film in films],
    )
    reports = folder / "reports/files/p10"
    short = "FINAL REPORT\n IMPRESSION:  Clear lungs.\n"
    for patient, study, text in ((10000001, 50000001, REPORT), (10000003, 50000004, short)):
        (reports / f"p{patient}").mkdir(parents=True, exist_ok=True)
        (reports / f"p{patient}" / f"s{study}.txt").write_text(text)


def test_mimic(tmp_path):
    mimic_set(tmp_path)
    summary = import_mimic(tmp_path / "files", tmp_path, tmp_path / "out", reports=tmp_path / "reports")
    tasks = read_tasks(tmp_path / "out")
    assert summary.films == 5 and summary.unlabelled == 1 and "split.csv" in summary.splits_from
    assert {task.patient: task.split for task in tasks} == {
        "p10000001": "train",
        "p10000002": "val",
        "p10000003": "test",
    }
    for film, view in (("aa", "PA"), ("ab", "Lateral")):  # a study's labels and report go to each of its films
        families = by_family(tasks, f"{film}.jpg")
        assert families["diagnosis"].gold == ("Enlarged Cardiomediastinum", "Cardiomegaly")
        assert families["diagnosis"].view == view
        assert families["findings"].gold == ("The heart is enlarged. There is no effusion.",)
        assert (
            families["impression"].gold == ("1. Cardiomegaly.",) and "Indication" not in families["impression"].question
        )
        assert families["impression_with_indication"].question.endswith(
            "Indication: ___F with cough // eval for pneumonia"
        )
    assert "diagnosis" not in by_family(tasks, "ad.jpg") and by_family(tasks, "ad.jpg")["binary"].view == "Lateral"
    assert (
        set(by_family(tasks, "ae.jpg")) == {"impression", "image_text_matching"}
        and by_family(tasks, "ae.jpg")["impression"].view == ""
    )
    (progression,) = (task for task in tasks if task.family == "progression")
    assert [Path(image).name for image in progression.images] == ["aa.jpg", "ac.jpg"]
    assert progression.captions == ("prior film", "current film")
    assert "PhysioNet" in progression.licence and "Johnson" in progression.attribution


def test_mimic_without_reports_asks_nothing_about_them(tmp_path):
    mimic_set(tmp_path)
    import_mimic(tmp_path, tmp_path, tmp_path / "out")
    assert not {"findings", "impression"} & {task.family for task in read_tasks(tmp_path / "out")}


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"StudyTime": "noon"}, "metadata.csv.gz: row 0 .*image 'aa'.*StudyTime 'noon' must be numbers"),
        ({"dicom_id": "zz"}, "row 0 .*image 'zz': its split in .* is None"),
    ],
)
def test_a_bad_row_is_named_in_one_line(tmp_path, changes, words):
    mimic_set(tmp_path, **changes)
    with pytest.raises(TaskSetError, match=words) as caught:
        import_mimic(tmp_path, tmp_path, tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(TaskSetError, match="mimic-cxr-2.0.0-metadata.csv: no such file"):
        import_mimic(tmp_path, tmp_path, tmp_path / "out")
    mimic_set(tmp_path)
    with pytest.raises(TaskSetError, match="no report is below this folder"):
        import_mimic(tmp_path, tmp_path, tmp_path / "out", reports=tmp_path / "files")
