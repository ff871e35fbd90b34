"""Measures of several sampled responses to each task, and of the marks in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from cluster.measures.forms import measures_of
from cluster.measures.measure import Measure, mean
from cluster.measures.result import Result
from cluster.measures.scores import Path
from curriculum.task import Task
from rewards.findings.canonical import canonical
from rewards.forms import letters, names
from rewards.reading.marks import read_marks
from rewards.reading.parser import parse

KEYS = {"letters": letters.key_of, "names": names.key_of}
"""The forms whose answers are right or wrong as a whole, and what is right in each."""
Samples = Sequence[Result]
"""All sampled responses to one task."""


def sample_measures(samples: Sequence[Samples]) -> dict[Path, Measure]:
    """The measures of sampled responses, by their places.

    ("samples", "closed", "pass@4") and ("samples", "open", "maj@4") are of tasks, where a response is right if its
    outcome is 1; ("samples", "findings", "Mass", "recall@1") is the share of the responses that name a finding of the
    gold; ("marks", "all", "✅") and ("marks", "Mass", "❌") are the shares of marks that are right.

    Args:
        samples: of each task equally many.
    """
    paths: dict[Path, Measure] = {}
    for form in KEYS:
        tasks = np.array([i for i, own in enumerate(samples) if own[0].task.form == form], int)
        if len(tasks):
            own = [samples[i] for i in tasks]
            paths |= {("samples", measures_of(form).prefix, name): m for name, m in _of_tasks(tasks, own).items()}
    return paths | _recalls(samples) | _marks(samples)


def pass_at(samples: int, right: int, k: int) -> float:
    """The probability that at least one of `k` responses is right, without bias from `samples` of which `right` are.

    1 − C(n − c, k) / C(n, k), as a product (Chen et al. 2021, arXiv 2107.03374, equation 1 and figure 3).
    """
    if samples - right < k:
        return 1.0
    return float(1 - np.prod(1 - k / np.arange(samples - right + 1, samples + 1)))


def majority_is_right(samples: Samples) -> bool:
    """Whether the answer that most responses give is right; of equally many the one that was given first.

    Responses whose answer cannot be read give none (self-consistency, Wang et al. 2023, arXiv 2203.11171).
    """
    readable = [result for result in samples if result.verdict.answer is not None]
    read = [(frozenset(result.verdict.answer or ()), _is_right(result)) for result in readable]
    if not read:
        return False
    votes = Counter(answer for answer, _ in read)
    most = max(votes.values())
    return next(is_right for answer, is_right in read if votes[answer] == most)


def _of_tasks(tasks: np.ndarray, samples: Sequence[Samples]) -> dict[str, Measure]:
    count = len(samples[0])
    right = [sum(map(_is_right, own)) for own in samples]
    measures: dict[str, Measure] = {}
    for k in _ks(count):
        measures[f"pass@{k}"] = mean(tasks, np.array([pass_at(count, c, k) for c in right]))
    for k in _ks(count):
        if k > 2:  # of two different answers none has a majority
            measures[f"maj@{k}"] = mean(tasks, np.array([majority_is_right(own[:k]) for own in samples]))
    return measures


def _ks(count: int) -> list[int]:
    """1, 2, 4 … and `count`."""
    powers = [2**i for i in range(count.bit_length()) if 2**i < count]
    return [*powers, count]


def _is_right(result: Result) -> bool:
    return result.verdict.outcome >= 1


def _recalls(samples: Sequence[Samples]) -> dict[Path, Measure]:
    hits: dict[
        str, list[tuple[int, float]]
    ] = {}  # of each finding: the tasks whose gold has it, the share that names it
    for number, own in enumerate(samples):
        task = own[0].task
        if task.form == "names":
            named = Counter(name for result in own for name in set(result.verdict.answer or ()))
            for finding in sorted({canonical(name) for name in task.gold}):
                hits.setdefault(finding, []).append((number, named[finding] / len(own)))
    return {
        ("samples", "findings", finding, "recall@1"): mean(
            np.array([number for number, _ in rows]), np.array([share for _, share in rows])
        )
        for finding, rows in sorted(hits.items())
    }


def _marks(samples: Sequence[Samples]) -> dict[Path, Measure]:
    """Of all marks, and of those on each option: the share that is right."""
    counted: dict[Path, dict[int, list[int]]] = {}  # by task: how many marks are right, how many there are
    for number, own in enumerate(samples):
        for result in own:
            for candidate, mark, is_right in _marks_of(result):
                for option in ("all", _option(result.task, candidate)):
                    row = counted.setdefault(("marks", option, mark), {}).setdefault(number, [0, 0])
                    row[0] += is_right
                    row[1] += 1
    places = sorted(counted, key=lambda path: (path[1] != "all", path))
    return {path: _share(counted[path]) for path in places}


def _marks_of(result: Result) -> Iterator[tuple[str, str, bool]]:
    """Candidate, mark, and whether it is right, of each step with one mark on which the gold decides.

    A mark that contradicts another step or the final answer, which earns nothing, is a mark all the same.
    """
    if result.task.form not in KEYS or not result.verdict.steps:
        return
    key = KEYS[result.task.form](result.task)
    for step in result.verdict.steps:
        pairs = parse(result.text[step.start : step.end]).pairs
        marks = read_marks(pairs[0].answer)[1] if pairs else []
        if step.candidate is not None and len(marks) == 1 and key.is_verifiable(step.candidate):
            yield step.candidate, "✅" if marks[0] else "❌", marks[0] == key.is_right(step.candidate)


def _option(task: Task, candidate: str) -> str:
    """What the candidate of a step stands for: the text of an option, or the name of a finding."""
    return canonical(task.options.get(candidate, candidate))


def _share(counts: dict[int, list[int]]) -> Measure:
    value: Callable[[np.ndarray], np.ndarray] = lambda sums: sums[:, 0] / np.maximum(sums[:, 1], 1)  # noqa: E731
    tasks = sorted(counts)
    return Measure(np.array(tasks, int), np.array([counts[task] for task in tasks], float), value)
