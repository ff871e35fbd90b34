"""How many traces were accepted, by family, finding and reason: tables for a terminal or a page, and examples."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cluster.standalone.traces.outcomes import NOT_WRITTEN, Outcome
from curriculum.table import Table
from curriculum.task import NO_FINDING, Task
from rewards.reading.parser import Pair, parse

EXAMPLES = 3
"""Of each family accepted, and of each reason rejected."""
MAX_FINDINGS = 40
_SHOWN_REASONS = 4
_SHOWN_CHARACTERS = 240


class Example(NamedTuple):
    """A task with a trace, and why that was rejected, "" if it was accepted."""

    task: Task
    pairs: tuple[Pair, ...]
    text: str
    why: str


class TraceSummary:
    """What a writer's traces came to.

    Args:
        writer: its name.
        outcomes: of all tasks.
        per_task: traces of a task at most.
    """

    def __init__(self, writer: str, outcomes: Sequence[Outcome], per_task: int) -> None:
        self.writer = writer
        self.outcomes = outcomes
        self.traces = sum(min(per_task, len(outcome.accepted)) for outcome in outcomes)
        self.accepted = sum(bool(outcome.accepted) for outcome in outcomes)

    def tables(self) -> list[Table]:
        """Acceptance by family, by finding and by reason; tables without rows are left out."""
        tables = [self._families(), self._findings(), self._reasons()]
        return [table for table in tables if table.rows]

    def conclusion(self) -> str:
        """The result in one line."""
        share = self.accepted / len(self.outcomes) if self.outcomes else 0.0
        return (
            f"writer {self.writer}: {self.accepted:,} of {len(self.outcomes):,} tasks ({share:.1%}) have an accepted "
            f"trace, {self.traces:,} traces in all"
        )

    def main_reason(self) -> str:
        """Why most of the tasks without a trace have none, with one example in the verifier's or writer's words."""
        last = [outcome.rejected[-1] for outcome in self.outcomes if outcome.rejected and not outcome.accepted]
        if not last:
            return "nothing was written"
        reasons = Counter(_reason_of(entry.reason, entry.why) for entry in last)
        reason, count = reasons.most_common(1)[0]
        why = next(entry.why for entry in last if _reason_of(entry.reason, entry.why) == reason)
        told = "" if why == reason else f", as in: {why[:_SHOWN_CHARACTERS]}"
        return f"{reason} ({count:,} of {len(self.outcomes):,} tasks){told}"

    def accepted_examples(self) -> dict[str, list[Example]]:
        """A few accepted traces of each family."""
        of_family: dict[str, list[Example]] = defaultdict(list)
        for outcome in _shuffled(self.outcomes):
            found = of_family[outcome.task.family] if outcome.accepted else []
            if outcome.accepted and len(found) < EXAMPLES:
                text = next(iter(outcome.accepted))
                found.append(Example(outcome.task, parse(text).pairs, text, ""))
        return dict(sorted(of_family.items()))

    def rejected_examples(self) -> dict[str, list[Example]]:
        """A few rejected texts of each reason."""
        of_reason: dict[str, list[Example]] = defaultdict(list)
        for outcome in _shuffled(self.outcomes):
            for text, reason, why in outcome.rejected:
                if len(of_reason[reason]) < EXAMPLES:
                    of_reason[reason].append(Example(outcome.task, parse(text).pairs, text, why))
        return dict(sorted(of_reason.items()))

    def _families(self) -> Table:
        tasks: Counter[str] = Counter()
        accepted: Counter[str] = Counter()
        traces: Counter[str] = Counter()
        reasons: dict[str, Counter[str]] = defaultdict(Counter)
        for outcome in self.outcomes:
            family = outcome.task.family
            tasks[family] += 1
            accepted[family] += bool(outcome.accepted)
            traces[family] += len(outcome.accepted)
            if not outcome.accepted:
                reasons[family][_last_reason(outcome)] += 1
        rows: list[tuple[str, ...]] = []
        for family, count in sorted(tasks.items()):
            common = reasons[family].most_common(_SHOWN_REASONS)
            told = ", ".join(f"{reason} {number:,}" for reason, number in common)
            rows.append((family, f"{count:,}", f"{accepted[family]:,}", f"{accepted[family] / count:.1%}", told))
        return Table("Tasks with an accepted trace", ("family", "tasks", "accepted", "share", "why not"), rows)

    def _findings(self) -> Table:
        tasks: Counter[str] = Counter()
        accepted: Counter[str] = Counter()
        for outcome in self.outcomes:
            for name in _right(outcome.task):
                tasks[name] += 1
                accepted[name] += bool(outcome.accepted)
        rows: list[tuple[str, ...]] = []
        for name, count in tasks.most_common(MAX_FINDINGS):
            rows.append((name, f"{count:,}", f"{accepted[name]:,}", f"{accepted[name] / count:.1%}"))
        return Table("By right answer of choices and lists", ("finding", "tasks", "accepted", "share"), rows)

    def _reasons(self) -> Table:
        tasks: Counter[str] = Counter()
        texts: Counter[str] = Counter()
        for outcome in self.outcomes:
            texts.update(_reason_of(entry.reason, entry.why) for entry in outcome.rejected)
            if not outcome.accepted:
                tasks[_last_reason(outcome)] += 1
        rows: list[tuple[str, ...]] = []
        for reason, count in texts.most_common():
            rows.append((reason, f"{count:,}", f"{tasks[reason]:,}"))
        return Table("Rejected", ("reason", "drafts", "tasks without a trace"), rows)


def _last_reason(outcome: Outcome) -> str:
    if not outcome.rejected:
        return "not asked"
    last = outcome.rejected[-1]
    return _reason_of(last.reason, last.why)


def _reason_of(reason: str, why: str) -> str:
    """The kind of a rejection; a writer's own words, up to a colon, say why it wrote nothing."""
    return why.partition(": ")[0] if reason == NOT_WRITTEN else reason


def _right(task: Task) -> Iterable[str]:
    """The right answers of a choice or a list."""
    if task.form == "names":
        return task.gold or (NO_FINDING,)
    if task.domain == "closed" and task.family in ("single_choice", "multiple_choice"):
        return [task.options[letter] for letter in task.gold]
    return ()


def _shuffled(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """In an order that depends on the ids only."""
    return sorted(outcomes, key=lambda outcome: hashlib.sha256(outcome.task.id.encode()).digest())
