"""Scores a response by rules: format, outcome, process; and says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field, model_validator

from curriculum.boxes import mean_iou, read_box, read_boxes
from curriculum.task import NO_FINDING, Task

from .answers import read_marks, read_options, split_names
from .extract import extract
from .findings import canonical
from .overlap import rouge_l
from .parser import Pair, Parsed, parse
from .verdict import StepVerdict, Verdict


class RewardConfig(BaseModel):
    """Weights of the parts. Only a well-formed response is paid at all; process weighs less than the outcome."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: float = Field(0.1, ge=0)
    outcome: float = Field(0.9, gt=0)
    process: float = Field(0.3, ge=0)
    max_candidates: int = Field(6, ge=1, description="an open response that announces more, and more than one beyond "
                                "the gold, earns nothing for its list")

    @model_validator(mode="after")
    def _outcome_leads(self) -> "RewardConfig":
        if self.process >= self.outcome:
            raise ValueError(f"process {self.process:g} must weigh less than outcome {self.outcome:g}")
        return self


def score(task: Task, response: str, config: RewardConfig, truncated: bool = False) -> Verdict:
    """The verdict on one response; a pure function of its arguments. Never raises for any text.

    Format is 1 where the parser finds no fault and the response was not cut off, else 0, and so is the total.
    The last pair's answer is the final answer. The outcome goes by the task's form. Letters: 1 where the options named are
    exactly the gold. Names: F1 of the sets of names. Text: mean of the F1 of the NIH findings that it asserts, against
    those of the gold text, and of ROUGE-L. Boxes: mean intersection over union (`boxes.mean_iou`).
    Steps are judged where letters or names are asked; a text or boxes have no process.
    Process: sensitivity + specificity − 1 of the step marks over options or announced candidates, at least 0
    (Youden's J), so that one mark for all earns nothing; a candidate without a sound step counts as missed.
    """
    parsed = parse(response)
    faults = (*parsed.faults, *(("cut off at the length limit",) if truncated else ()))
    well_formed = not faults
    judge = {"letters": _judge_closed, "names": _judge_open, "text": _judge_text, "boxes": _judge_boxes}[task.form]
    answer, outcome, steps, process, why = judge(task, parsed, config) if parsed.pairs else _NO_ANSWER
    if not well_formed:
        steps = tuple(replace(step, score=0.0) for step in steps)
        process = 0.0
        why = (*why, f"format: {faults[0]}; the response earns nothing")
    base = (config.format + config.outcome * outcome) if well_formed else 0.0
    # An open outcome comes in fractions: sound steps must not lift a worse list above a better one.
    paid = process if task.domain == "closed" or outcome == 1 else 0.0
    return Verdict(total=base + config.process * paid, base=base, format=float(well_formed), outcome=outcome,
                   process=process, answer=answer, steps=steps, faults=faults, why=why)


_Judged = tuple[tuple[str, ...] | None, float, tuple[StepVerdict, ...], float, tuple[str, ...]]
"""Answer, outcome, steps, process, why. The judges below are asked only where there is a pair."""
_NO_ANSWER: _Judged = (None, 0.0, (), 0.0, ("no answer",))


def _judge_closed(task: Task, parsed: Parsed, _: RewardConfig) -> _Judged:
    *judging, last = parsed.pairs
    final = read_options(read_marks(last.answer)[0], task.options)
    outcome = float(final is not None and set(final) == set(task.gold))

    def candidate(answer: str) -> str | None:
        named = read_options(answer, task.options)
        return named[0] if named and len(named) == 1 else None

    steps = _judge_steps(judging, candidate, set(task.options), set(task.gold), final)
    process = _balanced(steps, set(task.options), set(task.gold))
    why = f"final answer {_words(final)}, gold {_words(task.gold)}"
    return final, outcome, (*steps, _summary(last, outcome, why)), process, (why,)


def _judge_open(task: Task, parsed: Parsed, config: RewardConfig) -> _Judged:
    gold = {canonical(name) for name in task.gold}
    final = _read_list(parsed.pairs[-1].answer)
    outcome = f1(set(final), gold) if final is not None else 0.0
    why = f"final answer {_words(final)}, gold {_words(task.gold) if task.gold else NO_FINDING}: F1 {outcome:.2f}"
    summary = _summary(parsed.pairs[-1], outcome, why)
    if len(parsed.pairs) < 3:
        return final, outcome, (summary,), 0.0, (why, "no candidate was weighed")
    first, *judging, _ = parsed.pairs
    announced = [canonical(name) for name in split_names(read_marks(first.answer)[0])]
    candidates = set(announced)
    most = max(config.max_candidates, len(gold) + 1)
    if len(announced) > most or len(candidates) < len(announced):
        listing = StepVerdict(first.start, first.end, None, "fault", 0.0,
                              f"{len(announced)} candidates, at most {most} different ones may be announced")
    else:
        share = len(gold & candidates) / len(gold) if gold else 1.0
        listing = StepVerdict(first.start, first.end, None, "right" if share == 1 else "wrong", share,
                              f"{len(gold & candidates)} of {len(gold)} gold findings are announced")
    steps = _judge_steps(judging, canonical, candidates, gold, final)
    missed = gold - candidates  # a finding that was never announced was not found
    process = _balanced(steps, candidates | missed, gold) if listing.mark != "fault" else 0.0
    return final, outcome, (listing, *steps, summary), process, (why,)


def _judge_text(task: Task, parsed: Parsed, _: RewardConfig) -> _Judged:
    final, gold = parsed.pairs[-1].answer.strip(), task.gold[0]
    found, true = extract(final).present, extract(gold).present
    clinical, wording = f1(set(found), set(true)), rouge_l(final, gold)
    outcome = (clinical + wording) / 2
    why = f"asserted {_words(sorted(found))}, gold {_words(sorted(true))}: F1 {clinical:.2f}; ROUGE-L {wording:.2f}"
    return (final,), outcome, (_summary(parsed.pairs[-1], outcome, why),), 0.0, (why,)


def _judge_boxes(task: Task, parsed: Parsed, _: RewardConfig) -> _Judged:
    found, gold = read_boxes(parsed.pairs[-1].answer), [read_box(text) for text in task.gold]
    outcome = mean_iou(found, gold)
    why = f"{len(found)} boxes, gold {len(gold)}: mean IoU {outcome:.2f}"
    return tuple(str(list(box)) for box in found), outcome, (_summary(parsed.pairs[-1], outcome, why),), 0.0, (why,)


def _judge_steps(pairs: Sequence[Pair], read_candidate, candidates: set[str], gold: set[str],
                 final: Sequence[str] | None) -> tuple[StepVerdict, ...]:
    """A verdict for each pair that judges one candidate with ✅ or ❌.

    A right step is worth the share of candidates judged without a fault: to pass over the doubtful ones must not pay.
    """
    seen: set[str] = set()

    def judge(pair: Pair) -> StepVerdict:
        text, marks = read_marks(pair.answer)
        name = read_candidate(text) if text else None

        def verdict(mark: str, why: str) -> StepVerdict:
            return StepVerdict(pair.start, pair.end, name, mark, float(mark == "right"), why)

        if name not in candidates:
            return replace(verdict("fault", f"{text!r:.40} is not one of the candidates"), candidate=None)
        if name in seen:
            return verdict("fault", f"{name} was judged before")
        seen.add(name)
        if len(marks) != 1:
            return verdict("fault", f"{len(marks) or 'no'} marks on {name}; one is needed")
        if not pair.think.strip():
            return verdict("fault", f"nothing was thought about {name}")
        said, true = marks[0], name in gold
        if final is not None and said != (name in final):
            return verdict("fault", f"{name} {'✅' if said else '❌'} contradicts the final answer")
        return verdict("right" if said == true else "wrong", f"{name} is {'' if true else 'not '}in the gold")

    steps = tuple(judge(pair) for pair in pairs)
    covered = sum(step.mark != "fault" for step in steps) / max(1, len(candidates))
    return tuple(replace(step, score=step.score * covered) for step in steps)


def _balanced(steps: Sequence[StepVerdict], candidates: set[str], gold: set[str]) -> float:
    """Sensitivity + specificity − 1 over the candidates, at least 0; where all or none are gold, the one there is."""
    right = {step.candidate for step in steps if step.mark == "right"}
    rates = [len(right & group) / len(group) for group in (candidates & gold, candidates - gold) if group]
    return max(0.0, sum(rates) - (len(rates) - 1)) if rates else 0.0


def _read_list(answer: str) -> tuple[str, ...] | None:
    """The findings that a final list names, () for a healthy film; None where it names nothing or contradicts itself."""
    names = sorted({canonical(name) for name in split_names(read_marks(answer)[0])})
    if names == [NO_FINDING]:
        return ()
    return tuple(names) if names and NO_FINDING not in names else None


def f1(found: set[str], gold: set[str]) -> float:
    """F1 of two sets; 1 where both are empty, 0 where one is."""
    if not found and not gold:
        return 1.0
    return 2 * len(found & gold) / (len(found) + len(gold))


def _summary(pair: Pair, outcome: float, why: str) -> StepVerdict:
    return StepVerdict(pair.start, pair.end, None, "right" if outcome == 1 else "wrong", outcome, why)


def _words(names: Sequence[str] | None) -> str:
    return "unreadable" if names is None else ", ".join(names) or NO_FINDING
