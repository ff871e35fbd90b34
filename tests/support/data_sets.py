"""Tiny data sets in the form that the real ones ship in, and checks of the tasks that are made of them."""

import csv
import io
from collections import defaultdict
from pathlib import Path

from PIL import Image

from rewards.config import RewardConfig
from rewards.score import score


def png(shade: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("L", (4, 4), shade).save(file, "PNG")
    return file.getvalue()


def draw_film(path: Path, shade: int = 0) -> None:
    """Writes a small grey PNG file, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(shade))


def write_csv(path: Path, header: str, rows: list[dict[str, object]], opener=open) -> Path:
    """A CSV with every column of the header; what a row does not name is blank."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with opener(path, "wt", newline="") as file:
        writer = csv.DictWriter(file, header.split(","))
        writer.writeheader()
        writer.writerows(rows)
    return path


def by_family(tasks, ending: str) -> dict:
    """Family to the task about the film whose path ends so."""
    return {task.family: task for task in tasks if task.images[-1].endswith(ending)}


def names_in(task) -> set[str]:
    """The findings that a task is about."""
    return {task.question.removeprefix("Is there ").rstrip("?"), *task.options.values(), *task.gold}


def assert_gold_is_answerable(tasks):
    """A response that says the gold gets the whole outcome from the rewards."""
    for task in tasks:
        final = ", ".join(task.gold) or "No finding"
        assert score(task, f"<think>So.</think><answer>{final}</answer>", RewardConfig()).outcome == 1, task


def assert_splits_share_no_image(tasks):
    splits = defaultdict(set)
    for task in tasks:
        for image in task.images:
            splits[image].add(task.split)
    assert all(len(found) == 1 for found in splits.values())


def mimic_tables(folder: Path, films: dict[str, tuple[int, int, str, str]], size: tuple[int, int] = (100, 200)) -> Path:
    """MIMIC-CXR-JPG in small: dicom_id to (subject, study, view, split), with a film of each.

    Args:
        folder: gets the tables and files/….jpg; it is returned.
        films: in the order of time.
        size: width and height that the metadata give every film.
    """
    metadata, splits = [], []
    for number, (id, (subject, study, view, split)) in enumerate(films.items()):
        metadata.append(
            dict(dicom_id=id, subject_id=subject, study_id=study, ViewPosition=view, Columns=size[0], Rows=size[1])
            | dict(StudyDate=21800101 + number, StudyTime="101010.5")
        )
        splits.append(dict(dicom_id=id, study_id=study, subject_id=subject, split=split))
        draw_film(folder / f"files/p{str(subject)[:2]}/p{subject}/s{study}/{id}.jpg")
    header = "dicom_id,subject_id,study_id,ViewPosition,Rows,Columns,StudyDate,StudyTime"
    write_csv(folder / "mimic-cxr-2.0.0-metadata.csv", header, metadata)
    write_csv(folder / "mimic-cxr-2.0.0-split.csv", "dicom_id,study_id,subject_id,split", splits)
    return folder
