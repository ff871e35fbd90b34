"""What the view alone answers: only a model that beats this uses the image.

Sick patients are filmed in bed (AP), others standing (PA), and a film shows which of the two it is without a look at
the lungs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from curriculum.sets.task_table import TaskTable
from curriculum.task import NO_FINDING, Task

_ASKED = ("family", "view", "question", "options", "gold")


def view_baseline(train: TaskTable, test: Sequence[Task]) -> dict[str, tuple[str, ...]]:
    """Answers test tasks that ask for letters or names from their view and question, by frequencies in the train tasks.

    Closed tasks: the option with the highest rate of being right when offered, for that family, question and view. If
    several may be right, every option that was right more than half of the time. An option that train never offered
    there is looked up in all questions of the family with that view, then in all views. Open tasks: the findings that
    are more frequent in the view than the threshold with the best micro-F1 on train, or "No finding".

    Args:
        train: tasks from which the frequencies are taken.
        test: tasks to answer.

    Returns:
        Task id to option letters, or to names for open tasks.
    """
    offered: Counter[tuple[str, ...]] = Counter()
    right: Counter[tuple[str, ...]] = Counter()
    for row in train.where("form", {"letters"}).values(*_ASKED):
        for letter, text in row["options"].items():
            for key in _keys(row["family"], text, row["view"], row["question"]):
                offered[key] += 1
                right[key] += letter in row["gold"]
    frequent = _frequent_in_view(list(train.where("form", {"names"}).values("view", "gold")))

    def rate(task: Task, text: str) -> float:
        for key in _keys(task.family, text, task.view, task.question):
            if offered[key]:
                return right[key] / offered[key]
        return 0.0

    def answer(task: Task) -> tuple[str, ...]:
        if task.domain == "open":
            return frequent.get(task.view) or (NO_FINDING,)
        rates = {letter: rate(task, text) for letter, text in task.options.items()}
        if task.family == "multiple_choice":
            likely = tuple(letter for letter in rates if rates[letter] > 0.5)
            if likely:
                return likely
        return (max(rates, key=rates.__getitem__),)

    return {task.id: answer(task) for task in test if task.form in ("letters", "names")}


def _keys(family: str, text: str, view: str, question: str) -> Iterator[tuple[str, ...]]:
    """The keys under which an option is counted, the most specific first."""
    yield family, text, view, question
    yield family, text, view
    yield family, text


def _frequent_in_view(tasks: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """View to the findings that are more frequent in it than the best threshold."""
    films = Counter(task["view"] for task in tasks)
    shown = Counter((task["view"], name) for task in tasks for name in task["gold"])
    ranked = sorted(shown, key=lambda key: (-shown[key] / films[key[0]], key))
    # The best threshold lies below one of the frequencies. F1 = 2 × hits / (named + shown), summed over films.
    best_score = 0.0
    best_count = 0
    hits = 0
    named = 0
    for count, key in enumerate(ranked, 1):
        hits += shown[key]
        named += films[key[0]]
        score = 2 * hits / (named + shown.total())
        if score > best_score:
            best_score = score
            best_count = count
    names: dict[str, list[str]] = {view: [] for view in films}
    for view, name in ranked[:best_count]:
        names[view].append(name)
    return {view: tuple(names_of_view) for view, names_of_view in names.items()}
