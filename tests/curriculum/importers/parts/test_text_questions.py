from collections import Counter
from pathlib import Path

import pytest

from curriculum.importers.importer import Skipped
from curriculum.importers.parts.label import Label
from curriculum.importers.parts.text_questions import import_texts
from curriculum.taskset import TaskSetError, read_tasks

VOCABULARY = ("Edema", "Effusion", "Mass", "Pleural Thickening")


def label(number, findings, text="", split="", patient=""):
    """A report; its text names what it states, so that a test can tell from the text what is right."""
    text = text or f"Case {number}. {', '.join(findings or ()) or 'Nothing.'}"
    patient = patient or f"p{number}"
    own = {"source": "clinic", "licence": "CC0"}
    return Label(
        f"row {number}",
        id=f"r{number}",
        file="",
        patient=patient,
        findings=findings,
        split=split,
        provenance=own,
        sections={"findings": text, "impression": "See above."},
    )


def archive(healthy=300):
    stated = [label(n, (VOCABULARY[n % 4], VOCABULARY[(n + 1) % 4])) for n in range(120)]
    return [*stated, *(label(n, ()) for n in range(120, 120 + healthy))]


def written(tmp_path, labels):
    skipped = Skipped()
    summary = import_texts(iter(labels), Path("labels.csv"), tmp_path, VOCABULARY, 0, skipped)
    return summary, list(read_tasks(tmp_path))


def test_each_report_with_findings_is_asked_about_one_that_it_states_and_one_that_it_does_not(tmp_path):
    _, tasks = written(tmp_path, archive())
    of_report = Counter()
    for task in tasks:
        if task.family == "report_binary":
            finding = task.question.removeprefix("Does this report state ").removesuffix("?")
            assert finding in VOCABULARY and task.options == {"A": "Yes", "B": "No"}
            stated = finding in task.context
            assert task.gold == (("A",) if stated else ("B",))
            thought = f"{finding} is stated." if stated else f"{finding} is not stated."
            assert task.reference == f"<think>{thought}</think><answer>{task.gold[0]}</answer>"
            of_report[task.patient, stated] += 1
    assert len(of_report) == 240 and set(of_report.values()) == {1}


def test_the_open_question_lists_what_was_looked_for_and_its_gold_is_what_the_report_states(tmp_path):
    _, tasks = written(tmp_path, archive())
    opened = [task for task in tasks if task.family == "report_findings"]
    for task in opened:
        assert task.question == f"Which of these findings does this report state: {', '.join(VOCABULARY)}?"
        assert set(task.gold) == {name for name in VOCABULARY if name in task.context.partition("Impression")[0]}
        assert task.reference.endswith(f"<answer>{', '.join(task.gold) or 'No finding'}</answer>")
    first = next(task for task in opened if task.patient == "p0")
    assert first.context == "Findings: Case 0. Edema, Effusion\nImpression: See above."
    assert first.asked.startswith(first.context) and first.images == ()
    assert (first.source, first.licence) == ("clinic", "CC0")


def test_there_are_as_many_reports_without_a_finding_as_with_one_in_each_split(tmp_path):
    summary, tasks = written(tmp_path, archive())
    sizes = Counter((task.split, bool(task.gold)) for task in tasks if task.family == "report_findings")
    assert sum(sizes.values()) == summary.films == 240
    assert all(sizes[split, True] == sizes[split, False] > 0 for split in ("train", "val", "test"))
    assert any(line.startswith("180 reports without a finding are not asked about") for line in summary.lines())
    assert summary.lines()[0].startswith("240 reports, ") and "WARNING" not in str(summary.lines())
    few, _ = written(tmp_path / "few", archive(healthy=3))
    assert few.films == 123 and not few.remarks


def test_a_text_is_in_one_split_only_and_what_cannot_be_asked_is_counted(tmp_path):
    labels = archive()
    labels += [label(n, ("Mass",), "The same MASS." if n % 2 else "The same mass.") for n in range(500, 600)]
    labels += [label(600, None), label(601, ("Mass",))]
    labels[-1] = Label("row", id="r601", file="", patient="p601", findings=("Mass",))
    summary, tasks = written(tmp_path, labels)
    assert summary.skipped == {
        "that repeat the text of another": 99,
        "whose findings are not known": 1,
        "without a text": 1,
    }
    splits = {}
    for task in tasks:
        assert splits.setdefault(task.context.casefold(), task.split) == task.split


def test_splits_that_are_given_are_kept(tmp_path):
    labels = [label(n, ("Mass",), split="train" if n < 8 else "test") for n in range(10)]
    summary, tasks = written(tmp_path, labels)
    assert {task.patient for task in tasks if task.split == "test"} == {"p8", "p9"}
    assert summary.splits_from.startswith("given by labels.csv")


def test_the_same_seed_gives_the_same_questions(tmp_path):
    one, two = written(tmp_path / "1", archive())[1], written(tmp_path / "2", archive())[1]
    assert one == two


def test_a_report_with_two_rows_and_a_set_without_reports_are_told(tmp_path):
    with pytest.raises(TaskSetError, match=r"row 1: the report 'r1' has a row already"):
        written(tmp_path, [label(1, ("Mass",)), label(1, ())])
    with pytest.raises(TaskSetError, match=r"labels.csv: no report has a text and findings; skipped 1 reports whose"):
        written(tmp_path, [label(1, None)])
