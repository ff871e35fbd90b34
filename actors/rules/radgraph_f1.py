"""RadGraph-F1 of the answer against the report, by the package radgraph (Delbrouck et al., EMNLP Findings 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from actors.rules.loading import check_device, choose_device, gpu_number, load_package, using
from actors.rules.report_metric import ReportMetric
from rewards.reading.report_texts import ReportTexts

INSTALL = "radgraph 'transformers<5'"  # 0.1.18 fails with transformers 5
LEVELS = ("simple", "partial", "complete")


class RadgraphF1(ReportMetric):
    """F1 of the entities that the package's model finds in both texts.

    Args:
        level: what must agree: `simple` tokens and label of an entity; `partial` also whether it has a relation;
            `complete` also each relation and its target.
        model: the package's name of the model.
        cache: folder with the package's models, which they are downloaded to; the package has a default.
        device: auto, cpu, cuda or cuda:N.

    Raises:
        ImportError: the package is not installed, or not usable beside the others.
        ValueError: an option cannot be used.
    """

    def __init__(
        self,
        *,
        level: Literal["simple", "partial", "complete"] = "partial",
        model: str = "radgraph-xl",
        cache: str | None = None,
        device: str = "auto",
    ) -> None:
        self.check_options(level=level, device=device)
        gpu = gpu_number(choose_device(device))
        package = load_package("radgraph", INSTALL)
        with using("radgraph", INSTALL):
            self.scorer = package.F1RadGraph(reward_level=level, model_type=model, model_cache_dir=cache, cuda=gpu)
            self.try_out()

    @staticmethod
    def check_options(*, level: str = "partial", device: str = "auto", **_: object) -> None:
        """Raises ValueError if an option cannot be used, before the model is loaded."""
        check_device(device)
        if level not in LEVELS:
            raise ValueError(f"level {level}: {', '.join(LEVELS[:-1])} or {LEVELS[-1]} is needed")

    def compare(self, texts: Sequence[ReportTexts]) -> Sequence[float]:
        _, values, *_ = self.scorer(hyps=[text.answer for text in texts], refs=[text.report for text in texts])
        return values
