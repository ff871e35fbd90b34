"""The importers of labelled films, on tiny sets in the form that the real ones ship in."""

import csv
import gzip
import importlib.util
import tarfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curriculum.images import load_image
from curriculum.importers.chexpert import import_chexpert
from curriculum.importers.mimic import import_mimic
from curriculum.importers.openi import import_openi
from curriculum.importers.padchest import import_padchest
from curriculum.importers.reports import sections
from curriculum.taskset import TaskSetError, read_tasks

CHEXPERT = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,"
    "Lung Lesion,Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,"
    "Support Devices"
)
MIMIC = (
    "subject_id,study_id,Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,Lung Lesion,"
    "Lung Opacity,No Finding,Pleural Effusion,Pleural Other,Pneumonia,Pneumothorax,Support Devices"
)
MIMIC_METADATA = (
    "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,"
    "StudyTime,ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,"
    "PatientOrientationCodeSequence_CodeMeaning"
)
PADCHEST = (
    ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,ViewPosition_DICOM,"
    "Projection,MethodProjection,Pediatric,Report,MethodLabel,Labels"
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
OPENI = """<?xml version="1.0" encoding="utf-8"?>
<eCitation>
   <uId id="CXR{number}"/>
   <MedlineCitation><Article><Abstract>
      <AbstractText Label="COMPARISON">None.</AbstractText>
      <AbstractText Label="INDICATION">{indication}</AbstractText>
      <AbstractText Label="FINDINGS">{findings}</AbstractText>
      <AbstractText Label="IMPRESSION">{impression}</AbstractText>
   </Abstract></Article></MedlineCitation>
   <MeSH><major>{term}</major></MeSH>
   {films}
</eCitation>
"""


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4)).save(path)


def table(path: Path, header: str, rows: list[dict[str, object]], opener=open) -> Path:
    """A CSV with every column of the header; what a row does not name is blank."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with opener(path, "wt", newline="") as file:
        writer = csv.DictWriter(file, header.split(","))
        writer.writeheader()
        writer.writerows(rows)
    return path


def of(tasks, ending: str) -> dict:
    """Family to task of the film whose path ends so."""
    return {task.family: task for task in tasks if task.images[-1].endswith(ending)}


def asked(task) -> set[str]:
    """The findings that a task is about."""
    return {task.question.removeprefix("Is there ").rstrip("?"), *task.options.values(), *task.gold}


def chexpert_rows(folder: str, first: int, labels: list[dict]) -> list[dict]:
    """A patient a row, with a frontal and a lateral film in study 1 and, two years later, a frontal one in study 2."""
    rows = []
    for patient, label in enumerate(labels, first):
        for study, view in ((1, "view1_frontal"), (1, "view2_lateral"), (2, "view1_frontal")):
            lateral = "lateral" in view
            rows.append(
                {
                    "Path": f"CheXpert-v1.0-small/{folder}/patient{patient:05d}/study{study}/{view}.jpg",
                    "Sex": "Female",
                    "Age": 58 + study,
                    "Frontal/Lateral": "Lateral" if lateral else "Frontal",
                    "AP/PA": "" if lateral else "AP",
                }
                | label
            )
    return rows


def chexpert_set(folder: Path, **changes) -> list[Path]:
    train = chexpert_rows(
        "train",
        1,
        [
            {"No Finding": "1.0"},
            {"Edema": "1.0"},
            {"Pneumothorax": "1.0", "Pleural Effusion": "-1.0"},
            {"Lung Opacity": "1.0", "Pneumonia": "-1.0"},
            {"Cardiomegaly": "0.0"},
        ]
        + [{"Fracture": "1.0"}] * 20,
    )
    train[0] |= changes
    valid = chexpert_rows("valid", 64541, [{"No Finding": "1.0", "Support Devices": "1.0"}])
    for row in train + valid:
        draw(folder / row["Path"])
    return [table(folder / "train.csv", CHEXPERT, train), table(folder / "valid.csv", CHEXPERT, valid)]


def test_chexpert(tmp_path):
    summary = import_chexpert(tmp_path, chexpert_set(tmp_path), tmp_path / "out")
    tasks = read_tasks(tmp_path / "out")
    assert summary.films == 3 * 26 and summary.tasks.total() == len(tasks)

    edema = of(tasks, "patient00002/study1/view1_frontal.jpg")
    assert edema["view"].options[edema["view"].gold[0]] == "AP" and edema["view"].sex == "F" and edema["view"].age == 59
    assert "Stanford" in edema["view"].licence and "Irvin" in edema["view"].attribution
    lateral = of(tasks, "patient00002/study1/view2_lateral.jpg")["view"]
    assert lateral.options[lateral.gold[0]] == "Lateral"
    assert of(tasks, "patient64541/study1/view1_frontal.jpg")["diagnosis"].gold == ("Support Devices",)
    assert of(tasks, "patient00001/study1/view1_frontal.jpg")["diagnosis"].gold == ()

    # Nothing tells a film without findings from one with a finding that CheXpert has no label for.
    assert summary.unlabelled == 3 and set(of(tasks, "patient00005/study1/view1_frontal.jpg")) == {"view"}
    assert "3 films have no labels of findings" in "\n".join(summary.lines())


def test_chexpert_never_asks_what_is_unsure(tmp_path):
    labels = chexpert_set(tmp_path)
    unsure_of = {"patient00002": "Lung Opacity", "patient00003": "Pleural Effusion", "patient00004": "Pneumonia"}
    for seed in range(5):
        import_chexpert(tmp_path, labels, tmp_path / "out", seed)
        tasks = read_tasks(tmp_path / "out")
        for patient, unsure in unsure_of.items():
            about = [task for task in tasks if task.patient == patient]
            assert not any(unsure in task.question or unsure in asked(task) for task in about)
            assert not any(f"{unsure} is" in task.gold[0] for task in about)
            assert {"binary", "single_choice", "report"} <= {task.family for task in about}
            assert "diagnosis" not in {task.family for task in about}
    assert "Lung Opacity" in {name for task in tasks if task.patient == "patient00004" for name in asked(task)}


def test_chexpert_compares_frontal_films_in_the_order_of_studies(tmp_path):
    import_chexpert(tmp_path, chexpert_set(tmp_path), tmp_path / "out")
    progression = [task for task in read_tasks(tmp_path / "out") if task.family == "progression"]
    assert len(progression) == 25  # a patient whose labels are not usable has none
    assert all(
        "study1/view1_frontal" in task.images[0] and "study2/view1_frontal" in task.images[1] for task in progression
    )


def test_chexpert_splits(tmp_path):
    train, valid = chexpert_set(tmp_path)
    import_chexpert(tmp_path, [train, valid], tmp_path / "both")
    splits = {task.patient: task.split for task in read_tasks(tmp_path / "both")}
    assert splits.pop("patient64541") == "test" and set(splits.values()) == {"train", "val"}
    import_chexpert(tmp_path, [train], tmp_path / "one")
    assert {task.split for task in read_tasks(tmp_path / "one")} == {"train", "val", "test"}


def test_a_film_that_is_not_there_is_not_mistaken_for_another_of_its_name(tmp_path):
    train, _ = chexpert_set(tmp_path)
    for path in (tmp_path / "CheXpert-v1.0-small/train").rglob("*.jpg"):
        if "patient00003/study2" not in path.as_posix():
            path.unlink()
    summary = import_chexpert(tmp_path / "CheXpert-v1.0-small", [train], tmp_path / "out")
    assert summary.films == 1 and {task.patient for task in read_tasks(tmp_path / "out")} == {"patient00003"}


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
        draw(folder / f"files/p10/p{patient}/s{study}/{film}.jpg")
    table(
        folder / "mimic-cxr-2.0.0-chexpert.csv.gz",
        MIMIC,
        [{"study_id": study} | labels for study, labels in studies.items()],
        gzip.open,
    )
    names = ("dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime")
    metadata = [dict(zip(names, film, strict=False)) for film in films]
    metadata[0] |= changes
    table(folder / "mimic-cxr-2.0.0-metadata.csv.gz", MIMIC_METADATA, metadata, gzip.open)
    table(
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
        families = of(tasks, f"{film}.jpg")
        assert families["diagnosis"].gold == ("Enlarged Cardiomediastinum", "Cardiomegaly")
        assert families["diagnosis"].view == view
        assert families["findings"].gold == ("The heart is enlarged. There is no effusion.",)
        assert (
            families["impression"].gold == ("1. Cardiomegaly.",) and "Indication" not in families["impression"].question
        )
        assert families["impression_with_indication"].question.endswith(
            "Indication: ___F with cough // eval for pneumonia"
        )
    assert "diagnosis" not in of(tasks, "ad.jpg") and of(tasks, "ad.jpg")["binary"].view == "Lateral"
    assert (
        set(of(tasks, "ae.jpg")) == {"impression", "image_text_matching"}
        and of(tasks, "ae.jpg")["impression"].view == ""
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
    "text, expected",
    [
        (
            REPORT,
            {
                "examination": "CHEST (PA AND LAT)",
                "indication": "___F with cough // eval for pneumonia",
                "findings": "The heart is enlarged. There is no effusion.",
                "impression": "1. Cardiomegaly.",
            },
        ),
        (
            "FINAL REPORT\n CHEST RADIOGRAPH\n\n HISTORY: Fall.\n\n FINDINGS AND IMPRESSION: No fracture since ___.\n",
            {"": "CHEST RADIOGRAPH", "indication": "Fall.", "impression": "No fracture since ___."},
        ),
        ("The lungs are clear: no effusion.\nHeart normal.", {"": "The lungs are clear: no effusion. Heart normal."}),
        ("FINDINGS:\n\nIMPRESSION: Note: clear.", {"impression": "Note: clear."}),
        ("FINDINGS: Chest clear.\nFINDINGS: Ribs intact.", {"findings": "Chest clear. Ribs intact."}),
        ("", {}),
    ],
)
def test_sections_of_a_report(text, expected):
    assert sections(text) == expected


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
    return table(folder / "PADCHEST.csv.gz", PADCHEST, rows, gzip.open)


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
    assert of(tasks, "/0_x.png")["diagnosis"].gold == ()
    assert of(tasks, "/1_x.png")["diagnosis"].gold == ("cardiomegaly", "pleural effusion")
    names = {name for task in tasks if task.family.endswith("_choice") for name in task.options.values()}
    assert names == {"cardiomegaly", "pleural effusion", "COPD signs", "kyphosis", "scoliosis", "No finding"}
    view = of(tasks, "/0_x.png")["view"]
    assert view.view == "AP" and view.sex == "F" and view.age == 84 and "Research Use Agreement" in view.licence
    assert not any("hallazg" in text for task in tasks for text in (task.question, *task.gold))
    assert {task.split for task in tasks} == {"train", "val", "test"}
    assert np.asarray(load_image(view.images[0])).max() == 255


def openi_set(folder: Path) -> None:
    texts = [
        ("normal", "Cough.", "Clear lungs.", "Normal chest."),
        ("Cardiomegaly/mild", "XXXX pain.", "", "Mild cardiomegaly."),
        ("normal", "", "The lungs are clear.", "No acute disease."),
        ("Opacity/lung/base/left", "", "", ""),
    ] * 8
    for number, (term, indication, findings, impression) in enumerate(texts, 1):
        films = [f"CXR{number}_IM-{number:04d}-{view}001" for view in (1, 2)] if number < len(texts) else []
        for film in films:
            draw(folder / f"images/{film}.png")
        (folder / "ecgen-radiology").mkdir(exist_ok=True)
        (folder / f"ecgen-radiology/{number}.xml").write_text(
            OPENI.format(
                number=number,
                term=term,
                indication=indication,
                findings=findings,
                impression=impression,
                films="".join(
                    f'<parentImage id="{film}"><caption>PA and Lateral</caption></parentImage>' for film in films
                ),
            )
        )


def test_openi(tmp_path):
    openi_set(tmp_path)
    summary = import_openi(tmp_path / "images", tmp_path / "ecgen-radiology", tmp_path / "out")
    tasks = read_tasks(tmp_path / "out")
    assert summary.films == 62 and summary.skipped == {"of reports that name none": 1}
    first = of(tasks, "/CXR1_IM-0001-1001.png")
    assert first["findings"].gold == ("Clear lungs.",) and first["impression"].gold == ("Normal chest.",)
    assert first["findings_with_indication"].question.endswith("Indication: Cough.")
    assert set(of(tasks, "/CXR2_IM-0002-2001.png")) == {
        "impression",
        "impression_with_indication",
        "image_text_matching",
    }
    assert set(of(tasks, "/CXR3_IM-0003-1001.png")) == {"findings", "impression", "image_text_matching"}
    assert {(task.view, task.licence) for task in tasks} == {("", "CC BY-NC-ND 4.0")} and "Indiana" in tasks[
        0
    ].attribution
    assert len({task.patient for task in tasks}) == 24  # those with a text
    splits = defaultdict(set)
    for task in tasks:
        splits[task.patient].add(task.split)
    assert all(len(found) == 1 for found in splits.values())
    # Two normal reports say the same in other words: the text of one is never a wrong text for the other.
    normal = {"Normal chest.", "No acute disease."}
    wrong = [task for task in tasks if task.family == "image_text_matching" and task.gold == ("B",)]
    assert wrong and not any(
        {of_film, task.question.removeprefix("Does this text describe the film? ")} == normal
        for task in wrong
        for of_film in of(tasks, task.images[0])["impression"].gold
    )


def bad_chexpert(folder, **changes):
    return import_chexpert(folder, chexpert_set(folder, **changes), folder / "out")


def bad_mimic(folder, **changes):
    mimic_set(folder, **changes)
    return import_mimic(folder, folder, folder / "out")


def bad_padchest(folder, **changes):
    return import_padchest(folder, padchest_set(folder, ["['normal']", "['nodule']"], **changes), folder / "out")


def bad_openi(folder, text):
    openi_set(folder)
    (folder / "ecgen-radiology/2.xml").write_text(text)
    return import_openi(folder, folder, folder / "out")


@pytest.mark.parametrize(
    "read, changes, words",
    [
        (
            bad_chexpert,
            {"Edema": "2.0"},
            "train.csv: row 0 .*frontal.jpg': Edema is '2.0'; a label is 1.0, 0.0, -1.0 or blank",
        ),
        (bad_chexpert, {"Edema": "yes"}, "row 0 .*Edema is 'yes'"),
        (bad_chexpert, {"Path": "a.jpg"}, "row 0 .*'a.jpg': a path ends like train/patient00001"),
        (bad_mimic, {"StudyTime": "noon"}, "metadata.csv.gz: row 0 .*image 'aa'.*StudyTime 'noon' must be numbers"),
        (bad_mimic, {"dicom_id": "zz"}, "row 0 .*image 'zz': its split in .* is None"),
        (bad_padchest, {"Labels": "['normal'"}, "row 0 .*image '0_x.png': Labels is .*it is a list"),
        (bad_padchest, {"Labels": "[1]"}, "row 0 .*Labels is '\\[1\\]'"),
        (bad_padchest, {"StudyDate_DICOM": "2014"}, "row 0 .*StudyDate_DICOM is '2014'"),
        (bad_padchest, {"PatientID": ""}, "row 0 .*both are needed"),
        (bad_openi, {"text": "<eCitation>"}, "2.xml: not a readable XML report"),
        (bad_openi, {"text": "<eCitation/>"}, "2.xml: no report of Open-i"),
    ],
)
def test_a_bad_row_is_named_in_one_line(tmp_path, read, changes, words):
    with pytest.raises(TaskSetError, match=words) as caught:
        read(tmp_path, **changes)
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(TaskSetError, match="mimic-cxr-2.0.0-metadata.csv: no such file"):
        import_mimic(tmp_path, tmp_path, tmp_path / "out")
    mimic_set(tmp_path)
    with pytest.raises(TaskSetError, match="no report is below this folder"):
        import_mimic(tmp_path, tmp_path, tmp_path / "out", reports=tmp_path / "files")
    with pytest.raises(TaskSetError, match="no report is below this folder"):
        import_openi(tmp_path, tmp_path / "files", tmp_path / "out")


def test_the_real_reports_of_openi(tmp_path):
    spec = importlib.util.find_spec("torchxrayvision")
    archive = Path(spec.submodule_search_locations[0]) / "data/NLMCXR_reports.tgz" if spec else Path("absent")
    if not archive.is_file():
        pytest.skip("the real reports come with torchxrayvision, which is not installed")
    with tarfile.open(archive) as file:
        members = [member for member in file.getmembers() if member.name.endswith("1.xml")]
        file.extractall(tmp_path, members, filter="data")
    films = Counter()
    for path in (tmp_path / "ecgen-radiology").iterdir():
        for part in path.read_text().split('<parentImage id="')[1:]:
            film = part.partition('"')[0]
            films[film] += 1
            (tmp_path / f"{film}.png").touch()
    summary = import_openi(tmp_path, tmp_path, tmp_path / "out")
    assert summary.films == films.total() > 700 and not summary.missing
    impressions = [task.gold[0] for task in read_tasks(tmp_path / "out") if task.family == "impression"]
    assert len(impressions) > 0.95 * summary.films and not any("<" in text for text in impressions)
