"""A verdict: what a response is worth, in parts, and why."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from rewards.reading.parser import FormatFault

Judgement = Literal["right", "wrong", "unverifiable", "fault"]


class StepVerdict(NamedTuple):
    """The judgement of one think–answer pair.

    Attributes:
        start: character offset in the response, tags included.
        end: character offset in the response, tags included, exclusive.
        candidate: the option letter or finding name that the step judges, None for a summary or a list. Credit by step
            compares the steps of a group that have the same candidate.
        score: what the step is worth, in [0, 1].
        why: the reason for the judgement.
        grounding: how well the think block agrees with the known facts, in [0, 1]; None if there are no such facts.
        stake: how much the outcome would change with the other mark, in [0, 1]; 1 where the form does not tell, 0 for
            a list of candidates. Credit by step weighs the step with it.
    """

    start: int
    end: int
    candidate: str | None
    judgement: Judgement
    score: float
    why: str
    grounding: float | None = None
    stake: float = 1.0


class Verdict(NamedTuple):
    """The score of one response.

    `format`, `outcome`, `process`, `reason` and each of `more` (the recipe's own rules, by name) are in [0, 1]; `total`
    is their weighted sum after gates. `base` is the total without process and reason: step credit adds to it. With the
    preset `paper`, process and reason are the amounts that are added. `failed` names the own rules that have no value
    for this response, so that theirs is 0; `why` says why. `unread` is why the final answer cannot be read
    (`rewards.reading.reading.Unread`), "" if it was read or there is none.
    """

    total: float
    base: float
    format: float
    outcome: float
    process: float
    reason: float
    answer: tuple[str, ...] | None
    steps: tuple[StepVerdict, ...] = ()
    faults: tuple[FormatFault, ...] = ()
    why: tuple[str, ...] = ()
    more: tuple[tuple[str, float], ...] = ()
    failed: tuple[str, ...] = ()
    unread: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts and tuples, for JSON."""
        return self._asdict() | {
            "steps": tuple(step._asdict() for step in self.steps),
            "faults": tuple(fault._asdict() for fault in self.faults),
            "more": dict(self.more),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Verdict:
        """The inverse of `to_dict`, after JSON."""
        answer = values["answer"]
        return cls(
            **{
                **values,
                "answer": None if answer is None else tuple(answer),
                "why": tuple(values["why"]),
                "steps": tuple(StepVerdict(**step) for step in values["steps"]),
                "faults": tuple(FormatFault(**fault) for fault in values["faults"]),
                "more": tuple(values["more"].items()),
                "failed": tuple(values.get("failed", ())),
            }
        )


NOT_SCORED = FormatFault("not scored", 0)


def unscored(why: str) -> Verdict:
    """The verdict on a response that no rule could judge: it is worth nothing. `why` is the reason."""
    return Verdict(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, None, faults=(NOT_SCORED,), why=(why,))
