"""What metrics of reports have in common: the answer of each response is compared with the report of its task."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from actors.rules.batches import Value, judge_in_batches
from rewards.custom_rules import RuleFault, RuleInput
from rewards.reading.report_texts import NoReport, ReportTexts, report_texts


class ReportMetric(ABC):
    """A metric as a rule: a subclass compares texts.

    An empty answer is worth 0. A task without a report gives a `RuleFault` in place of a value, and so does a pair of
    texts that the metric has no value for.

    Attributes:
        batch_size: how many texts are compared at once.
        opinion: a comparison with the gold is no model's opinion.
    """

    opinion: ClassVar[bool] = False
    batch_size: int = 32

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
                read = report_texts(item.task, item.response)
            except NoReport as error:
                values[place] = RuleFault(str(error))
                continue
            if read.answer:
                places.append(place)
                texts.append(read)
        compared = judge_in_batches(self.compare, texts, self.batch_size)
        for place, value in zip(places, compared, strict=True):
            values[place] = _within_limits(value)
        return values


def _within_limits(value: Value) -> Value:
    """A similarity may miss [0, 1] by its rounding, or be slightly negative; a value that is no number is a fault."""
    if isinstance(value, Exception):
        return value
    if not math.isfinite(value):
        return RuleFault(f"the metric gave {value}")
    return min(1.0, max(0.0, value))
