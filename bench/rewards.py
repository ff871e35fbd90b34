"""Responses scored per second on one core, by `strict` and by the packages that CX-Mind's code uses for its reason.

    python -m bench.rewards [--json] [--count 4000] [--passes 5]

Transcripts have a reference and five steps, with think blocks of about 20 words. Groups of ten share a task and its
reference. Every think block differs from all others, and every pass draws new ones. The peer computes what `paper`
needs: pairs by regular expression, BLEU-1 by nltk and ROUGE-L by rouge-score. Needs the extra `dev`.
"""

from __future__ import annotations

import argparse
import json
import re
import time
import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from nltk.translate.bleu_score import sentence_bleu
from rouge_score.rouge_scorer import RougeScorer

from curriculum.questions import RIGHT, WRONG
from curriculum.task import NO_FINDING, OPTION_LETTERS, Task
from rewards.config import RewardConfig
from rewards.score import score

NAMES = (
    "Effusion",
    "Cardiomegaly",
    "Pneumothorax",
    "Consolidation",
    "Mass",
    "Edema",
    "Atelectasis",
    "Nodule",
    "Fibrosis",
    "Hernia",
)
SIGNS = {  # of a finding that is present, and of one that is absent
    True: (
        "The {side} {zone} shows {size} {name}, {mm} mm across, unlike on the film of day {day}; its border is sharp.",
        "There is {size} {name} in the {side} {zone} ({mm} mm), stable since day {day}; the dome below stands as high.",
    ),
    False: (
        "No {name} is seen in the {side} {zone}; a line of {mm} mm there is a vessel, as on the film of day {day}.",
        "The {side} {zone} is clear of {name}: {mm} mm of {size} shadow on day {day} have gone, "
        "and the outline is sharp.",
    ),
}
GROUP = 10
_PAIR = re.compile(r"<think>(.*?)</think>\s*<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)


def think(name: str, seen: bool, rng: np.random.Generator) -> str:
    return str(rng.choice(SIGNS[seen])).format(
        name=name.lower(),
        side=rng.choice(["left", "right"]),
        mm=rng.integers(1, 10**6),
        zone=rng.choice(["upper lobe", "base", "hilum", "lower zone"]),
        size=rng.choice(["a small", "a large", "subtle"]),
        day=rng.integers(1, 10**6),
    )


def transcript(
    names: Sequence[str], labels: Sequence[str], right: set[str], final: str, head: str, rng: np.random.Generator
) -> str:
    pairs = [("The candidates.", head)] if head else []
    pairs += [
        (think(name, name in right, rng), f"{label} {RIGHT if name in right else WRONG}")
        for name, label in zip(names, labels, strict=True)
    ]
    pairs.append((f"In sum, on day {rng.integers(1, 10**6)}.", final))
    return "".join(f"<think>{t}</think><answer>{a}</answer>" for t, a in pairs)


def closed_groups(count: int, rng: np.random.Generator) -> Iterator[tuple[Task, list[str]]]:
    for _ in range(count // GROUP):
        names = [str(name) for name in rng.choice(NAMES, 4, replace=False)]
        options = dict(zip(OPTION_LETTERS, names, strict=False))
        labels = [f"{letter})" for letter in options]

        def write(gold: int, names: list[str] = names, labels: list[str] = labels) -> str:
            return transcript(names, labels, {names[gold]}, labels[gold], "", rng)

        gold = int(rng.integers(4))
        task = Task(
            id="c",
            domain="closed",
            family="single_choice",
            question="Which finding is seen?",
            options=options,
            gold=(OPTION_LETTERS[gold],),
            images=("x.png",),
            reference=write(gold),
        )
        yield task, [write(gold if rng.random() < 0.7 else int(rng.integers(4))) for _ in range(GROUP)]


def open_groups(count: int, rng: np.random.Generator) -> Iterator[tuple[Task, list[str]]]:
    for _ in range(count // GROUP):
        names = [str(name) for name in rng.choice(NAMES, 3, replace=False)]

        def write(right: set[str], names: list[str] = names) -> str:
            return transcript(names, names, right, ", ".join(sorted(right)) or NO_FINDING, ", ".join(names), rng)

        gold = set(names[: int(rng.integers(2, 4))])
        task = Task(
            id="o",
            domain="open",
            family="diagnosis",
            question="Name all findings.",
            gold=tuple(sorted(gold)),
            images=("x.png",),
            reference=write(gold),
        )
        yield task, [write(gold if rng.random() < 0.7 else {names[0]}) for _ in range(GROUP)]


def ours(groups: Sequence[tuple[Task, list[str]]]) -> None:
    config = RewardConfig()
    for task, responses in groups:
        for response in responses:
            score(task, response, config)


def peer(groups: Sequence[tuple[Task, list[str]]]) -> None:
    scorer = RougeScorer(["rougeL"], use_stemmer=True)

    def reason(text: str, reference: str) -> float:
        words, theirs = (t.lower().replace(".", " .").split() for t in (text, reference))
        return (
            0.3 * sentence_bleu([theirs], words, weights=(1,)) + 0.7 * scorer.score(reference, text)["rougeL"].fmeasure
        )

    for task, responses in groups:
        gold = {name.lower() for name in task.gold}
        for response in responses:
            pairs, reference = _PAIR.findall(response), _PAIR.findall(task.reference)
            if task.form == "letters":
                if pairs[-1][1][0] == task.gold[0]:
                    text, theirs = (next(t for t, a in steps if a[0] == task.gold[0]) for steps in (pairs, reference))
                    reason(text, theirs)
            else:
                for text, answer in pairs[1:-1]:
                    name = answer.replace(RIGHT, "").replace(WRONG, "").strip().lower()
                    if RIGHT in answer and name in gold:
                        reason(text, next((t for t, a in reference if name in a.lower()), ""))


def rate(work: Callable[[Sequence], None], groups: Sequence[tuple[Task, list[str]]]) -> float:
    start = time.perf_counter()
    work(groups)
    return len(groups) * GROUP / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print only the last line, one JSON object")
    parser.add_argument("--count", type=int, default=4000, help="responses of each kind in a pass")
    parser.add_argument("--passes", type=int, default=5, help="passes of each side, in turn; the fastest counts")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", module="nltk")
    result: dict[str, float] = {}
    for kind, draw in (("closed", closed_groups), ("open", open_groups)):
        rates = []
        for number in range(args.passes):
            groups = list(draw(args.count, np.random.default_rng([number, kind == "open"])))
            rates.append((rate(ours, groups), rate(peer, groups)))
            if not args.json:
                print(
                    f"{kind}, pass {number + 1}: strict {rates[-1][0]:,.0f}/s, "
                    f"nltk and rouge-score {rates[-1][1]:,.0f}/s"
                )
        best, theirs = max(r[0] for r in rates), max(r[1] for r in rates)
        result |= {
            f"{kind}_per_s": round(best),
            f"{kind}_peer_per_s": round(theirs),
            f"{kind}_ratio": round(best / theirs, 2),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
