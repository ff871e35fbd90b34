"""BERTScore of the answer against the report, by a local encoder. It needs no further package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from actors.rules.bert_scorer import BertScorer
from actors.rules.loading import check_device, check_model_folder
from actors.rules.report_metric import ReportMetric
from rewards.reading.report_texts import ReportTexts


class BertScore(ReportMetric):
    """The number that `curlvpr eval --bertscore-model` reports, for each response; `rescale` spreads it.

    Args:
        path: a folder with an encoder and its tokenizer.
        layer: the layer whose output stands for a token, counted from 1; by default the last.
        part: which of the three numbers is paid.
        baseline: what two texts that have nothing in common get; such a score becomes 0, and 1 stays 1. Encoders give
            high scores to any two texts, 0.8 and more.
        device: auto, cpu, cuda or cuda:N.
        batch_size: texts at once.

    Raises:
        OSError, ValueError: the folder holds no such model, or an option cannot be used.
    """

    def __init__(
        self,
        *,
        path: str,
        layer: int | None = None,
        part: Literal["f1", "precision", "recall"] = "f1",
        baseline: float = 0.0,
        device: str = "auto",
        batch_size: int = 32,
    ) -> None:
        self.check_options(path=path, part=part, baseline=baseline, device=device)
        self.scorer = BertScorer(check_model_folder(path), layer, device)
        self.part = f"bertscore_{part}"
        self.baseline = baseline
        self.batch_size = batch_size

    @staticmethod
    def check_options(*, path: str, part: str = "f1", baseline: float = 0.0, device: str = "auto", **_: object) -> None:
        """Raises ValueError if an option cannot be used, before the model is loaded."""
        check_model_folder(path)
        check_device(device)
        if part not in ("f1", "precision", "recall"):
            raise ValueError(f"part {part}: f1, precision or recall is needed")
        if not 0 <= baseline < 1:
            raise ValueError(f"baseline {baseline}: a number from 0 to below 1 is needed")

    def compare(self, texts: Sequence[ReportTexts]) -> list[float]:
        scores = self.scorer(texts)[self.part]
        return [(float(score) - self.baseline) / (1 - self.baseline) for score in scores]
