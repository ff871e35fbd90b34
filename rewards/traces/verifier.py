"""Whether a trace may be learnt from, whoever wrote it."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import Field, model_validator

from curriculum.strict import Strict
from curriculum.task import NO_FINDING, Task
from rewards.comparison.facts import Facts, facts_of
from rewards.config import RewardConfig
from rewards.findings.canonical import canonical
from rewards.reading.parser import Pair, parse
from rewards.score import score
from rewards.traces.film import Film, film_of
from rewards.traces.talk import talk_in
from rewards.verdict import Verdict

_RULES = RewardConfig()


class VerifierConfig(Strict):
    """What a trace must reach."""

    grounding: float = Field(0.8, ge=0, le=1, description="the least grounding of a step")
    min_words: int = Field(4, ge=1, description="of all think blocks together")
    max_words: int = Field(600, ge=1, description="of the whole trace")

    @model_validator(mode="after")
    def _bounds_fit(self) -> VerifierConfig:
        if self.min_words > self.max_words:
            raise ValueError(f"min_words {self.min_words} is above max_words {self.max_words}")
        return self


class Check(NamedTuple):
    """The verdict on a trace.

    Attributes:
        reason: why it is rejected: "format", "outcome", "step", "coverage", "grounding", "contradicted",
            "unsupported", a kind of talk or "length"; "" if it is accepted.
        why: the reason in words.
        reward: what the rules pay for it.
        grounding: the least of its steps'; 1 if no step has known facts.
    """

    reason: str
    why: str
    reward: float
    grounding: float

    @property
    def is_accepted(self) -> bool:
        return not self.reason


def verify(task: Task, trace: str, config: VerifierConfig) -> Check:
    """Judges a trace against the gold and the report of its task. Never raises, whatever the text.

    The task's own reference is not consulted, except that a task whose reference weighs nothing asks for no steps.
    """
    judged = task.model_copy(update={"reference": task.report or None})
    verdict = score(judged, trace, _RULES)
    groundings = [step.grounding for step in verdict.steps if step.grounding is not None]
    grounding = min(groundings, default=1.0)
    pairs = parse(trace).pairs
    reason, why = _fault(task, trace, pairs, verdict, grounding, config)
    return Check(reason, why, verdict.total, grounding)


def _fault(
    task: Task, trace: str, pairs: tuple[Pair, ...], verdict: Verdict, grounding: float, config: VerifierConfig
) -> tuple[str, str]:
    if verdict.faults:
        return "format", str(verdict.faults[0])
    if verdict.outcome < 1 - 1e-9:
        return "outcome", verdict.why[0] if verdict.why else f"outcome {verdict.outcome:.2f}"
    for step in verdict.steps:
        if step.judgement in ("wrong", "fault") or (step.judgement != "right" and task.form != "text"):
            return "step", step.why
    if task.form in ("letters", "names") and _asks_for_steps(task) and verdict.process < 1:
        return "coverage", f"not every option or candidate is judged: process {verdict.process:.2f}"
    if grounding < config.grounding:
        return "grounding", f"a step's grounding is {grounding:.2f}; at least {config.grounding:g} is asked"
    thinks = " ".join(pair.think for pair in pairs)
    for kind, found in talk_in(f"{thinks} {_own_words(task, pairs)}").items():
        if kind != "prior" or len(task.images) < 2:
            return kind, repr(found)
    if contradiction := _contradiction(task):
        return "contradicted", f"the report asserts {contradiction}, and the answer does not"
    if unsupported := _unsupported(task, pairs, film_of(task.report)):
        return "unsupported", f"neither gold nor report knows of {unsupported}"
    words = len(trace.split())
    if len(thinks.split()) < config.min_words or words > config.max_words:
        return "length", f"{words} words, {len(thinks.split())} of them thought"
    return "", ""


def _asks_for_steps(task: Task) -> bool:
    """Whether the task has no reference, or one with steps."""
    return len(parse(task.reference or "").pairs) != 1


def _own_words(task: Task, pairs: tuple[Pair, ...]) -> str:
    """What a trace's answers say in words of their own: the text of a section."""
    return pairs[-1].answer if task.form == "text" else ""


def _contradiction(task: Task) -> str:
    """A finding that the report asserts although the gold names all findings, or says that there are none."""
    is_normal = task.domain == "closed" and any(canonical(task.options[letter]) == NO_FINDING for letter in task.gold)
    if not is_normal and task.family != "diagnosis":
        return ""
    return film_of(task.report).missed_by(_gold_findings(task).present)


def _unsupported(task: Task, pairs: tuple[Pair, ...], film: Film) -> str:
    """A finding that a think block asserts and the report does not, "" if there is none."""
    if not film.is_reported:
        return ""
    known = film.facts.kinds | _gold_findings(task).kinds
    for pair in pairs:
        stated = facts_of(pair.think)
        for finding in sorted(stated.present - known):
            if stated.says(finding):
                return finding
    return ""


def _gold_findings(task: Task) -> Facts:
    """What the gold asserts."""
    right = [task.options[letter] for letter in task.gold] if task.options else list(task.gold)
    if [text.strip().casefold() for text in right] == ["yes"]:
        right = [task.question.removesuffix("?")]
    return facts_of("\n\n".join(right))
