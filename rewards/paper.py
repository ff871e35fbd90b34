"""The preset `paper`: the numbers of CX-Mind's published reward code (arXiv 2508.03733), faults included, for comparison.

What is wrong with them is told in docs/rewards.md. Written from the formulas, not from the code. The code's patterns are
lazy; here they are walked in linear time, with the same result.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from curriculum.task import Task
from rewards.findings.overlap import bleu_1, f1, rouge_l
from rewards.verdict import StepVerdict, Verdict

_THINK, _ANSWER, _END = (re.compile(tag, re.IGNORECASE) for tag in ("<think>", "<answer>", "</answer>"))
_BORDER = re.compile(r"</think>\s*<answer>", re.IGNORECASE)
_LOWER_CASE_BORDER = re.compile(_BORDER.pattern)
_BESIDE_TAG = re.compile(r"(?<=[<>/])\s++|(?<!\s)\s++(?=[<>/])")  # tries a long run of white space once, at its start
_LETTER = re.compile(r"[A-G]", re.IGNORECASE)
_BETWEEN_NAMES = re.compile(r"[,;\n]")
FORMAT, OUTCOME, CLOSED_PROCESS, OPEN_PROCESS = 0.1, 0.9, 0.5, 0.2
DIGITS = 6

_Pair = tuple[int, int, str, str]
"""Start, end, think and answer."""


def score_paper(task: Task, response: str) -> Verdict:
    """The verdict with an open batch gate: `total` is the code's `overall`; process and reason are the amounts added.

    Letters: outcome 1 where the first of A to G in the last answer is the first gold letter. Names: F1 of the last answer,
    split at commas, semicolons and line ends. `why` says how each part came about.
    """
    pairs = list(_pairs(response))
    reference = list(_pairs(task.reference or ""))
    last = _last_answer(response)
    if task.form == "letters":
        gold = task.gold[0]
        formed = _well_formed(response)
        outcome = float(_letter(last) == gold)
        right = [_closed_step(answer, gold) for _, _, _, answer in pairs]
        process = CLOSED_PROCESS if right and all(right) else 0.0
        ours, theirs = (
            next((think for _, _, think, answer in trace if _letter(answer) == gold), None)
            for trace in (pairs, reference)
        )
        reason = _closed_reason(ours, theirs) if outcome and ours is not None and theirs is not None else 0.0
        answer = (_letter(last),) if _letter(last) else None
    else:
        gold = {name.strip().lower() for name in task.gold}
        formed = _well_formed(_BESIDE_TAG.sub("", response.lower().strip()))
        named = _names(last)
        outcome = f1(named, gold)
        middle = pairs[1:-1]
        right = [_open_step(answer, gold) for _, _, _, answer in middle]
        process = OPEN_PROCESS if right and all(right) else 0.0
        reason = _open_reason(middle, reference, gold)
        right = [None, *right, None][: len(pairs)] if len(pairs) > 2 else [None] * len(pairs)
        answer = tuple(sorted(named))
    base = FORMAT * formed + OUTCOME * outcome
    steps = tuple(
        StepVerdict(
            start,
            end,
            None,
            "unverifiable" if ok is None else "right" if ok else "wrong",
            float(bool(ok)),
            "not judged by the paper's rule" if ok is None else "the paper's rule",
        )
        for (start, end, _, _), ok in zip(pairs, right, strict=True)
    )
    why = (f"format {formed:g}, outcome {outcome:.4f}: base {base:.4f}", f"process {process:g}, reason {reason:.4f}")
    return Verdict(
        total=round(base + process + reason, DIGITS),
        base=round(base, DIGITS),
        format=float(formed),
        outcome=outcome,
        process=process,
        reason=reason,
        answer=answer,
        steps=steps,
        why=why,
    )


def _pairs(text: str) -> Iterator[_Pair]:
    """The matches of `<think>(.*?)</think>\\s*<answer>(.*?)</answer>`, any case, a dot for every character."""
    position = 0
    while (
        (think := _THINK.search(text, position))
        and (border := _BORDER.search(text, think.end()))
        and (end := _END.search(text, border.end()))
    ):
        yield think.start(), end.end(), text[think.end() : border.start()], text[border.end() : end.start()]
        position = end.end()


def _last_answer(text: str) -> str:
    """What the last `<answer>(.*?)</answer>` holds, "" without any."""
    last, position = "", 0
    while (start := _ANSWER.search(text, position)) and (end := _END.search(text, start.end())):
        last, position = text[start.end() : end.start()], end.end()
    return last


def _well_formed(text: str) -> bool:
    """Whether `(<think>.*?</think>\\s*<answer>.*?</answer>\\s*)+` matches all of the text: its dots take tags, too, so one
    border between think and answer is enough."""
    text = text.rstrip()
    if not text.startswith("<think>") or not text.endswith("</answer>"):
        return False
    border = _LOWER_CASE_BORDER.search(text, len("<think>"))
    return border is not None and border.end() <= len(text) - len("</answer>")


def _letter(answer: str) -> str | None:
    match = _LETTER.search(answer)
    return match[0].upper() if match else None


def _closed_step(answer: str, gold: str) -> bool:
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


def _open_reason(middle: Sequence[_Pair], reference: Sequence[_Pair], gold: set[str]) -> float:
    values = []
    for _, _, think, answer in middle:
        name = _bare(answer)
        if "✅" in answer and name in gold:
            theirs = next((t for _, _, t, listed in reference if name in _names(listed)), None)
            bleu = bleu_1(_spaced(think).split(), _spaced(theirs).split()) if theirs is not None else 0.0
            values.append(0.3 * bleu + 0.7 * rouge_l(think, theirs) if theirs is not None else 0.0)
    return sum(values) / len(values) if values else 0.0


def _spaced(text: str) -> str:
    return text.lower().replace(".", " .")
