from collections import Counter
from pathlib import Path

import pytest

from curriculum.importers.importer import ImportSummary, Skipped
from curriculum.task import Task


def tasks(family: str, split: str, count: int) -> list[Task]:
    return [
        Task(id=f"{family}{split}{n}", domain="open", family=family, question="?", gold=(), images=(), split=split)
        for n in range(count)
    ]


def test_a_summary_counts_tasks_as_they_pass():
    summary = ImportSummary(Path("out/tasks.parquet"), "by patient", films=3)
    given = [*tasks("vqa", "train", 2), *tasks("diagnosis", "test", 1), *tasks("vqa", "val", 1)]
    assert list(summary.counted(given)) == given
    assert summary.lines() == [
        "3 films, 4 tasks → out/tasks.parquet",
        "splits: by patient",
        "open diagnosis: train 0, val 0, test 1",
        "open vqa: train 2, val 1, test 0",
        "none in train: diagnosis; a run needs the families that it trains in train, val and test",
        "none in val: diagnosis; a run needs the families that it trains in train, val and test",
        "none in test: vqa; a run needs the families that it trains in train, val and test",
    ]


def test_a_summary_says_what_was_left_out():
    summary = ImportSummary(
        Path("t"),
        "s",
        unlabelled=2,
        missing=[f"{n}.png" for n in range(6)],
        skipped=Counter({"of dogs": 1, "of cats": 3}),
        rows="questions",
        remarks=Counter({"findings are not asked about": 7}),
    )
    assert summary.lines()[2:] == [
        "2 films have no labels of findings; they are asked about by view and report only",
        "skipped 6 films without their image file: 0.png, 1.png, 2.png, 3.png, 4.png, …",
        "7 findings are not asked about",
        "skipped 3 questions of cats",
        "skipped 1 questions of dogs",
        "WARNING: 4 of 4 questions (100%) were left out; see the lines above",
    ]
    summary.missing.pop()
    assert summary.lines()[3].endswith("3.png, 4.png")


@pytest.mark.parametrize("films, warned", [(90, False), (89, True)])
def test_more_than_a_tenth_left_out_is_said_aloud(films, warned):
    skipped = Skipped()
    for number in range(7):
        skipped.note("that are cut", f"{number}.png:\n  cut")
    summary = ImportSummary(Path("t"), "s", films=films, missing=["a", "b", "c"], skipped=skipped)
    line = "skipped 7 films that are cut (0.png: cut; 1.png: cut; 2.png: cut; …)"
    assert line in summary.lines()
    assert summary.lines()[-1].startswith("WARNING: 10 of ") is warned
