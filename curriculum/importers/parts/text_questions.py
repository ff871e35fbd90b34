"""Questions about the text of a report, for models that read text only: no task has a film.

| family | domain, form | asks |
|---|---|---|
| `report_binary` | closed | does the report state a finding? |
| `report_findings` | open, names | which of the findings that were looked for does the report state? |

A report with findings is asked about one that it states and one that it does not.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from curriculum.importers.importer import ImportSummary, Skipped, skip_lines
from curriculum.importers.parts.film_questions import unit
from curriculum.importers.parts.films import split_patients
from curriculum.importers.parts.label import Label
from curriculum.questions import LabelledFilm, QuestionWriter
from curriculum.task import NO_FINDING, Split, Task
from curriculum.taskset import FILE_NAME, TaskSetError, write_tasks

_UNLABELLED = "whose findings are not known"
_NO_TEXT = "without a text"
_REPEATED = "that repeat the text of another"
_HEALTHY = "reports without a finding are not asked about: in each split there are as many as reports with one"


def import_texts(
    labels: Iterable[Label], label_file: Path, out: Path, vocabulary: Sequence[str], seed: int, skipped: Skipped
) -> ImportSummary:
    """Writes `out`/tasks.parquet with the questions that the findings of each report answer.

    Reports of the same text are asked about once, so that no text is in two splits. Most reports of an archive state no
    finding; of these, as many are drawn in each split as there are reports with one.

    Args:
        labels: one for each report, with its text in `sections`; images are not used.
        label_file: where the labels come from, for messages.
        out: folder for the task set.
        vocabulary: the findings that were looked for.
        seed: of the questions and the splits.
        skipped: rows that the reader left out, by reason; it is filled while `labels` are read.

    Raises:
        TaskSetError: a report has two rows, no report can be asked about, or the splits cannot be used
            (`films.split_patients`).
    """
    reports = _usable(labels, skipped)
    if not reports:
        reasons = "".join(f"; skipped {line}" for line in skip_lines(skipped, "reports"))
        raise TaskSetError(f"{label_file}: no report has a text and findings{reasons}")
    splits, splits_from = split_patients(reports, label_file, seed)
    kept = _balanced(reports, splits, seed)
    summary = ImportSummary(out / FILE_NAME, splits_from, len(kept), skipped=skipped, rows="reports")
    if len(reports) > len(kept):
        summary.remarks[_HEALTHY] = len(reports) - len(kept)
    write_tasks(summary.counted(_questions(kept, splits, vocabulary, seed)), out)
    return summary


def _usable(labels: Iterable[Label], skipped: Skipped) -> list[Label]:
    """The reports that can be asked about, each text once."""
    first: dict[str, Label] = {}
    texts: set[str] = set()
    usable = []
    for label in labels:
        if first.setdefault(label.id, label) is not label:
            raise TaskSetError(f"{label.where}: the report {label.id!r} has a row already; one row per report")
        text = _text(label).casefold()
        if not text or label.findings is None:
            skipped[_UNLABELLED if text else _NO_TEXT] += 1
        elif text in texts:
            skipped[_REPEATED] += 1
        else:
            texts.add(text)
            usable.append(label)
    return usable


def _text(label: Label) -> str:
    return "\n".join(f"{name.capitalize()}: {text}" for name, text in label.sections.items())


def _balanced(reports: Sequence[Label], splits: dict[str, Split], seed: int) -> list[Label]:
    """All reports with findings and, in each split, at most as many of the others."""
    room = Counter(splits[report.patient] for report in reports if report.findings)
    healthy = sorted((report for report in reports if not report.findings), key=lambda r: unit(f"{seed}:{r.id}"))
    drawn: defaultdict[Split, list[str]] = defaultdict(list)
    for report in healthy:
        split = splits[report.patient]
        if len(drawn[split]) < room[split]:
            drawn[split].append(report.id)
    kept = {id for ids in drawn.values() for id in ids}
    return [report for report in reports if report.findings or report.id in kept]


def _questions(
    reports: Sequence[Label], splits: dict[str, Split], vocabulary: Sequence[str], seed: int
) -> Iterator[Task]:
    """The tasks of each report. Findings that a report does not state are drawn by how common they are in train."""
    seen = Counter(
        finding for report in reports if splits[report.patient] == "train" for finding in report.findings or ()
    )
    writer = QuestionWriter({finding: seen[finding] + 1 for finding in vocabulary}, 0, _describe)
    listed = ", ".join(vocabulary)
    for report in reports:
        rng = np.random.default_rng([seed, int(unit(report.id) * 2**48)])
        film = LabelledFilm(report.id, "", report.findings or (), splits[report.patient], report.patient)
        if film.findings:
            yield _binary(writer, report, film, str(rng.choice(film.findings)))
            if writer.absent(film):
                yield _binary(writer, report, film, writer.distractors(film, 1, rng)[0])
        yield _list(report, film, listed)


def _binary(writer: QuestionWriter, report: Label, film: LabelledFilm, finding: str) -> Task:
    stated = finding in film.findings
    gold, wrong = ("A", "B") if stated else ("B", "A")
    return _task(
        report,
        film,
        f"binary-{finding.lower().replace(' ', '-')}",
        domain="closed",
        family="report_binary",
        question=f"Does this report state {finding}?",
        options={"A": "Yes", "B": "No"},
        why_wrong={wrong: film.label_of(finding)},
        gold=(gold,),
        reference=f"<think>{_describe(finding, stated)}</think><answer>{gold}</answer>",
    )


def _list(report: Label, film: LabelledFilm, vocabulary: str) -> Task:
    thought = " ".join(_describe(finding, True) for finding in film.findings) or "None of them is stated."
    answer = ", ".join(film.findings) or NO_FINDING
    return _task(
        report,
        film,
        "findings",
        domain="open",
        family="report_findings",
        question=f"Which of these findings does this report state: {vocabulary}?",
        gold=film.findings,
        reference=f"<think>{thought}</think><answer>{answer}</answer>",
    )


def _task(report: Label, film: LabelledFilm, suffix: str, **fields: Any) -> Task:
    return Task(
        id=f"{report.id}-{suffix}",
        images=(),
        context=_text(report),
        split=film.split,
        patient=film.patient,
        **report.provenance,
        **fields,
    )


def _describe(finding: str, stated: bool) -> str:
    """The think sentence of a gold trace: the label in words, since no more is known of the report."""
    return f"{finding} is stated." if stated else f"{finding} is not stated."
