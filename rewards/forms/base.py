"""What a form of answer brings: how an answer is judged, and how a file writes its gold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from curriculum.task import NO_FINDING, Task
from rewards.config import RewardConfig
from rewards.reading.parser import Pair
from rewards.reading.reading import Reading
from rewards.verdict import StepVerdict, Verdict


class JudgedAnswer(NamedTuple):
    """The judgement of a response by the rules of its form, before gates. The parts are in [0, 1].

    Attributes:
        answer: the final answer, None if it cannot be read.
        outcome: how right the final answer is.
        steps: one verdict for each pair that is judged, the final answer's last.
        process: how right the steps are.
        reason: how well the think blocks agree with the known facts.
        why: the reasons for the outcome, in words.
        is_right: whether the outcome gate lets process and reason through even if the outcome is below 1.
        unread: why the final answer cannot be read, a `reading.Unread`; "" if it was read.
    """

    answer: tuple[str, ...] | None
    outcome: float
    steps: tuple[StepVerdict, ...]
    process: float = 0.0
    reason: float = 0.0
    why: tuple[str, ...] = ()
    is_right: bool = False
    unread: str = ""


NO_ANSWER = JudgedAnswer(None, 0.0, (), why=("no answer",))


class WrittenGold(NamedTuple):
    """The gold of one line of a file, as its author wrote it: one string, or a list of texts."""

    texts: list[str]
    is_one_string: bool
    options: dict[str, str]


class ReadGold(NamedTuple):
    """A written gold as a task takes it.

    Attributes:
        gold: the gold of the task.
        options: the options of the task.
        published: the gold as the published code takes it (preset `paper`), None if that code doesn't know the form.
    """

    gold: list[str]
    options: dict[str, str]
    published: tuple[str, ...] | None = None


def gold_as_written(written: WrittenGold) -> ReadGold:
    """The gold of a form that needs no reading."""
    return ReadGold(written.texts, written.options)


@dataclass(frozen=True)
class AnswerForm:
    """One form of answer. `forms.FORMS` lists them all; `curriculum.forms.FORMS` says what the gold of each looks like.

    Attributes:
        judge: takes the task, the pairs of the response (at least one) and the reward settings. Must not raise.
        read_gold: turns the gold of a line of a file into the gold of a task; raises ValueError with the reason.
        has_number_lists: whether a file may write a gold as a list of numbers instead of a string.
        score_as_published: the verdict of the preset `paper`; None if the published code doesn't know the form, so
            that the preset judges it by our rules.
        read: how the final answer is read, as `judge` does; None if it is taken as it is.
    """

    judge: Callable[[Task, Sequence[Pair], RewardConfig], JudgedAnswer]
    read_gold: Callable[[WrittenGold], ReadGold] = gold_as_written
    has_number_lists: bool = False
    score_as_published: Callable[[Task, str], Verdict] | None = None
    read: Callable[[Task, str], Reading] | None = None


def final_verdict(pair: Pair, outcome: float, why: str) -> StepVerdict:
    """The step verdict on the pair that holds the final answer: its score is the outcome."""
    return StepVerdict(pair.start, pair.end, None, "right" if outcome == 1 else "wrong", outcome, why)


def in_words(names: Sequence[str] | None) -> str:
    """A list of names for a reason: "unreadable" for None, "No finding" for none."""
    if names is None:
        return "unreadable"
    return ", ".join(names) or NO_FINDING


def final_in_words(reading: Reading) -> str:
    """A final answer for a reason: its names, or "unreadable" and why."""
    if reading.value is None:
        return f"unreadable ({reading.why_unread})"
    return in_words(reading.value)


def is_yes_or_no(text: str) -> bool:
    return text.strip(" .").casefold() in ("yes", "no")


YES_NO: Mapping[str, str] = {"A": "Yes", "B": "No"}
"""The options of a closed line whose gold is Yes or No and that has no options of its own."""
