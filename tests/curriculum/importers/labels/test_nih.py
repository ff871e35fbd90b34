from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curriculum.images import check_image
from curriculum.importers.labels.nih import FINDINGS, import_nih
from curriculum.taskset import TaskSetError, read_tasks

REAL = Path(__file__).parents[4] / "../shared/data/cxr"
HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],\n"
)
LABELS = ["No Finding", "Effusion", "Cardiomegaly|Pleural_Thickening", "Mass|Nodule|Hernia"]


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4)).save(path)


def csv_set(folder: Path, patients: int = 60) -> Path:
    """Two films a patient, in two subfolders as NIH ships them."""
    lines = []
    for n in range(2 * patients):
        name = f"{n // 2:08d}_{n % 2:03d}.png"
        draw(folder / f"images_{n % 2:03d}/images/{name}")
        lines.append(f"{name},{LABELS[n % 4]},{n % 2},{n // 2},58,M,{'PA' if n % 3 else 'AP'},2682,2749,0.143,0.143,\n")
    path = folder / "Data_Entry_2017.csv"
    path.write_text(HEADER + "".join(lines))
    return path


def parquet_set(folder: Path, splits: list[str | None], **changes) -> Path:
    rows = []
    for n, split in enumerate(splits):
        draw(folder / f"images/{n}.png")
        row = dict(
            image_id=f"f{n}",
            file=f"images/{n}.png",
            labels=["Mass"] if n % 2 else [],
            no_finding=n % 2 == 0,
            patient_id=f"p{n}",
            view="AP",
            source="mine",
            license="CC0-1.0",
            attribution="me",
        )
        rows.append(row | ({"split": split} if split is not None else {}) | (changes if n == 1 else {}))
    pq.write_table(pa.Table.from_pylist(rows), folder / "labels.parquet")
    return folder / "labels.parquet"


def splits_of_patients(tasks):
    splits = defaultdict(set)
    for task in tasks:
        splits[task.patient].add(task.split)
    return splits


def test_csv_of_nih_becomes_tasks(tmp_path):
    labels = csv_set(tmp_path / "nih")
    summary = import_nih(tmp_path / "nih", labels, tmp_path / "out")
    tasks = read_tasks(tmp_path / "out")
    assert summary.films == 120 and summary.tasks.total() == len(tasks) == 120 * 7 + 60 and not summary.missing
    assert "closed binary: train" in "\n".join(summary.lines())

    splits = splits_of_patients(tasks)
    assert all(len(found) == 1 for found in splits.values())
    assert {s: sum(found == {s} for found in splits.values()) for s in ("train", "val", "test")} == pytest.approx(
        {"train": 42, "val": 6, "test": 12}, abs=8
    )

    progression = [task for task in tasks if task.family == "progression"]
    assert all(len(task.images) == 2 and task.images[0] < task.images[1] for task in progression)
    assert Counter(task.options[task.gold[0]] for task in progression).keys() == {"New", "Resolved", "Still absent"}
    third = {task.family: task for task in tasks if task.id.startswith("00000001_000-")}
    assert third["diagnosis"].gold == ("Cardiomegaly", "Pleural Thickening") and third["diagnosis"].view == "PA"
    assert third["diagnosis"].images == (str(tmp_path / "nih/images_000/images/00000001_000.png"),)
    assert "NIH Clinical Center" in third["diagnosis"].attribution and "no restrictions" in third["diagnosis"].licence
    truth = {task.images[0]: set(task.gold) for task in tasks if task.family == "diagnosis"}
    for task in tasks:
        assert task.reference and "_" not in task.reference
        if task.family.endswith("_choice"):
            right = {task.options[letter] for letter in task.gold}
            assert right <= (truth[task.images[0]] or {"No finding"})
            assert (
                not {task.options[letter] for letter in task.options if letter not in task.gold} & truth[task.images[0]]
            )
    sizes = [len(task.options) for task in tasks if task.family == "single_choice"]
    assert set(sizes) == {4, 5, 6, 7} and sizes.count(4) > len(sizes) / 2


def test_the_seed_decides_and_a_patient_keeps_its_split(tmp_path):
    labels = csv_set(tmp_path / "nih", patients=20)
    seeds = {"a": 0, "b": 0, "c": 1}
    files = [
        import_nih(tmp_path / "nih", labels, tmp_path / out, seed).path.read_bytes() for out, seed in seeds.items()
    ]
    assert files[0] == files[1] != files[2]
    for path in sorted((tmp_path / "nih/images_000/images").iterdir())[:8]:
        path.unlink()
    summary = import_nih(tmp_path / "nih", labels, tmp_path / "part")
    assert len(summary.missing) == 8 and summary.films == 32
    assert "skipped 8 films without their image file: 00000000_000.png, " in "\n".join(summary.lines())
    whole = splits_of_patients(read_tasks(tmp_path / "a"))
    assert all(whole[p] == found for p, found in splits_of_patients(read_tasks(tmp_path / "part")).items())


def test_boxes_become_grounding_tasks(tmp_path):
    labels = csv_set(tmp_path, patients=2)
    (tmp_path / "BBox_List_2017.csv").write_text(
        "Image Index,Finding Label,Bbox [x,y,w,h],,,\n00000000_001.png,Effusion,102.4,204.8,512,256,,,\n"
    )
    import_nih(tmp_path, labels, tmp_path / "out", boxes=tmp_path / "BBox_List_2017.csv")
    (task,) = (task for task in read_tasks(tmp_path / "out") if task.family == "grounding")
    assert task.gold == ("[100, 200, 600, 450]",) and task.form == "boxes" and "Effusion" in task.question


def test_a_box_outside_its_film_is_named(tmp_path):
    labels = csv_set(tmp_path, patients=2)
    (tmp_path / "BBox_List_2017.csv").write_text(
        "Image Index,Finding Label,Bbox [x,y,w,h],,,\n00000000_001.png,Effusion,2048,10,20,20,,,\n"
    )
    with pytest.raises(
        TaskSetError, match="row 1 .*'00000000_001.png'.*the box .* of Effusion holds nothing"
    ) as caught:
        import_nih(tmp_path, labels, tmp_path / "out", boxes=tmp_path / "BBox_List_2017.csv")
    assert "\n" not in str(caught.value)


def test_images_inside_out_are_stored_relative(tmp_path):
    import_nih(tmp_path, csv_set(tmp_path, patients=2), tmp_path)
    assert pq.read_table(tmp_path / "tasks.parquet")["images"][0].as_py() == ["images_000/images/00000000_000.png"]


def test_given_splits_and_provenance_are_kept(tmp_path):
    summary = import_nih(tmp_path, parquet_set(tmp_path, ["train", "val", "test"]), tmp_path / "out")
    tasks = read_tasks(tmp_path / "out")
    assert [task.split for task in tasks if task.family == "view"] == [
        "train",
        "val",
        "test",
    ] and "given by" in summary.splits_from
    assert {(t.view, t.source, t.licence, t.attribution) for t in tasks} == {("AP", "mine", "CC0-1.0", "me")}


def test_val_is_carved_from_train(tmp_path):
    summary = import_nih(tmp_path, parquet_set(tmp_path, ["train"] * 64 + ["test"] * 8), tmp_path / "out")
    counts = [summary.tasks["open", "diagnosis", split] for split in ("train", "val", "test")]
    assert counts[2] == 8 and 1 <= counts[1] <= 16 and "val taken from train" in summary.splits_from


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"patient_id": "p0"}, "row 1 .*patient 'p0' is in split 'val' here and in 'train' above"),
        ({"split": "dev"}, "row 1 .*split 'dev' must be one of train, val, test"),
        ({"split": ""}, "the split is empty for some films"),
        ({"labels": ["Flu"]}, "row 1 .*'Flu' is none of the findings; they are No finding or Atelectasis"),
        ({"labels": []}, "either no finding or some of them"),
        ({"image_id": "f0"}, "row 1 .*one row per image"),
        ({"patient_id": None}, "row 1 .*both are needed"),
    ],
)
def test_bad_labels_are_named_in_one_line(tmp_path, changes, words):
    with pytest.raises(TaskSetError, match=words) as caught:
        import_nih(tmp_path, parquet_set(tmp_path, ["train", "val", "test"], **changes), tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("x.csv", "Image Index,Finding Labels\n", "column 'Patient ID' is missing"),
        ("x.csv", "", "column 'Image Index' is missing"),
        (
            "x.csv",
            HEADER + "a.png,Mass|No Finding,0,1,5,M,PA,1,1,1,1,\n",
            "row 0 .*'No Finding' is none of the findings",
        ),
        ("x.csv", HEADER + "a.png\n", "row 0 .*image 'a.png'"),
        ("x.csv", "\udcff\udcfe", "column 'Image Index' is missing"),
        ("x.parquet", "a,b\n", "not a readable Parquet"),
        ("x.parquet", None, "no such file"),
        ("x.csv", None, "not a readable CSV"),
        ("x.csv", HEADER + "a.png,Mass,0,1,5,M,PA,1,1,1,1,\n", "none of the 1 images .*'?a.png"),
    ],
)
def test_bad_label_files(tmp_path, name, text, words):
    if text is not None:
        (tmp_path / name).write_text(text, errors="surrogateescape")
    with pytest.raises(TaskSetError, match=words):
        import_nih(tmp_path, tmp_path / name, tmp_path / "out")


def test_two_images_of_one_name_are_refused(tmp_path):
    labels = csv_set(tmp_path, patients=1)
    draw(tmp_path / "small/00000000_000.png")
    with pytest.raises(TaskSetError, match="two images have this name"):
        import_nih(tmp_path, labels, tmp_path / "out")


def test_the_real_set(tmp_path):
    if not (REAL / "labels.parquet").exists():
        pytest.skip(f"the real films are not at {REAL}")
    summary = import_nih(REAL / "images", REAL / "labels.parquet", tmp_path)
    assert summary.films == 1605 and summary.skipped.total() == 6 and not summary.missing
    assert [summary.tasks["open", "diagnosis", split] for split in ("train", "val", "test")] == [1157, 157, 291]
    tasks = read_tasks(tmp_path)
    assert {name for task in tasks if task.form == "names" for name in task.gold} == set(FINDINGS)
    families = Counter(task.family for task in tasks)
    assert all(
        families[f] == 1605
        for f in ("binary", "single_choice", "multiple_choice", "diagnosis", "report", "view", "image_text_matching")
    )
    assert families["progression"] > 100 and sum(len(t.gold) for t in tasks if t.family == "grounding") == 60
    assert {task.sex for task in tasks} == {"F", "M"} and all(task.age for task in tasks)
    assert all(len(found) == 1 for found in splits_of_patients(tasks).values())
    for index in np.random.default_rng(0).choice(len(tasks), 8):
        check_image(tasks[index].images[0])


@pytest.mark.parametrize(
    "boxes", ["no JSON", "[1]", '[{"label": "Mass"}]', '[{"label": "Mass", "x": "a", "y": 1, "w": 1, "h": 1}]']
)
def test_boxes_that_are_none_are_named_with_their_row(tmp_path, boxes):
    path = parquet_set(tmp_path, ["train"])
    row = pq.read_table(path).to_pylist()[0] | {"boxes": boxes}
    pq.write_table(pa.Table.from_pylist([row]), path)
    with pytest.raises(TaskSetError, match="row 0 .*boxes is .*; JSON is needed, a list of objects with label"):
        import_nih(tmp_path, path, tmp_path / "out")


def test_a_follow_up_that_is_no_number_is_named(tmp_path):
    path = csv_set(tmp_path, patients=1)
    lines = path.read_text().splitlines()
    place = lines[0].split(",").index("Follow-up #")
    cells = lines[1].split(",")
    cells[place] = "first"
    path.write_text("\n".join([lines[0], ",".join(cells)]))
    with pytest.raises(TaskSetError, match="row 0 .*the follow-up number is 'first'; a number is needed"):
        import_nih(tmp_path, path, tmp_path / "out")
