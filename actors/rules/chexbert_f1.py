"""CheXbert-F1 of the answer against the report, by the package f1chexbert."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from actors.rules.loading import check_device, choose_device, load_package, using
from actors.rules.report_metric import ReportMetric
from rewards.comparison.overlap import f1
from rewards.reading.report_texts import ReportTexts

INSTALL = "f1chexbert 'transformers<5'"  # 0.0.2 fails with transformers 5
REPORTS_KEPT = 4096  # the responses of a group share a report, and the groups of a step may come in any order


class ChexbertF1(ReportMetric):
    """F1 of the conditions that the labeller finds in both texts, for each response; 1 if it finds none in either.

    A doubtful condition counts as present, as in the package's own scores, which are sums over a whole test set.

    Args:
        conditions: 14, or the 5 that papers report.
        device: auto, cpu, cuda or cuda:N.

    Raises:
        ImportError: the package is not installed, or not usable beside the others.
        ValueError: an option cannot be used.
    """

    def __init__(self, *, conditions: Literal[5, 14] = 14, device: str = "auto") -> None:
        self.check_options(conditions=conditions, device=device)
        chosen = choose_device(device)
        package = load_package("f1chexbert", INSTALL)
        self.conditions_of_report = lru_cache(REPORTS_KEPT)(self._conditions)
        with using("f1chexbert", INSTALL):
            self.labeller = package.F1CheXbert(device=chosen)
            self.names = self.labeller.target_names if conditions == 14 else self.labeller.target_names_5
            self.try_out()

    @staticmethod
    def check_options(*, conditions: int = 14, device: str = "auto") -> None:
        """Raises ValueError if an option cannot be used, before the model is loaded."""
        check_device(device)
        if conditions not in (5, 14):
            raise ValueError(f"conditions {conditions}: 5 or 14 is needed")

    def compare(self, texts: Sequence[ReportTexts]) -> list[float]:
        return [f1(self._conditions(text.answer), self.conditions_of_report(text.report)) for text in texts]

    def _conditions(self, text: str) -> frozenset[str]:
        labels = zip(self.labeller.target_names, self.labeller.get_label(text), strict=True)
        return frozenset(name for name, present in labels if present and name in self.names)
