"""The measures of each form of answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from cluster.measures.measure import Measure, bleu, macro_f1, macro_recall, mean, micro_f1
from cluster.measures.result import Result
from curriculum.boxes import mean_iou, read_box, read_boxes
from rewards.comparison.overlap import rouge_l
from rewards.findings.canonical import canonical
from rewards.findings.extract import extract


class Findings:
    """Answers that name findings, as sets: three matrices [tasks, names] of 0 and 1.

    `names` are those that occur in the gold; what an answer names beyond them is counted in one more column of `found`.
    An answer that cannot be read found nothing.
    """

    def __init__(self, tasks: np.ndarray, gold: Sequence[Set[str]], found: Sequence[Set[str]]) -> None:
        self.tasks = tasks
        self.names = sorted(set().union(*gold))
        place = {name: i for i, name in enumerate(self.names)}
        self.gold, self.found = (np.zeros((len(tasks), len(self.names) + 1)) for _ in range(2))
        for row, (true, said) in enumerate(zip(gold, found, strict=True)):
            self.gold[row, [place[name] for name in true]] = 1
            self.found[row, [place[name] for name in said if name in place]] = 1
            self.found[row, -1] = sum(name not in place for name in said)
        self.hit = self.gold * self.found

    def micro_f1(self, names: Sequence[str] | None = None) -> Measure:
        columns = self._columns(names)
        return micro_f1(self.tasks, self.hit[:, columns], self.gold[:, columns], self.found[:, columns])

    def macro_f1(self, names: Sequence[str] | None = None) -> Measure:
        columns = self._columns(names)
        return macro_f1(self.tasks, self.hit[:, columns], self.gold[:, columns], self.found[:, columns])

    def recall(self, names: Sequence[str] | None = None) -> Measure:
        """Of the tasks whose gold has any of the names."""
        columns = self._columns(names)
        rows = self.gold[:, columns].any(1)
        return macro_recall(self.tasks[rows], self.hit[rows][:, columns], self.gold[rows][:, columns])

    def _columns(self, names: Sequence[str] | None) -> list[int]:
        """The columns of `names`; all of them, that of other names too, where left out."""
        if names is None:
            return list(range(len(self.names) + 1))
        return [i for i, name in enumerate(self.names) if name in names]


@dataclass(frozen=True)
class FormMeasures:
    """What is measured of the answers of one form, beside the rate of sound formats.

    Attributes:
        prefix: begins the names of the measures over all tasks of the form.
        main: the measures that strata are compared by.
        measure: takes the places of the tasks among all results, and their results in the same order.
        has_bertscore: whether answers and gold are texts that `BertScorer` can compare.
    """

    prefix: str
    main: tuple[str, ...]
    measure: Callable[[np.ndarray, Sequence[Result]], dict[str, Measure]]
    has_bertscore: bool = False


def _mean_outcome(tasks: np.ndarray, results: Sequence[Result]) -> Measure:
    return mean(tasks, np.array([r.verdict.outcome for r in results]))


def _letters(tasks: np.ndarray, results: Sequence[Result]) -> dict[str, Measure]:
    return {"accuracy": _mean_outcome(tasks, results)}


def _names(tasks: np.ndarray, results: Sequence[Result]) -> dict[str, Measure]:
    named = _findings(tasks, results)
    measures = {"f1": _mean_outcome(tasks, results), "micro_f1": named.micro_f1()}
    if named.names:  # some film is not healthy
        measures |= {"macro_f1": named.macro_f1(), "recall": named.recall()}
    return measures


def _boxes(tasks: np.ndarray, results: Sequence[Result]) -> dict[str, Measure]:
    overlap = np.array([mean_iou(read_boxes(r.final), [read_box(box) for box in r.task.gold]) for r in results])
    return {"iou": mean(tasks, overlap), "iou_50": mean(tasks, overlap >= 0.5)}


def _text(tasks: np.ndarray, results: Sequence[Result]) -> dict[str, Measure]:
    from sacrebleu.metrics import BLEU

    answers = [r.final for r in results]
    golds = [r.task.gold[0] for r in results]
    counter = BLEU(lowercase=True, effective_order=True)  # the order is for single texts; only their counts are used
    counted = [counter.sentence_score(answer, [gold]) for answer, gold in zip(answers, golds, strict=True)]
    counts = np.array([[c.sys_len, c.ref_len, *c.counts, *c.totals] for c in counted])
    overlaps = np.array([rouge_l(answer, gold) for answer, gold in zip(answers, golds, strict=True)])
    asserted = Findings(
        tasks, gold=[extract(gold).present for gold in golds], found=[extract(answer).present for answer in answers]
    )
    return {"bleu": bleu(tasks, counts), "rouge_l": mean(tasks, overlaps), "clinical_f1": asserted.micro_f1()}


def _other(tasks: np.ndarray, results: Sequence[Result]) -> dict[str, Measure]:
    return {"outcome": _mean_outcome(tasks, results)}


FORM_MEASURES: dict[str, FormMeasures] = {
    "letters": FormMeasures("closed", ("accuracy",), _letters),
    "names": FormMeasures("open", ("micro_f1", "recall"), _names),
    "boxes": FormMeasures("boxes", ("iou",), _boxes),
    "text": FormMeasures("text", ("rouge_l", "clinical_f1"), _text, has_bertscore=True),
}
"""The measures of the forms that have some of their own."""


def measures_of(form: str) -> FormMeasures:
    """The measures of a form; those of a form without its own are its mean outcome, under the form's name."""
    return FORM_MEASURES.get(form) or FormMeasures(form, ("outcome",), _other)


def texts_for_bertscore(results: Sequence[Result]) -> list[tuple[str, str]]:
    """(answer, gold) of each result that `BertScorer` can compare, in order."""
    return [(r.final, r.task.gold[0]) for r in results if measures_of(r.task.form).has_bertscore]


def findings_of(results: Sequence[Result]) -> Findings:
    """The answers to the tasks that ask for names."""
    tasks = _places(results, "names")
    return _findings(tasks, [results[i] for i in tasks])


def _findings(tasks: np.ndarray, results: Sequence[Result]) -> Findings:
    return Findings(
        tasks,
        gold=[{canonical(name) for name in r.task.gold} for r in results],
        found=[set(r.verdict.answer or ()) for r in results],
    )


def measures_by_form(
    results: Sequence[Result], bertscore: Mapping[str, Sequence[float]]
) -> dict[str, dict[str, Measure]]:
    """Every measure of each form that the results have.

    Args:
        bertscore: what `BertScorer` gave for each of `texts_for_bertscore(results)`; may be empty.
    """
    measured: dict[str, dict[str, Measure]] = {}
    forms = dict.fromkeys([*FORM_MEASURES, *(result.task.form for result in results)])
    for form in forms:
        tasks = _places(results, form)
        if len(tasks) == 0:
            continue
        own = [results[i] for i in tasks]
        measures = {"format_rate": mean(tasks, np.array([r.verdict.format for r in own]))}
        measures |= measures_of(form).measure(tasks, own)
        if measures_of(form).has_bertscore:
            measures |= {name: mean(tasks, np.array(values)) for name, values in bertscore.items()}
        measured[form] = measures
    return measured


def _places(results: Sequence[Result], form: str) -> np.ndarray:
    """The places of the results of a form."""
    return np.array([i for i, result in enumerate(results) if result.task.form == form], int)
