"""The measures of each form of answer: letters, names, boxes, text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import numpy as np

from cluster.measures.measure import Measure, bleu, macro_f1, macro_recall, mean, micro_f1
from cluster.measures.result import Result
from curriculum.boxes import mean_iou, read_box, read_boxes
from curriculum.forms import Form
from rewards.findings.canonical import canonical
from rewards.findings.extract import extract
from rewards.findings.overlap import rouge_l

PREFIX: dict[Form, str] = {"letters": "closed", "names": "open", "boxes": "boxes", "text": "text"}
"""What the names of the measures over all tasks of a form begin with."""
MAIN: dict[Form, tuple[str, ...]] = {
    "letters": ("accuracy",),
    "names": ("micro_f1", "recall"),
    "boxes": ("iou",),
    "text": ("rouge_l", "clinical_f1"),
}
"""The measures that strata are compared by."""


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


def findings_of(results: Sequence[Result]) -> Findings:
    """The answers to the tasks that ask for names."""
    tasks = _places(results, "names")
    asked = [results[i] for i in tasks]
    return Findings(
        tasks, [{canonical(name) for name in r.task.gold} for r in asked], [set(r.verdict.answer or ()) for r in asked]
    )


def measures_by_form(
    results: Sequence[Result], bertscore: Mapping[str, Sequence[float]]
) -> dict[Form, dict[str, Measure]]:
    """Every measure of each form that the results have.

    Args:
        bertscore: for each result that asks for text, in order, what `BertScorer` gave; may be empty.
    """
    measured: dict[Form, dict[str, Measure]] = {}
    for form in PREFIX:
        tasks = _places(results, form)
        if len(tasks):
            asked = [results[i] for i in tasks]
            measured[form] = {"format_rate": mean(tasks, np.array([r.verdict.format for r in asked]))}
            if form == "letters":
                measured[form]["accuracy"] = mean(tasks, np.array([r.verdict.outcome for r in asked]))
            elif form == "names":
                measured[form] |= _names(tasks, asked, findings_of(results))
            elif form == "boxes":
                measured[form] |= _boxes(tasks, asked)
            else:
                measured[form] |= _text(tasks, asked)
                measured[form] |= {name: mean(tasks, np.array(values)) for name, values in bertscore.items()}
    return measured


def _names(tasks: np.ndarray, asked: Sequence[Result], named: Findings) -> dict[str, Measure]:
    measures = {"f1": mean(tasks, np.array([r.verdict.outcome for r in asked])), "micro_f1": named.micro_f1()}
    if named.names:  # some film is not healthy
        measures |= {"macro_f1": named.macro_f1(), "recall": named.recall()}
    return measures


def _boxes(tasks: np.ndarray, asked: Sequence[Result]) -> dict[str, Measure]:
    overlap = np.array([mean_iou(read_boxes(r.final), [read_box(box) for box in r.task.gold]) for r in asked])
    return {"iou": mean(tasks, overlap), "iou_50": mean(tasks, overlap >= 0.5)}


def _text(tasks: np.ndarray, asked: Sequence[Result]) -> dict[str, Measure]:
    from sacrebleu.metrics import BLEU

    pairs = [(r.final, r.task.gold[0]) for r in asked]
    counter = BLEU(lowercase=True, effective_order=True)  # the order is for single texts; only their counts are used
    counted = [counter.sentence_score(answer, [gold]) for answer, gold in pairs]
    counts = np.array([[c.sys_len, c.ref_len, *c.counts, *c.totals] for c in counted])
    overlaps = np.array([rouge_l(answer, gold) for answer, gold in pairs])
    asserted = Findings(tasks, *([extract(texts[side]).present for texts in pairs] for side in (1, 0)))
    return {"bleu": bleu(tasks, counts), "rouge_l": mean(tasks, overlaps), "clinical_f1": asserted.micro_f1()}


def _places(results: Sequence[Result], form: Form) -> np.ndarray:
    return np.array([i for i, result in enumerate(results) if result.task.form == form], int)
