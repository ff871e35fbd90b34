"""What a task set holds, counted row by row: tables for a terminal or a page, and a few tasks as examples."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, get_args

from curriculum.table import Table
from curriculum.task import NO_FINDING, Split, Task, age_band
from curriculum.taskset import RowFault, TaskRow

EXAMPLES = 3  # of each family
FAULTS_KEPT = 20  # of each kind
MAX_FINDINGS = 40  # rows of the table of findings
_CHOICE = ("single_choice", "multiple_choice")
_SPLITS = get_args(Split)
_NOT_GIVEN = "not given"


class Summary:
    """Counts rows. It keeps counters, the first faults of each kind and a few tasks only, so it stays small.

    Tasks are counted whether or not their row has a fault; examples are drawn from the rows without one.

    Args:
        tokens: whether lengths are in tokens, as `actors.model.check_tokens` counted them, or else in characters.

    Attributes:
        unit: of the lengths.
        rows: how many were counted.
        bad_rows: how many of them have a fault.
        kinds: faults by kind.
        faults: in words, the first FAULTS_KEPT of each kind.
        examples: a few tasks of each family.
    """

    def __init__(self, tokens: bool = False) -> None:
        self.unit = "tokens" if tokens else "characters"
        self.rows = 0
        self.bad_rows = 0
        self.kinds: Counter[str] = Counter()
        self.faults: list[str] = []
        self.examples: dict[str, list[Task]] = defaultdict(list)
        self._good: Counter[str] = Counter()  # rows without fault, by family
        self._tasks: Counter[tuple[str, str, str]] = Counter()  # by domain, family, split
        self._findings: Counter[tuple[str, str]] = Counter()  # by name, split
        self._answers: dict[str, Counter[str]] = defaultdict(Counter)  # family to right options
        self._strata: Counter[tuple[str, str, str]] = Counter()  # by stratum, value, split
        self._films: Counter[tuple[str, str]] = Counter()  # by "films" or "patients", split
        self._sizes: Counter[tuple[int, int]] = Counter()
        self._prompts: dict[str, Counter[int]] = defaultdict(Counter)  # family to lengths
        self._references: dict[str, Counter[int]] = defaultdict(Counter)
        self._draw = random.Random(0)

    def add(self, row: TaskRow) -> None:
        """Counts one row."""
        self.rows += 1
        self.bad_rows += bool(row.faults)
        for fault in row.faults:
            self._add_fault(row, fault)
        self._sizes.update(row.new_sizes)
        task = row.task
        if task is None:
            return
        if not row.faults:
            self._add_example(task)
        self._tasks[task.domain, task.family, task.split] += 1
        for name, value in (
            ("view", task.view),
            ("sex", task.sex),
            ("age", age_band(task.age)),
            ("source", task.source),
            ("licence", task.licence),
        ):
            self._strata[name, value or _NOT_GIVEN, task.split] += 1
        self._films["films", task.split] += len(row.new_sizes)
        self._films["patients", task.split] += row.new_patient
        if task.domain == "closed":
            right = [task.options[letter] for letter in task.gold]
        else:
            right = list(task.gold) or [NO_FINDING]
        if task.form == "names" or task.family in _CHOICE:
            self._findings.update((name, task.split) for name in right)
        elif task.domain == "closed":
            self._answers[task.family].update(right)
        self._add_lengths(row, task)

    def tables(self) -> list[Table]:
        """The whole summary; tables without rows are left out."""
        tables = [
            self._task_table(),
            self._finding_table(),
            self._answer_table(),
            self._film_table(),
            self._strata_table(),
            self._size_table(),
        ]
        return [table for table in tables if table.rows]

    def conclusion(self) -> str:
        """The result in one line."""
        if not self.bad_rows:
            return f"no fault in {self.rows:,} rows"
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in self.kinds.most_common())
        faults = "1 fault" if self.kinds.total() == 1 else f"{self.kinds.total():,} faults"
        return f"{faults} in {self.bad_rows:,} of {self.rows:,} rows: {kinds}"

    def _add_fault(self, row: TaskRow, fault: RowFault) -> None:
        self.kinds[fault.kind] += 1
        if self.kinds[fault.kind] <= FAULTS_KEPT:
            self.faults.append(row.describe(fault))

    def _add_example(self, task: Task) -> None:
        """Keeps each of a family's tasks with the same probability (reservoir sampling with a fixed seed)."""
        self._good[task.family] += 1
        kept = self.examples[task.family]
        if len(kept) < EXAMPLES:
            kept.append(task)
            return
        index = self._draw.randrange(self._good[task.family])
        if index < EXAMPLES:
            kept[index] = task

    def _add_lengths(self, row: TaskRow, task: Task) -> None:
        if self.unit == "characters":
            length = len(task.context) + len(task.question) + sum(map(len, task.options.values()))
            self._prompts[task.family][length] += 1
            if task.reference:
                self._references[task.family][len(task.reference)] += 1
            return
        if row.prompt_tokens is not None:
            self._prompts[task.family][row.prompt_tokens] += 1
        if row.reference_tokens is not None:
            self._references[task.family][row.reference_tokens] += 1

    def _task_table(self) -> Table:
        rows: list[tuple[str, ...]] = []
        for domain, family in sorted({(domain, family) for domain, family, _ in self._tasks}):
            counts = self._by_split(self._tasks, domain, family)
            lengths = (_spread(self._prompts[family]), _spread(self._references[family]))
            rows.append((domain, family, *counts, *lengths))
        title = f"Tasks, and their lengths in {self.unit} (median, 95 %, longest)"
        prompt = "question" if self.unit == "characters" else "prompt"
        return Table(title, ("domain", "family", *_SPLITS, prompt, "gold trace"), rows)

    def _finding_table(self) -> Table:
        totals: Counter[str] = Counter()
        for (name, _), count in self._findings.items():
            totals[name] += count
        rows: list[tuple[str, ...]] = []
        for name, _ in totals.most_common(MAX_FINDINGS):
            rows.append((name, *self._by_split(self._findings, name)))
        if len(totals) > MAX_FINDINGS:
            rare = [name for name, _ in totals.most_common()[MAX_FINDINGS:]]
            rest = [sum(self._findings[name, split] for name in rare) for split in _SPLITS]
            rows.append((f"{len(rare):,} rarer ones", *(f"{count:,}" for count in rest)))
        return Table("Right answers of choices and lists", ("finding", *_SPLITS), rows)

    def _answer_table(self) -> Table:
        rows: list[tuple[str, ...]] = []
        for family, answers in sorted(self._answers.items()):
            shares = [f"{text} {count / answers.total():.0%}" for text, count in answers.most_common(8)]
            rows.append((family, ", ".join(shares)))
        return Table("Right answers of other closed questions", ("family", "share"), rows)

    def _strata_table(self) -> Table:
        # A stratum that no row gives is left out.
        given = {name for name, value, _ in self._strata if value != _NOT_GIVEN}
        rows: list[tuple[str, ...]] = []
        for stratum in ("view", "sex", "age", "source", "licence"):
            if stratum in given:
                for value in sorted({value for name, value, _ in self._strata if name == stratum}):
                    rows.append((stratum, value, *self._by_split(self._strata, stratum, value)))
        return Table("Tasks by what is known of their films", ("", "", *_SPLITS), rows)

    def _film_table(self) -> Table:
        rows: list[tuple[str, ...]] = []
        for name in sorted({name for name, _ in self._films}):
            rows.append((name, *self._by_split(self._films, name)))
        return Table("Films and named patients", ("", *_SPLITS), rows)

    def _size_table(self) -> Table:
        common = self._sizes.most_common(8)
        rows: list[tuple[str, ...]] = [(f"{width} × {height}", f"{count:,}") for (width, height), count in common]
        others = len(self._sizes) - len(common)
        if others:
            shortest = min(min(size) for size in self._sizes)
            longest = max(max(size) for size in self._sizes)
            files = self._sizes.total() - sum(count for _, count in common)
            rows.append((f"{others:,} other sizes, sides of {shortest} to {longest}", f"{files:,}"))
        return Table("Image files", ("pixels", "files"), rows)

    @staticmethod
    def _by_split(counts: Counter[Any], *key: str) -> Iterable[str]:
        return (f"{counts[*key, split]:,}" for split in _SPLITS)


def _spread(lengths: Counter[int]) -> str:
    """Median, 95th percentile (both nearest-rank) and maximum."""
    if not lengths:
        return ""
    shown = [_percentile(lengths, 0.5), _percentile(lengths, 0.95), max(lengths)]
    return ", ".join(f"{length:,}" for length in shown)


def _percentile(lengths: Counter[int], share: float) -> int:
    """The shortest length that at least this share of all does not exceed."""
    counted = 0
    for length in sorted(lengths):
        counted += lengths[length]
        if counted >= share * lengths.total():
            return length
    return max(lengths)
