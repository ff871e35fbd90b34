"""What metrics of reports have in common: the answer of each response is compared with the report of its task."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from actors.rules.batches import Value, judge_in_batches
from rewards.custom_rules import RuleFault, RuleInput
from rewards.reading.report_texts import NoReport, ReportTexts, report_texts

LONG = 600  # words and signs: several pages, for a section of a report
_WORD_OR_SIGN = re.compile(r"\w+|[^\w\s]")
TRIAL = ReportTexts("There is no pleural effusion.", "Small left pleural effusion. The heart is normal.")


class ReportMetric(ABC):
    """A metric as a rule: a subclass compares texts.

    An empty answer is worth 0. A `RuleFault` takes the place of a value if the task has no report, if the answer is far
    too long (some metrics take time and memory by the square of its length), or if the metric has no value for the two
    texts.

    Attributes:
        batch_size: how many texts are compared at once.
        opinion: a comparison with the gold is no model's opinion.
    """

    opinion: ClassVar[bool] = False
    batch_size: int = 32

    def try_out(self) -> None:
        """Compares two sentences, so that a package that cannot work here fails when a worker starts.

        Raises:
            Exception: whatever the package raises.
        """
        self.compare([TRIAL])

    @abstractmethod
    def compare(self, texts: Sequence[ReportTexts]) -> Sequence[Value]:
        """The agreement of each answer with its report, in [0, 1], or why it has none. Neither text is empty."""

    def score_batch(self, inputs: Sequence[RuleInput]) -> list[Value]:
        """The value of each response, in order; an error in place of a value hurts that response alone."""
        values: list[Value] = [0.0] * len(inputs)
        places: list[int] = []
        texts: list[ReportTexts] = []
        for place, item in enumerate(inputs):
            try:
                read = _read(item)
            except RuleFault as fault:
                values[place] = fault
                continue
            if read.answer:
                places.append(place)
                texts.append(read)
        compared = judge_in_batches(self.compare, texts, self.batch_size)
        for place, value in zip(places, compared, strict=True):
            values[place] = _within_limits(value)
        return values


def _read(item: RuleInput) -> ReportTexts:
    """The two texts. Raises RuleFault if there is no report, or the answer is far too long."""
    try:
        texts = report_texts(item.task, item.response)
    except NoReport as error:
        raise RuleFault(str(error)) from error
    answer, report = (sum(1 for _ in _WORD_OR_SIGN.finditer(text)) for text in texts)
    limit = max(LONG, 2 * report)
    if answer > limit:
        raise RuleFault(f"the answer has {answer} words and signs; more than {limit} are not compared")
    return texts


def _within_limits(value: Value) -> Value:
    """A similarity may miss [0, 1] by its rounding, or be slightly negative; a value that is no number is a fault."""
    if isinstance(value, Exception):
        return value
    if not math.isfinite(value):
        return RuleFault(f"the metric gave {value}")
    return min(1.0, max(0.0, value))
