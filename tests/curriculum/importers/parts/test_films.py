"""Finding images and choosing splits; the importers' own tests go through `import_films` whole."""

from collections import Counter
from pathlib import Path

import pytest

from curriculum.importers.parts.films import import_films, index_images, locate, path_key, split_patients
from curriculum.importers.parts.label import Label
from curriculum.taskset import TaskSetError, read_tasks
from tests.support.data_sets import draw_film

FILE = Path("labels.csv")


def label(number: int, file: str = "", patient: str = "", **changes) -> Label:
    return Label(f"row {number}", f"f{number}", file or f"{number}.png", patient or f"p{number}", **changes)


def test_images_are_found_by_the_end_of_their_path(tmp_path):
    for name in ("p1/s1/view.png", "p1/s2/view.JPG", "p2/s1/view.png", "p2/s1/notes.txt"):
        draw_film(tmp_path / name)
    index = index_images(tmp_path, (1, 2))
    assert index["view.png"] == [str(tmp_path / "p1/s1/view.png"), str(tmp_path / "p2/s1/view.png")]
    assert index["s2/view.JPG"] == [str(tmp_path / "p1/s2/view.JPG")] and "notes.txt" not in index
    assert locate(label(0, "s2/view.JPG"), index) == str(tmp_path / "p1/s2/view.JPG")
    assert locate(label(0, "s3/view.png"), index) is None
    assert locate(label(0, str(tmp_path / "p2/s1/notes.txt")), index) == str(tmp_path / "p2/s1/notes.txt")
    with pytest.raises(TaskSetError, match="row 0: two images have this name, .*p1/s1/view.png and .*p2/s1/view.png"):
        locate(label(0, "view.png"), index)
    assert list(index_images(tmp_path, suffixes=(".txt",))) == ["notes.txt"]


@pytest.mark.parametrize("folder", ["C:\\Users\\ada\\films\\", "D:/films/", "/home/ada/films/", "\\\\server\\share\\"])
def test_absolute_paths_of_another_machine_are_found_below_what_they_have_in_common(tmp_path, folder):
    for name in ("p1/view.png", "p2/view.png", "p3/other.PNG"):
        draw_film(tmp_path / "in/deep" / name)
    paths = [folder + name for name in ("p1/view.png", "p2/view.png", "p3/other.png", "p9/view.png")]
    paths = [path.replace("/", "\\") if "\\" in folder else path for path in paths]
    films = [label(n, path, findings=("Mass",) if n else ()) for n, path in enumerate(paths)]
    summary = import_films(films, tmp_path / "in", FILE, tmp_path / "out", ["Mass", "Edema"])
    assert summary.films == 3 and summary.missing == [paths[3]]  # the film of p9 is none of the others
    found = {task.id.partition("-")[0]: task.images[0] for task in read_tasks(tmp_path / "out")}
    assert found == {
        f"f{n}": str(tmp_path / f"in/deep/p{n + 1}/{name}")
        for n, name in enumerate(("view.png", "view.png", "other.PNG"))
    }


def test_patients_are_split_by_the_seed_alone():
    labels = [label(number) for number in range(3000)]
    splits, source = split_patients(labels, FILE, 5)
    assert source == "by patient, 70/10/20, seed 5"
    assert {name: count / 3000 for name, count in Counter(splits.values()).items()} == pytest.approx(
        {"train": 0.7, "val": 0.1, "test": 0.2}, abs=0.03
    )
    some, _ = split_patients(labels[::7], FILE, 5)
    assert some.items() <= splits.items()
    assert split_patients(labels, FILE, 6)[0] != splits


def test_given_splits_are_kept_and_val_is_taken_from_train():
    whole = [label(0, split="train"), label(1, split="val"), label(2, split="test")]
    assert split_patients(whole, FILE, 0) == ({"p0": "train", "p1": "val", "p2": "test"}, "given by labels.csv")
    train = [label(number, split="train") for number in range(2000)]
    splits, source = split_patients([*train, label(2000, split="test")], FILE, 0)
    assert splits.pop("p2000") == "test" and source == "given by labels.csv; val taken from train, by patient, seed 0"
    assert Counter(splits.values())["val"] / 2000 == pytest.approx(1 / 8, abs=0.02)
    assert Counter(splits.values()).keys() == {"train", "val"}


@pytest.mark.parametrize(
    "labels, words",
    [
        ([label(0, split="dev")], "row 0: split 'dev' must be one of train, val, test"),
        (
            [label(0, patient="p", split="val"), label(1, patient="p", split="test")],
            "row 1: patient 'p' is in split 'test'",
        ),
        ([label(0, split="val"), label(1)], "labels.csv: the split is empty for some films"),
    ],
)
def test_splits_that_do_not_fit_are_refused(labels, words):
    with pytest.raises(TaskSetError, match=words):
        split_patients(labels, FILE, 0)


def test_what_is_left_out_is_counted(tmp_path):
    draw_film(tmp_path / "0.png")
    labels = [label(0, findings=("Mass",)), label(1, findings=())]
    summary = import_films(labels, tmp_path, FILE, tmp_path / "out", ("Mass", "Edema"), skipped=Counter({"of dogs": 2}))
    assert (summary.films, summary.missing, summary.skipped) == (1, ["1.png"], {"of dogs": 2})
    assert {task.images for task in read_tasks(tmp_path / "out")} == {(str(tmp_path / "0.png"),)}
    with pytest.raises(TaskSetError, match="row 0: this image has a row already"):
        import_films([label(0), label(0)], tmp_path, FILE, tmp_path / "again", ())
    with pytest.raises(TaskSetError, match="none of the 1 images of labels.csv .* the first would be 7.png"):
        import_films([label(7)], tmp_path, FILE, tmp_path / "again", ())
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    "written", ["a/b.png", "./a/b.png", "../x/../a/b.png", "a\\b.png", ".\\a\\b.png", "/a//b.png", " a/b.png "]
)
def test_the_key_of_a_path(written):
    assert path_key(written).endswith("a/b.png") and "\\" not in path_key(written) and "./" not in path_key(written)


def test_endings_in_capitals_and_composed_letters(tmp_path):
    for name in ("a.PNG", "b.png", "cafe\u0301.png"):
        draw_film(tmp_path / name)
    index = index_images(tmp_path)
    found = [locate(label(0, name), index) for name in ("a.png", "b.PNG", "caf\u00e9.png")]
    assert found == [str(tmp_path / name) for name in ("a.PNG", "b.png", "cafe\u0301.png")]


def test_a_path_that_is_no_text_is_named(tmp_path):
    draw_film(tmp_path / "half-\udcff/a.png")
    with pytest.raises(
        TaskSetError, match=r"row 0: the path '.*half-\\udcff/a.png' has bytes that are no UTF-8; rename it"
    ):
        locate(label(0, "a.png"), index_images(tmp_path))


@pytest.mark.parametrize(
    "archive",
    [
        "images_001/images/{}",  # NIH
        "files/p10/p10000032/s50414267/{}",  # MIMIC-CXR-JPG
        "0/{}",  # PadChest
        "physionet.org/files/vindr-cxr/1.0.0/train/{}",
        "NLMCXR_png/{}",
    ],
)
def test_archives_as_they_unpack(tmp_path, archive):
    for number in range(3):
        draw_film(tmp_path / "in" / archive.format(f"f{number}.png"))
    labels = [label(number, f"f{number}.png", findings=("Mass",)) for number in range(3)]
    summary = import_films(labels, tmp_path / "in", FILE, tmp_path / "out", ("Mass", "Edema"))
    assert summary.films == 3 and not summary.missing
