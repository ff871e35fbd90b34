"""Searches by mutation for a response that `strict` pays more than the reference of its task.

    python -m bench.reward_mutations [--tasks 200] [--mutations 10000] [--seed 0]

A mutant is a reference with one to four changes: pairs spliced in from other tasks, doubled, dropped or moved; think
blocks negated or padded; letters, marks and names swapped; answers wrapped in the frames of models, doubted, repeated,
or joined with all options. Prints the mutants that earn more than their reference, and exits with 1 if there is one.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from bench.rewards import NAMES, closed_groups, open_groups, think
from curriculum.questions import RIGHT, WRONG
from curriculum.task import NO_FINDING, Task
from rewards.config import RewardConfig
from rewards.reading.parser import parse
from rewards.score import score

Pairs = list[tuple[str, str]]
"""The think and answer blocks of a response."""
FRAMES = (
    "The correct answer is option {0}.",
    "#### {0}",
    "\\boxed{{{0}}}",
    "<b>{0}</b>",
    "答案：{0}。",
    "{0}\n\nExplanation: the shadow is plain.",
    "The shadow is plain.\nAnswer: {0}",
    "{0} because of the shadow.",
    "After all that I am going with {0}.",
    "Looking at the film, {0} fits best.",
    '{{"answer": "{0}", "explanation": "the shadow is plain"}}',
    "{0} (90%)",
    "Present: {0}\nAbsent: Hernia",
    "Absent: {0}",
    "| Finding | Present |\n|---|---|\n| {0} | Yes |",
    "{0} - the correct choice",
    "There is {0}.",
    "No {0}.",
    "Yes, {0}",
    "No, {0}",
    "{0}, or maybe {1}",
    "{0} and {1}",
    "{0}, not {1}",
    "{0} ✅ {1} ❌",
    "{0}: yes; {1}: no",
    "{0}: no; {1}: yes",
    "{0}; {1}",
    "{0}\n{1}",
    "{0}. {1}.",
    "{0}/{1}",
    "{0} {1}",
    "{0}{1}",
    "possible {0}",
    "{0}?",
    "not {0}",
    "{0}, small, left",
    "{0}, etc.",
    "Lungs are clear. {0}",
    "{0}. No acute cardiopulmonary process.",
    "{0}\u200b<|im_end|>",
    "Answer: {0}\nAnswer: {1}",
)
_PADDING = (
    "The film was read with care. ",
    "Wait, is it so? ",
    "No mass, no edema, no effusion. ",
    "All of these are seen. ",
)


def yes_no_tasks(count: int, rng: np.random.Generator) -> Iterator[Task]:
    """Tasks that ask for one finding, with a reference in steps."""
    for _ in range(count):
        name, seen = str(rng.choice(NAMES)), bool(rng.integers(2))
        marks = (RIGHT, WRONG) if seen else (WRONG, RIGHT)
        pairs = [(think(name, seen, rng), f"{letter}) {mark}") for letter, mark in zip("AB", marks, strict=True)]
        gold = "A" if seen else "B"
        yield Task(
            id="y",
            domain="closed",
            family="yes_no",
            question=f"Is there {name.lower()}?",
            options={"A": "Yes", "B": "No"},
            gold=(gold,),
            images=("x.png",),
            reference=_written([*pairs, ("In sum.", gold)]),
        )


def draw_tasks(count: int, seed: int) -> list[Task]:
    """A third each of options, yes or no, and lists of names."""
    rng = np.random.default_rng(seed)
    third = count // 3
    closed = [task for task, _ in closed_groups(10 * third, rng)]
    named = [task for task, _ in open_groups(10 * third, rng)]
    return [*closed, *named, *yes_no_tasks(count - 2 * third, rng)]


def mutant(task: Task, others: Sequence[Pairs], rng: random.Random) -> str:
    """A response made of the task's reference by one to four changes."""
    pairs = _pairs_of(task)
    for _ in range(rng.randint(1, 4)):
        change = rng.choice(_CHANGES)
        pairs = change(pairs, task, others, rng) or pairs
    text = _written(pairs)
    return text if rng.random() < 0.97 else _spliced(text, rng)


def search(tasks: int, mutations: int, seed: int = 0, told: bool = False) -> tuple[int, list[dict[str, object]]]:
    """How many mutants were scored, and those that earn more than the reference of their task.

    Args:
        told: whether to tell on standard error how far the search is.
    """
    config = RewardConfig()
    drawn = draw_tasks(tasks, seed)
    others = [_pairs_of(task) for task in drawn]
    found: list[dict[str, object]] = []
    count = 0
    for number, task in enumerate(drawn):
        rng = random.Random(f"{seed} {number}")
        best = score(task, task.reference or "", config).total
        for _ in range(mutations):
            response = mutant(task, others, rng)
            total = score(task, response, config).total
            count += 1
            if total > best + 1e-9:
                found.append(
                    {"gold": task.gold, "options": task.options, "total": total, "best": best, "response": response}
                )
        if told and (number + 1) % 10 == 0:
            print(f"{count:,} mutants of {number + 1} tasks: {len(found)}", file=sys.stderr, flush=True)
    return count, found


def _pairs_of(task: Task) -> Pairs:
    return [(pair.think, pair.answer) for pair in parse(task.reference or "").pairs]


def _written(pairs: Pairs) -> str:
    return "".join(f"<think>{said}</think><answer>{answer}</answer>" for said, answer in pairs)


def _spliced(text: str, rng: random.Random) -> str:
    """The text with a piece cut out, or set in elsewhere."""
    start, end = sorted(rng.randrange(len(text) + 1) for _ in range(2))
    place = rng.randrange(len(text) + 1)
    return text[:start] + text[end:] if rng.random() < 0.5 else text[:place] + text[start:end] + text[place:]


def _choices(task: Task) -> list[str]:
    """What an answer to the task may name."""
    return [*task.options, *task.options.values()] if task.options else [*NAMES, NO_FINDING]


def _drop(pairs: Pairs, task: Task, others: Sequence[Pairs], rng: random.Random) -> Pairs:
    place = rng.randrange(len(pairs))
    return pairs[:place] + pairs[place + 1 :]


def _double(pairs: Pairs, task: Task, others: Sequence[Pairs], rng: random.Random) -> Pairs:
    place, to = rng.randrange(len(pairs)), rng.randrange(len(pairs) + 1)
    return [*pairs[:to], pairs[place], *pairs[to:]]


def _move(pairs: Pairs, task: Task, others: Sequence[Pairs], rng: random.Random) -> Pairs:
    moved = list(pairs)
    moved.insert(rng.randrange(len(moved)), moved.pop(rng.randrange(len(moved))))
    return moved


def _set_in(pairs: Pairs, task: Task, others: Sequence[Pairs], rng: random.Random) -> Pairs:
    """A pair of another task."""
    to = rng.randrange(len(pairs) + 1)
    return [*pairs[:to], rng.choice(rng.choice(others)), *pairs[to:]]


def _with(pairs: Pairs, place: int, said: str, answer: str) -> Pairs:
    return [*pairs[:place], (said, answer), *pairs[place + 1 :]]


def _negate(pairs: Pairs, task: Task, others: Sequence[Pairs], rng: random.Random) -> Pairs:
    place = rng.randrange(len(pairs))
    said, answer = pairs[place]
    changed = said.replace("No ", "There is ", 1) if said.startswith("No ") else f"No {said[:1].lower()}{said[1:]}"
    return _with(pairs, place, rng.choice([changed, f"{said} {changed}"]), answer)


def _pad(pairs: Pairs, task: Task, others: Sequence[Pairs], rng: random.Random) -> Pairs:
    place = rng.randrange(len(pairs))
    said, answer = pairs[place]
    other = rng.choice([rng.choice(_PADDING), rng.choice(pairs)[0], rng.choice(rng.choice(others))[0]])
    return _with(pairs, place, rng.choice([f"{other} {said}", f"{said} {other}", other]), answer)


def _swap(pairs: Pairs, task: Task, others: Sequence[Pairs], rng: random.Random) -> Pairs:
    """A letter, mark or name of one answer in place of another's."""
    place = rng.randrange(len(pairs))
    said, answer = pairs[place]
    kind = rng.randrange(3)
    if kind == 0:
        answer = answer.translate({ord(RIGHT): WRONG, ord(WRONG): RIGHT})
    elif kind == 1:
        answer = rng.choice(pairs)[1]
    else:
        answer = rng.choice(
            [rng.choice(_choices(task)), f"{rng.choice(_choices(task))} {rng.choice((RIGHT, WRONG, ''))}"]
        )
    return _with(pairs, place, said, answer)


def _wrap(pairs: Pairs, task: Task, others: Sequence[Pairs], rng: random.Random) -> Pairs:
    """An answer, mostly the last, in a frame, beside another one."""
    place = len(pairs) - 1 if rng.random() < 0.7 else rng.randrange(len(pairs))
    said, answer = pairs[place]
    return _with(pairs, place, said, rng.choice(FRAMES).format(answer, rng.choice(_choices(task))))


def _join(pairs: Pairs, task: Task, others: Sequence[Pairs], rng: random.Random) -> Pairs:
    """An answer that names several options, or all, or repeats the question."""
    place = len(pairs) - 1 if rng.random() < 0.7 else rng.randrange(len(pairs))
    said, answer = pairs[place]
    names = rng.sample(_choices(task), rng.randint(1, len(_choices(task))))
    joined = rng.choice([", ", "; ", " and ", "\n", " ", "", " or ", ". "]).join(names)
    return _with(pairs, place, said, rng.choice([joined, f"{answer}, {joined}", f"{task.question} {answer}"]))


_CHANGES: tuple[Callable[[Pairs, Task, Sequence[Pairs], random.Random], Pairs], ...] = (
    _drop,
    _double,
    _move,
    _set_in,
    _negate,
    _pad,
    _swap,
    _wrap,
    _wrap,
    _join,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--mutations", type=int, default=10_000, help="of each task")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    start = time.perf_counter()
    count, found = search(args.tasks, args.mutations, args.seed, told=True)
    for mutated in found[:20]:
        print(json.dumps(mutated, ensure_ascii=False))
    took = time.perf_counter() - start
    print(f"{count:,} mutants of {args.tasks} tasks in {took:.0f} s: {len(found)} earn more than the reference")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
