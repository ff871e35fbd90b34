"""What the view alone answers: a model is seeing only where it beats this.

Sick patients are filmed in bed (AP), others standing (PA), and which of the two a film is can be told without
looking at the lungs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from curriculum.task import NO_FINDING, Task


def view_baseline(train: Sequence[Task], test: Sequence[Task]) -> dict[str, tuple[str, ...]]:
    """Answers to the test tasks that ask for letters or names, from their view and question, by the frequencies of the train tasks.

    Closed: the option that was right most often where it was offered, for that family, question and view; of several
    that may be right, every one that was right in more than half. What train never offered there falls back to all
    questions of the family with that view, then to all views. Open: the findings that are more frequent in the view than the
    threshold with the best micro-F1 on train, or "No finding".

    Returns:
        Task id to option letters, or to names for open tasks.
    """
    offered: Counter[tuple[str, ...]] = Counter()
    right: Counter[tuple[str, ...]] = Counter()
    for task in train:
        for letter, text in task.options.items():
            for key in _keys(task, text):
                offered[key] += 1
                right[key] += letter in task.gold
    often = _often_in_view([task for task in train if task.form == "names"])

    def answer(task: Task) -> tuple[str, ...]:
        if task.domain == "open":
            return often.get(task.view) or (NO_FINDING,)
        rate = {
            letter: next((right[key] / offered[key] for key in _keys(task, text) if offered[key]), 0.0)
            for letter, text in task.options.items()
        }
        several = tuple(letter for letter in rate if rate[letter] > 0.5) if task.family == "multiple_choice" else ()
        return several or (max(rate, key=rate.__getitem__),)

    return {task.id: answer(task) for task in test if task.form in ("letters", "names")}


def _keys(task: Task, text: str) -> Iterator[tuple[str, ...]]:
    """Where an option is counted, closest first."""
    yield task.family, text, task.view, task.question
    yield task.family, text, task.view
    yield task.family, text


def _often_in_view(tasks: list[Task]) -> dict[str, tuple[str, ...]]:
    films = Counter(task.view for task in tasks)
    shown = Counter((task.view, name) for task in tasks for name in task.gold)
    ranked = sorted(shown, key=lambda key: (-shown[key] / films[key[0]], key))
    # The best threshold lies below one of the frequencies. F1 = 2 × hits / (named + shown), summed over films.
    best, take, hits, named = 0.0, 0, 0, 0
    for count, key in enumerate(ranked, 1):
        hits, named = hits + shown[key], named + films[key[0]]
        if (score := 2 * hits / (named + shown.total())) > best:
            best, take = score, count
    return {view: tuple(name for v, name in ranked[:take] if v == view) for view in films}
