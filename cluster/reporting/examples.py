"""The answers that a report shows: the same test task before and after, each step with its verdict."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curriculum.task import Task
from rewards.reading.parser import parse

RULE = (
    "For each family, in an order drawn by a hash of the task ids: the first two tasks whose outcome rose, the first "
    "whose outcome fell, and the first whose outcome did not change."
)
_COUNTS = {1: 2, -1: 1, 0: 1}  # examples whose outcome rose, fell, stayed; shown in this order
_MARKS = {"right": "✓ right", "wrong": "✗ wrong", "fault": "! fault", "unverifiable": "? cannot be verified"}


@dataclass(frozen=True)
class ShownStep:
    """One part of a response: a think–answer pair with its verdict, or text outside pairs (`answer` is None)."""

    think: str
    answer: str | None
    mark: str = ""
    mark_words: str = "not judged"
    score: float | None = None
    why: str = ""


@dataclass(frozen=True)
class Answer:
    """A response in parts, with its score."""

    when: str
    outcome: float
    total: float
    right: bool
    why: str
    steps: list[ShownStep]


@dataclass(frozen=True)
class Example:
    """A test task with its answers; `task` is None if the task set is gone."""

    id: str
    task: Task | None
    change: str
    answers: list[Answer]


def choose(
    before: Mapping[str, Any], after: Mapping[str, Any], tasks: Mapping[str, Task], words: tuple[str, str]
) -> dict[str, list[Example]]:
    """Chooses examples of each family by `RULE`; without `before`, the first two tasks of each family.

    Args:
        before, after: task id to its row of evaluations.jsonl.
        words: what to call the two answers.
    """
    missing: dict[tuple[str, int], int] = {}  # how many examples of a family and direction are still wanted
    chosen: dict[str, dict[int, list[Example]]] = {tasks[id].family: {} for id in after if id in tasks}
    for id in sorted(after, key=lambda id: hashlib.sha256(id.encode()).digest()):
        if before and id not in before:
            continue
        rows = [row for row in (before.get(id), after[id]) if row]
        outcomes = [row["verdict"]["outcome"] for row in rows]
        direction = (outcomes[-1] > outcomes[0]) - (outcomes[-1] < outcomes[0])
        task = tasks.get(id)
        family = task.family if task else "unknown family"
        count = missing.setdefault((family, direction), _COUNTS[direction] if before else 2)
        if count:
            missing[family, direction] -= 1
            answers = [answer_of(row, when) for row, when in zip(rows, words[-len(rows) :], strict=True)]
            example = Example(id, task, _change(outcomes[0], outcomes[1]) if before else "", answers)
            chosen.setdefault(family, {}).setdefault(direction, []).append(example)
    return {family: _in_order(by_direction) for family, by_direction in chosen.items()}


def _in_order(by_direction: Mapping[int, list[Example]]) -> list[Example]:
    examples: list[Example] = []
    for direction in _COUNTS:
        examples += by_direction.get(direction, [])
    return examples


def _change(was: float, now: float) -> str:
    if now > was:
        return "became right" if now == 1 else "became better"
    if now < was:
        return "became wrong" if was == 1 else "became worse"
    if now == 0:
        return "stayed wrong"
    return "stayed right" if now == 1 else "did not change"


def answer_of(row: Mapping[str, Any], when: str) -> Answer:
    """The response of a row of evaluations.jsonl or trajectories.jsonl, in parts."""
    text, verdict = row["response"], row["verdict"]
    judged = {step["start"]: step for step in verdict["steps"]}
    steps: list[ShownStep] = []
    done = 0
    for pair in parse(text).pairs:
        steps += _stray(text[done : pair.start])
        done = pair.end
        think, answer = pair.think.strip(), pair.answer.strip()
        step = judged.get(pair.start)
        if step:
            mark = step["judgement"]
            steps.append(ShownStep(think, answer, mark, _MARKS[mark], step["score"], step["why"]))
        else:
            steps.append(ShownStep(think, answer))
    steps += _stray(text[done:])
    faults = [f"{fault['what']} at {fault['position']}" for fault in verdict["faults"]]
    why = "; ".join(dict.fromkeys([*verdict["why"], *faults]))
    return Answer(when, verdict["outcome"], verdict["total"], verdict["outcome"] == 1, why, steps)


def _stray(text: str) -> list[ShownStep]:
    """Text outside pairs as a step; nothing if it is blank."""
    return [ShownStep(text.strip(), None)] if text.strip() else []
