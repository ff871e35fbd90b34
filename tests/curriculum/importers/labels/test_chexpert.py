from pathlib import Path

import pytest

from curriculum.importers.labels.chexpert import import_chexpert
from curriculum.taskset import TaskSetError, read_tasks
from tests.support.data_sets import by_family, draw_film, names_in, write_csv

HEADER = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,"
    "Lung Lesion,Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,"
    "Support Devices"
)


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
        draw_film(folder / row["Path"])
    return [write_csv(folder / "train.csv", HEADER, train), write_csv(folder / "valid.csv", HEADER, valid)]


def test_chexpert(tmp_path):
    summary = import_chexpert(tmp_path, chexpert_set(tmp_path), tmp_path / "out")
    tasks = read_tasks(tmp_path / "out")
    assert summary.films == 3 * 26 and summary.tasks.total() == len(tasks)

    edema = by_family(tasks, "patient00002/study1/view1_frontal.jpg")
    assert edema["view"].options[edema["view"].gold[0]] == "AP" and edema["view"].sex == "F" and edema["view"].age == 59
    assert "Stanford" in edema["view"].licence and "Irvin" in edema["view"].attribution
    lateral = by_family(tasks, "patient00002/study1/view2_lateral.jpg")["view"]
    assert lateral.options[lateral.gold[0]] == "Lateral"
    assert by_family(tasks, "patient64541/study1/view1_frontal.jpg")["diagnosis"].gold == ("Support Devices",)
    assert by_family(tasks, "patient00001/study1/view1_frontal.jpg")["diagnosis"].gold == ()

    # Nothing tells a film without findings from one with a finding that CheXpert has no label for.
    assert summary.unlabelled == 3 and set(by_family(tasks, "patient00005/study1/view1_frontal.jpg")) == {"view"}
    assert "3 films have no labels of findings" in "\n".join(summary.lines())


def test_chexpert_never_asks_what_is_unsure(tmp_path):
    labels = chexpert_set(tmp_path)
    unsure_of = {"patient00002": "Lung Opacity", "patient00003": "Pleural Effusion", "patient00004": "Pneumonia"}
    for seed in range(5):
        import_chexpert(tmp_path, labels, tmp_path / "out", seed)
        tasks = read_tasks(tmp_path / "out")
        for patient, unsure in unsure_of.items():
            about = [task for task in tasks if task.patient == patient]
            assert not any(unsure in task.question or unsure in names_in(task) for task in about)
            assert not any(f"{unsure} is" in task.gold[0] for task in about)
            assert {"binary", "single_choice", "report"} <= {task.family for task in about}
            assert "diagnosis" not in {task.family for task in about}
    assert "Lung Opacity" in {name for task in tasks if task.patient == "patient00004" for name in names_in(task)}


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


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"Edema": "2.0"}, "train.csv: row 0 .*frontal.jpg': Edema is '2.0'; a label is 1.0, 0.0, -1.0 or blank"),
        ({"Edema": "yes"}, "row 0 .*Edema is 'yes'"),
        ({"Path": "a.jpg"}, "row 0 .*'a.jpg': a path ends like train/patient00001"),
    ],
)
def test_a_bad_row_is_named_in_one_line(tmp_path, changes, words):
    with pytest.raises(TaskSetError, match=words) as caught:
        import_chexpert(tmp_path, chexpert_set(tmp_path, **changes), tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_archives_are_found_as_they_unpack(tmp_path):
    tables = chexpert_set(tmp_path / "small")
    batches = ("CheXpert-v1.0 batch 2 (train 1)", "CheXpert-v1.0 batch 3 (train 2)", "CheXpert-v1.0 batch 4 (train 3)")
    for number, patient in enumerate(sorted((tmp_path / "small/CheXpert-v1.0-small/train").iterdir())):
        target = tmp_path / "films" / batches[number % 3] / patient.name
        target.parent.mkdir(parents=True, exist_ok=True)
        patient.rename(target)
    valid = tmp_path / "films/CheXpert-v1.0 batch 1 (validate & csv)/valid"
    valid.parent.mkdir()
    (tmp_path / "small/CheXpert-v1.0-small/valid").rename(valid)
    summary = import_chexpert(tmp_path / "films", tables, tmp_path / "out")
    assert summary.films == 3 * 26 and not summary.missing


def test_backslashes_and_nan_in_the_table(tmp_path):
    tables = chexpert_set(tmp_path)
    text = tables[0].read_text().replace("CheXpert-v1.0-small/train/", "C:\\CheXpert\\train\\")
    tables[0].write_text(text.replace("/study", "\\study").replace("/view", "\\view").replace(",,", ",nan,"))
    assert import_chexpert(tmp_path, tables, tmp_path / "out").films == 3 * 26
