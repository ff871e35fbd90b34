"""The preset `paper`: the numbers of CX-Mind's published reward code (arXiv 2508.03733), faults included.

It is there for comparison; docs/rewards.md explains what is wrong with the numbers. This module is written from the
formulas, not from the code. The code uses lazy patterns; here the text is walked in linear time, with the same result.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from curriculum.task import Task
from rewards.comparison.overlap import bleu_1, f1, rouge_l
from rewards.verdict import Judgement, StepVerdict, Verdict

_THINK = re.compile("<think>", re.IGNORECASE)
_ANSWER = re.compile("<answer>", re.IGNORECASE)
_END = re.compile("</answer>", re.IGNORECASE)
_BORDER = re.compile(r"</think>\s*<answer>", re.IGNORECASE)
_LOWER_CASE_BORDER = re.compile(_BORDER.pattern)
_BESIDE_TAG = re.compile(r"(?<=[<>/])\s++|(?<!\s)\s++(?=[<>/])")  # tries a long run of white space only at its start
_LETTER = re.compile(r"[A-G]", re.IGNORECASE)
_BETWEEN_NAMES = re.compile(r"[,;\n]")
FORMAT = 0.1
OUTCOME = 0.9
CLOSED_PROCESS = 0.5
OPEN_PROCESS = 0.2
DIGITS = 6


class _Pair(NamedTuple):
    """One match: characters `start` to `end`, and what the tags hold."""

    start: int
    end: int
    think: str
    answer: str


def score_letters(task: Task, response: str) -> Verdict:
    """The verdict on a closed response; the batch gate is open.

    `total` is the code's `overall`; process and reason are the amounts added. Outcome is 1 if the first of A to G in
    the last answer is the first gold letter. `why` says how each part came about.
    """
    pairs = list(_pairs(response))
    gold = task.gold[0]
    named = _letter(_last_answer(response))
    outcome = float(named == gold)
    right = [_closed_step(pair.answer, gold) for pair in pairs]
    process = CLOSED_PROCESS if right and all(right) else 0.0
    reason = 0.0
    if outcome:
        think = _think_on(gold, pairs)
        reference = _think_on(gold, _pairs(task.reference or ""))
        if think is not None and reference is not None:
            reason = _closed_reason(think, reference)
    steps = tuple(_step(pair, is_right) for pair, is_right in zip(pairs, right, strict=True))
    return _verdict(_well_formed(response), outcome, process, reason, (named,) if named else None, steps)


def score_names(task: Task, response: str) -> Verdict:
    """The verdict on an open response, as `score_letters`.

    Outcome is the F1 of the names in the last answer, split at commas, semicolons and line ends.
    """
    pairs = list(_pairs(response))
    gold = {name.strip().lower() for name in task.gold}
    named = _names(_last_answer(response))
    outcome = f1(named, gold)
    judging = pairs[1:-1]
    right = [_open_step(pair.answer, gold) for pair in judging]
    process = OPEN_PROCESS if right and all(right) else 0.0
    reason = _open_reason(judging, list(_pairs(task.reference or "")), gold)
    # The first pair lists candidates and the last one findings; neither is judged.
    judged: list[bool | None] = [None, *right, None][: len(pairs)] if len(pairs) > 2 else [None] * len(pairs)
    steps = tuple(_step(pair, is_right) for pair, is_right in zip(pairs, judged, strict=True))
    is_formed = _well_formed(_BESIDE_TAG.sub("", response.lower().strip()))
    return _verdict(is_formed, outcome, process, reason, tuple(sorted(named)), steps)


def _verdict(
    is_formed: bool,
    outcome: float,
    process: float,
    reason: float,
    answer: tuple[str, ...] | None,
    steps: tuple[StepVerdict, ...],
) -> Verdict:
    base = FORMAT * is_formed + OUTCOME * outcome
    why = (
        f"format {is_formed:g}, outcome {outcome:.4f}: base {base:.4f}",
        f"process {process:g}, reason {reason:.4f}",
    )
    return Verdict(
        total=round(base + process + reason, DIGITS),
        base=round(base, DIGITS),
        format=float(is_formed),
        outcome=outcome,
        process=process,
        reason=reason,
        answer=answer,
        steps=steps,
        why=why,
    )


def _step(pair: _Pair, is_right: bool | None) -> StepVerdict:
    """The verdict on a pair; None: the published rule doesn't judge it."""
    if is_right is None:
        return StepVerdict(pair.start, pair.end, None, "unverifiable", 0.0, "not judged by the paper's rule")
    judgement: Judgement = "right" if is_right else "wrong"
    return StepVerdict(pair.start, pair.end, None, judgement, float(is_right), "the paper's rule")


def _think_on(letter: str, pairs: Iterable[_Pair]) -> str | None:
    """The think block of the first pair whose answer is the letter."""
    return next((pair.think for pair in pairs if _letter(pair.answer) == letter), None)


def _pairs(text: str) -> Iterator[_Pair]:
    """The matches of `<think>(.*?)</think>\\s*<answer>(.*?)</answer>`, any case, a dot for every character."""
    position = 0
    while True:
        think = _THINK.search(text, position)
        border = _BORDER.search(text, think.end()) if think else None
        end = _END.search(text, border.end()) if border else None
        if think is None or border is None or end is None:
            return
        yield _Pair(think.start(), end.end(), text[think.end() : border.start()], text[border.end() : end.start()])
        position = end.end()


def _last_answer(text: str) -> str:
    """What the last `<answer>(.*?)</answer>` holds, "" if there is none."""
    last, position = "", 0
    while True:
        start = _ANSWER.search(text, position)
        end = _END.search(text, start.end()) if start else None
        if start is None or end is None:
            return last
        last, position = text[start.end() : end.start()], end.end()


def _well_formed(text: str) -> bool:
    """Whether `(<think>.*?</think>\\s*<answer>.*?</answer>\\s*)+` matches all of the text.

    Its dots match tags too, so one border between think and answer is enough.
    """
    text = text.rstrip()
    if not text.startswith("<think>") or not text.endswith("</answer>"):
        return False
    border = _LOWER_CASE_BORDER.search(text, len("<think>"))
    return border is not None and border.end() <= len(text) - len("</answer>")


def _letter(answer: str) -> str | None:
    match = _LETTER.search(answer)
    return match[0].upper() if match else None


def _closed_step(answer: str, gold: str) -> bool:
    """Whether the step accepts the gold letter or rejects another one. With both marks, either is enough."""
    letter = _letter(answer)
    return ("✅" in answer and letter == gold) or ("❌" in answer and letter is not None and letter != gold)


def _names(answer: str) -> set[str]:
    return {name.strip().lower() for name in _BETWEEN_NAMES.split(answer)} - {""}


def _bare(answer: str) -> str:
    return answer.replace("✅", "").replace("❌", "").strip().lower()


def _open_step(answer: str, gold: set[str]) -> bool:
    return ("✅" in answer and _bare(answer) in gold) or ("❌" in answer and _bare(answer) not in gold)


def _closed_reason(think: str, reference: str) -> float:
    bleu = bleu_1(_spaced(think).split(" "), _spaced(reference).split(" "))
    return 0.3 * round(bleu, 4) + 0.7 * round(rouge_l(think, reference), 4)


def _open_reason(judging: Sequence[_Pair], reference: Sequence[_Pair], gold: set[str]) -> float:
    """Mean over the steps that accept a gold name of their likeness to the reference's first think block on it."""
    values = []
    for pair in judging:
        name = _bare(pair.answer)
        if "✅" not in pair.answer or name not in gold:
            continue
        model = next((other.think for other in reference if name in _names(other.answer)), None)
        if model is None:
            values.append(0.0)
        else:
            bleu = bleu_1(_spaced(pair.think).split(), _spaced(model).split())
            values.append(0.3 * bleu + 0.7 * rouge_l(pair.think, model))
    return sum(values) / len(values) if values else 0.0


def _spaced(text: str) -> str:
    return text.lower().replace(".", " .")
